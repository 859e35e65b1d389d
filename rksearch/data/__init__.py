"""Data sets: facts, loading, splits and batches; `facts` and `dataset` need no torch."""
