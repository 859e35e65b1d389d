"""Limits of the numbers that a caller may state of a run, for the command line and for Python."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from os import PathLike
from typing import Any

from rksearch.errors import RunError
from rksearch.plain import is_whole, plain

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


WHOLE: Mapping[str, tuple[int, int]] = {
    "trials": (0, MOST_TRIALS),
    "replicates": (0, MOST_TRIALS),
    "deterministic": (1, MOST_TRIALS),
    "epochs": (1, MOST_EPOCHS),
    "seeds": (1, MOST_SEEDS),
    "final_seeds": (1, MOST_SEEDS),
    "fresh": (0, MOST_SEEDS),
    "replicate": (0, LARGEST_SEED),
    "sampler_seed": (0, LARGEST_SEED),
    "train_images": (1, MOST_IMAGES),
}
"""The smallest and the largest of each whole number that a caller states, by its name in Python."""


def stated_whole(name: str, value: Any) -> int | None:
    """The whole number that a caller states under a name of `WHOLE`, of whatever library; None, for a default, stays.

    Raises:
        RunError: it is none, or not within its limits.
    """
    number = plain(value)
    if number is None:
        return None
    low, high = WHOLE[name]
    if not is_whole(number) or not low <= number <= high:
        raise RunError(
            f"{name} must be a whole number from {low:,} to {high:,}, but got {value!r}; give another one, or leave it "
            "out"
        )
    return int(number)


def stated_several(name: str, value: Any, *, paths: bool = False) -> tuple[Any, ...] | None:
    """The texts, or paths, that a caller states, of whatever iterable; None, for a default, stays.

    Raises:
        RunError: it is one of them, or something else.
    """
    if value is None:
        return None
    kinds, what = ((str, PathLike), "paths") if paths else ((str,), "names")
    if isinstance(value, str | bytes | PathLike) or not isinstance(value, Iterable):
        raise RunError(f"{name} must be a list of {what}, but got {value!r}; write it in brackets")
    several = tuple(map(plain, value))
    for item in several:
        if not isinstance(item, kinds):
            raise RunError(f"{name} must be a list of {what}, but holds {item!r}; correct it")
    return several
