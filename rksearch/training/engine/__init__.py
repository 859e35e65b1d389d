"""How a training step is executed: as it is, compiled, or as a recorded CUDA graph. The numbers are the same training.

The step itself (`step`) is a function of tensors that never move, so that recording it once and replaying it is enough
(`programs`). Whether compiling pays is decided from the layout alone (`compiling`), so that a trial always decides the
same way.
"""
