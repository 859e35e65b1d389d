"""How the search chooses architectures; `make` knows every sampler by name."""
