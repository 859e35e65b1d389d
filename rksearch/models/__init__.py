"""Networks as torch modules, built from the rows of their layout."""

from rksearch.models.build import build

__all__ = ["build"]
