"""Limits of the numbers that a caller may state of a run, for the command line and for Python."""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike

from rksearch.errors import RunError

LARGEST_SEED = 2**32 - 1
"""Largest seed of the generators that are used."""

MOST_SEEDS = 1_000
"""Most trainings of one architecture."""

MOST_TRIALS = 10_000_000
"""Most candidates, or replicates, of a run."""

MOST_EPOCHS = 1_000_000
"""Most epochs of a training."""


MOST_IMAGES = 1_000_000_000
"""Most images of a data set."""


def require_whole(name: str, value: object, low: int, high: int) -> None:
    """Make sure that a number which a caller states is whole and within its limits; None, for a default, is right.

    Raises:
        RunError: it is not.
    """
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise RunError(
            f"{name} must be a whole number from {low:,} to {high:,}, but got {value!r}; give another one, or leave it "
            "out"
        )


def require_several(name: str, value: object, *, paths: bool = False) -> None:
    """Make sure that what a caller states is a list of texts, or of paths, and not one of them; None is right.

    Raises:
        RunError: it is not.
    """
    if value is None:
        return
    kinds, what = ((str, PathLike), "paths") if paths else ((str,), "names")
    if isinstance(value, str | bytes | PathLike) or not isinstance(value, Iterable):
        raise RunError(f"{name} must be a list of {what}, but got {value!r}; write it in brackets")
    for item in value:
        if not isinstance(item, kinds):
            raise RunError(f"{name} must be a list of {what}, but holds {item!r}; correct it")
