"""The arithmetic of large sets of architectures."""
