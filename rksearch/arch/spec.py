"""Base class of architectures: a family, a canonical name, and rules for numbers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from rksearch.errors import SpecError

MAX_CONV_LAYERS = 10_000
"""Most 3x3 layers of a network; more are taken for a typing error and not built."""

MAX_NUMBER = 999_999
"""The largest number that may stand in a name."""


@dataclass(frozen=True, slots=True)
class ArchSpec(ABC):
    """An architecture: hashable, comparable, and equal exactly when its name is equal."""

    @property
    @abstractmethod
    def family(self) -> str:
        """Machine name of the family, by which `rksearch.arch.families` knows it."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The canonical name; `parse` is its inverse."""

    def __str__(self) -> str:
        return self.name


def check_positive(what: str, value: int) -> None:
    """Make sure that a number can stand in a name.

    Raises:
        SpecError: it is not a whole number from 1 to `MAX_NUMBER`.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_NUMBER:
        raise SpecError(f"{what} must be a whole number from 1 to {MAX_NUMBER}, but got {value!r}")


def check_layers(layers: int) -> None:
    """Make sure that a network is not absurdly deep.

    Raises:
        SpecError: more than `MAX_CONV_LAYERS`.
    """
    if layers > MAX_CONV_LAYERS:
        raise SpecError(f"a network may have at most {MAX_CONV_LAYERS:,} layers, but this one has {layers:,}")


def check_depth(depth: int, *, unit: int, offset: int) -> None:
    """Make sure that a depth is `unit` * n + `offset` for a whole n of at least 1.

    Raises:
        SpecError: it is not; the message names the nearest that are.
    """
    check_positive("depth", depth)
    n, rest = divmod(depth - offset, unit)
    if n < 1 or rest:
        lower = max(1, n) * unit + offset
        raise SpecError(
            f"depth must be {unit}n + {offset} with n at least 1, but got {depth}; "
            f"the nearest are {lower} and {lower + unit}"
        )
    check_layers(3 * n)
