"""Matched pairs of two groups of architectures, never listed one by one: sums over the partners of each.

Groups of thousands have tens of millions of pairs. Every number that a contrast needs is a sum over pairs of a function
of one side times a function of the other, so that sums over each architecture's partners are enough. They are found by
sorting or by counting, in time and memory proportional to the number of architectures.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt

from rksearch.arch.arrays import Floats

Whole = npt.NDArray[np.intp]


class Matching(Protocol):
    """Which architectures of a group before and of a group after a change are partners."""

    def over_after(self, values: Floats) -> Floats:
        """Sum of the values (after,) of the partners of each architecture before: (before,)."""

    def over_before(self, values: Floats) -> Floats:
        """Sum of the values (before,) of the partners of each architecture after: (after,)."""


class Near:
    """Partners are those whose positions differ by at most a distance.

    Args:
        before, after: positions, natural logarithms of costs for one: (before,) and (after,).
        distance: largest difference.
    """

    def __init__(self, before: Floats, after: Floats, distance: float) -> None:
        self._after = _Windows(after, before, distance)
        self._before = _Windows(before, after, distance)

    def over_after(self, values: Floats) -> Floats:
        """Sum of the values (after,) of the partners of each architecture before: (before,)."""
        return self._after.sums(values)

    def over_before(self, values: Floats) -> Floats:
        """Sum of the values (before,) of the partners of each architecture after: (after,)."""
        return self._before.sums(values)


class _Windows:
    """Sums of values at some positions within a distance of each of other positions."""

    def __init__(self, positions: Floats, centres: Floats, distance: float) -> None:
        self._order = np.argsort(positions, kind="stable")
        ordered = positions[self._order]
        self._low = np.searchsorted(ordered, centres - distance, side="left")
        self._high = np.searchsorted(ordered, centres + distance, side="right")

    def sums(self, values: Floats) -> Floats:
        until = np.concatenate([[0.0], np.cumsum(values[self._order])])
        found: Floats = until[self._high] - until[self._low]
        return found


class Alike:
    """Partners are those of the same kind.

    Args:
        before, after: numbers of their kinds, from 0 on: (before,) and (after,).
    """

    def __init__(self, before: Whole, after: Whole) -> None:
        self._before, self._after = before, after
        self._kinds = 1 + int(max(before.max(initial=0), after.max(initial=0)))

    def over_after(self, values: Floats) -> Floats:
        """Sum of the values (after,) of the partners of each architecture before: (before,)."""
        return self._sums(self._after, values)[self._before]

    def over_before(self, values: Floats) -> Floats:
        """Sum of the values (before,) of the partners of each architecture after: (after,)."""
        return self._sums(self._before, values)[self._after]

    def _sums(self, kinds: Whole, values: Floats) -> Floats:
        return np.bincount(kinds, weights=values, minlength=self._kinds).astype(float)


@dataclass(frozen=True)
class PairedDifferences:
    """Differences of a quantity over all matched pairs, after less before.

    Attributes:
        matching: which are pairs.
        before, after: the quantity: (before,) and (after,).
    """

    matching: Matching
    before: Floats
    after: Floats

    @cached_property
    def partners_before(self) -> Whole:
        """Number of partners of each architecture before: (before,)."""
        return np.rint(self.matching.over_after(np.ones(len(self.after)))).astype(np.intp)

    @cached_property
    def partners_after(self) -> Whole:
        """Number of partners of each architecture after: (after,)."""
        return np.rint(self.matching.over_before(np.ones(len(self.before)))).astype(np.intp)

    @property
    def pairs(self) -> int:
        """Number of pairs."""
        return int(self.partners_before.sum())

    @property
    def used(self) -> tuple[int, int]:
        """Numbers of architectures before and after that stand in a pair."""
        return int((self.partners_before > 0).sum()), int((self.partners_after > 0).sum())

    @cached_property
    def mean(self) -> float:
        """Mean over the pairs; NaN without any."""
        if not self.pairs:
            return float("nan")
        total = float(self.partners_after @ self.after) - float(self.partners_before @ self.before)
        return total / self.pairs

    def excess(self) -> tuple[Floats, Floats, float]:
        """Sums of the differences less their mean: over the pairs of each before, of each after, and squared over all.

        The squares are those of single pairs.
        """
        # Centred, so that sums of squares do not lose their digits.
        low, high = self.before - self.before.mean(), self.after - self.after.mean()
        level = self.mean - (float(self.after.mean()) - float(self.before.mean()))
        over_after = self.matching.over_after(high)
        of_before = over_after - self.partners_before * (low + level)
        of_after = self.partners_after * (high - level) - self.matching.over_before(low)
        squares = (
            self.matching.over_after(high**2)
            - 2 * (low + level) * over_after
            + self.partners_before * (low + level) ** 2
        )
        return of_before, of_after, max(0.0, float(squares.sum()))
