"""Data sets: facts, loading, splits and batches."""
