"""Networks as torch modules, built from the rows of their layout."""

from rksearch.models.network import Network, build

__all__ = ["Network", "build"]
