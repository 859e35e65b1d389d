"""Execution of training steps: eager, compiled, or as a recorded CUDA graph, with the same results up to rounding.

A step (`step`) is a function of tensors that never move, so that it can be recorded once and replayed (`programs`).
Whether compiling pays is decided from the layout alone (`compiling`), so that a trial always decides the same way.
"""
