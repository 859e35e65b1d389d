"""Evolution: one changed choice in an architecture that nothing better is known than."""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Set

from rksearch.arch import parse
from rksearch.search.samplers.base import Observation
from rksearch.search.samplers.plain import RandomSampler
from rksearch.search.samplers.start import Start
from rksearch.space import Space

POPULATION = 48
"""So many of the architectures that were completed last may be parents: older ones, good or lucky, retire."""

TOURNAMENT = 12
"""So many of the population meet at a time."""

PARENTS = 8
"""So many parents are tried before a random architecture is proposed."""


class EvolutionSampler:
    """Ageing evolution (Real et al. 2019) for several objectives.

    A parent is one of those that nothing dominates among some of the population; its child is a member of the space
    that differs in one choice. Trials that racing stopped are no parents: others of their size were better.

    Args:
        space: what may be proposed.
        start: the first proposals.
        seed: of all random choices.
        proposed: how many were proposed before.
    """

    def __init__(self, space: Space, start: Start, *, seed: int, proposed: int = 0) -> None:
        self._space = space
        self._start = start
        self._rng = random.Random(f"evolution {seed} {proposed}")
        self._strangers = RandomSampler(space, seed=seed)
        self._known: dict[str, list[str]] = {}
        self._population: deque[tuple[str, tuple[float, ...]]] = deque(maxlen=POPULATION)

    def propose(self, taken: Set[str]) -> str | None:
        """A child of a parent, or, where all children of the parents tried are taken, any architecture."""
        if arch := self._start.next(taken):
            return arch
        for _ in range(PARENTS if self._population else 0):
            free = [arch for arch in self._children(self._parent()) if arch not in taken]
            if free:
                return self._rng.choice(free)
        return self._strangers.propose(taken)

    def observe(self, observation: Observation) -> None:
        """Complete trainings join the population."""
        values = observation.values
        if observation.status != "complete" or values is None or not all(map(math.isfinite, values)):
            return
        if parse(observation.arch) in self._space:
            self._population.append((observation.arch, values))

    def _children(self, parent: str) -> list[str]:
        if parent not in self._known:
            if len(self._known) >= POPULATION:
                self._known.clear()
            self._known[parent] = [str(spec) for spec in self._space.neighbours(parse(parent))]
        return self._known[parent]

    def _parent(self) -> str:
        met = self._rng.sample(list(self._population), min(TOURNAMENT, len(self._population)))
        best = [arch for arch, own in met if not any(_dominates(other, own) for _, other in met)]
        return self._rng.choice(best)


def _dominates(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a != b and all(x <= y for x, y in zip(a, b, strict=True))
