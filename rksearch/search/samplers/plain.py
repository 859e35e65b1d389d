"""Samplers that learn nothing: at random, spread over sizes, and one after the other."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence, Set

from rksearch.search.samplers.base import Observation, Sampler
from rksearch.search.samplers.start import feasible
from rksearch.space import Space

STRATA = 64
"""So many architectures are spread over sizes at a time."""


class _Indexed:
    """Proposes members by index, in an order that reaches every index once."""

    def __init__(self, space: Space, order: Iterator[int], *, skip: int, start: Sequence[str]) -> None:
        self._space = space
        self._start = feasible(space, start)[::-1]
        self._order = order
        # What earlier sessions drew is looked at again only when all else is taken.
        self._earlier = [next(order) for _ in range(min(skip, len(space)))][::-1]

    def propose(self, taken: Set[str]) -> str | None:
        """The next member that is not taken."""
        while self._start:
            arch = self._start.pop()
            if arch not in taken:
                return arch
        for index in self._order:
            arch = str(self._space.at(index))
            if arch not in taken:
                return arch
        while self._earlier:
            arch = str(self._space.at(self._earlier.pop()))
            if arch not in taken:
                return arch
        return None

    def observe(self, observation: Observation) -> None:
        """Nothing is learned."""


class GridSampler(_Indexed):
    """In the order of the indices.

    Args:
        space: what may be proposed.
        proposed: how many were proposed before.
        start: names to propose first.
    """

    def __init__(self, space: Space, *, proposed: int = 0, start: Sequence[str] = ()) -> None:
        super().__init__(space, iter(range(len(space))), skip=proposed, start=start)


class RandomSampler(_Indexed):
    """Every member that is left is equally likely.

    The order is a function of the seed alone: the member drawn at a place is the same however many were observed,
    and in how many sessions.

    Args:
        space: what may be proposed.
        seed: of the order.
        proposed: how many were proposed before.
        start: names to propose first.
    """

    def __init__(self, space: Space, *, seed: int, proposed: int = 0, start: Sequence[str] = ()) -> None:
        super().__init__(space, shuffled(len(space), seed), skip=proposed, start=start)


class StratifiedSampler:
    """Spread evenly over the logarithm of the parameters, a batch of so many strata after the other.

    Args:
        space: what may be proposed.
        trials: how many architectures the search will propose.
        seed: of the batches.
        start: names to propose first.
    """

    def __init__(self, space: Space, *, trials: int, seed: int, start: Sequence[str] = ()) -> None:
        self._space = space
        self._size = max(1, min(trials, STRATA, len(space)))
        self._rng = random.Random(seed)
        self._left = feasible(space, start)[::-1]
        self._fresh = 1

    def propose(self, taken: Set[str]) -> str | None:
        """The next of the batch that is not taken, or of the next batch."""
        while True:
            while self._left:
                arch = self._left.pop()
                if arch not in taken:
                    self._fresh += 1
                    return arch
            if not self._fresh:
                # A batch without anything new: look closer, in the end at every member.
                if self._size == len(self._space):
                    return None
                self._size = min(2 * self._size, len(self._space))
            self._fresh = 0
            self._left = [str(spec) for spec in self._space.sample_stratified(self._size, self._rng)]

    def observe(self, observation: Observation) -> None:
        """Nothing is learned."""


def make(name: str, space: Space, *, trials: int, seed: int, proposed: int, start: Sequence[str]) -> Sampler:
    """The sampler called `random`, `stratified` or `grid`."""
    if name == "random":
        return RandomSampler(space, seed=seed, proposed=proposed, start=start)
    if name == "grid":
        return GridSampler(space, proposed=proposed, start=start)
    return StratifiedSampler(space, trials=trials, seed=seed, start=start)


def shuffled(size: int, seed: int) -> Iterator[int]:
    """The numbers from 0 to `size - 1` in random order, in memory that grows with those drawn only."""
    rng = random.Random(seed)
    moved: dict[int, int] = {}
    for place in range(size):
        other = rng.randrange(place, size)
        # Fisher and Yates exchange two places; only those that were exchanged are kept.
        drawn = moved.pop(other, other)
        if other != place:
            moved[other] = moved.pop(place, place)
        yield drawn
