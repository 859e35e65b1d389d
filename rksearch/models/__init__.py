"""Networks as torch modules, built from the rows of their layout."""

from rksearch.models.builder import build

__all__ = ["build"]
