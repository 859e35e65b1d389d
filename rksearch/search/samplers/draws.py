"""Sequences of members that depend on nothing that was learned: shuffled, in order, and spread over sizes."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence, Set

from rksearch.arch import parse
from rksearch.arch.cost import cost
from rksearch.space import Space

STRATA = 64
"""Number of architectures of one batch that is spread over sizes."""

SPREAD_SHARE = 1 / 3
"""Share of a search that is spread evenly over sizes before its sampler takes over."""

SPREAD_MOST = 24
"""Default limit of the number of architectures that are spread over sizes: beyond it a sampler's own choices teach it
more."""


class IndexDraw:
    """Members by index, in an order that reaches every index once.

    Args:
        space: the members.
        order: the indices.
        skip: number of indices that earlier sessions drew; they are looked at again only when all others are taken.
    """

    def __init__(self, space: Space, order: Iterator[int], *, skip: int = 0) -> None:
        self._space = space
        self._order = order
        self._earlier = [next(order) for _ in range(min(skip, len(space)))][::-1]

    def next(self, taken: Set[str]) -> str | None:
        """The next member that is not taken; None when there is none left."""
        for index in self._order:
            arch = str(self._space.at(index))
            if arch not in taken:
                return arch
        while self._earlier:
            arch = str(self._space.at(self._earlier.pop()))
            if arch not in taken:
                return arch
        return None


class StratifiedDraw:
    """Members spread evenly over the logarithm of the parameters, one batch of strata after the other.

    Args:
        space: the members.
        trials: number of architectures that the search proposes; None without a limit.
        seed: seed of the batches.
    """

    def __init__(self, space: Space, *, trials: int | None, seed: int) -> None:
        self._space = space
        self._size = max(1, min(STRATA if trials is None else trials, STRATA, len(space)))
        self._rng = random.Random(seed)
        self._left: list[str] = []
        self._fresh = 1

    def next(self, taken: Set[str]) -> str | None:
        """The next member of the batch, or of the next batch, that is not taken; None when there is none left."""
        while True:
            while self._left:
                arch = self._left.pop()
                if arch not in taken:
                    self._fresh += 1
                    return arch
            if not self._fresh:
                # A batch without anything new: take more strata, in the end one for every member.
                if self._size == len(self._space):
                    return None
                self._size = min(2 * self._size, len(self._space))
            self._fresh = 0
            self._left = [str(spec) for spec in self._space.sample_stratified(self._size, self._rng)]


class SpreadStart:
    """The first proposals of a search, spread evenly over sizes, once each.

    It needs no memory of earlier sessions: their proposals are taken.

    Args:
        space: the members.
        trials: number of architectures that the search proposes; None without a limit.
        seed: seed of the stratified sample.
        most: limit of the number of proposals.
        smallest: whether the first proposal is the member of fewest parameters, in place of the sample's own least.
            Where parameters are an objective, only equals in them can dominate that member: it belongs to the front
            whatever its error is, and nothing else reaches the hypervolume at its size.
    """

    def __init__(
        self, space: Space, *, trials: int | None, seed: int, most: int = SPREAD_MOST, smallest: bool = False
    ) -> None:
        wanted = most if trials is None else math.ceil(trials * SPREAD_SHARE)
        spread = space.sample_stratified(min(wanted, most, len(space)), random.Random(seed))
        if smallest and spread:
            first = space.smallest.name
            replaced = min(spread, key=lambda spec: cost(spec, space.definition.dataset).params)
            spread = [parse(first), *(spec for spec in spread if spec != replaced and str(spec) != first)]
        self._left = [str(spec) for spec in spread][::-1]

    def next(self, taken: Set[str]) -> str | None:
        """The next one that is not taken; None once the start is over."""
        while self._left:
            arch = self._left.pop()
            if arch not in taken:
                return arch
        return None


def feasible(space: Space, names: Sequence[str]) -> list[str]:
    """Canonical names of those that are in the space.

    Raises:
        SpecError: one is no name of an architecture.
    """
    return [str(spec) for spec in map(parse, names) if spec in space]


class Shuffled(Iterator[int]):
    """The numbers from 0 to `size - 1` in random order, in memory that grows only with those drawn."""

    def __init__(self, size: int, seed: int) -> None:
        self._size = size
        self._rng = random.Random(seed)
        self._place = 0
        self._moved: dict[int, int] = {}

    def __next__(self) -> int:
        """The next number."""
        place = self._place
        if place >= self._size:
            raise StopIteration
        self._place += 1
        other = self._rng.randrange(place, self._size)
        # Fisher and Yates exchange two places; only those that were exchanged are kept.
        drawn = self._moved.pop(other, other)
        if other != place:
            self._moved[other] = self._moved.pop(place, place)
        return drawn
