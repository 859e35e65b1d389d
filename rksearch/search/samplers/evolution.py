"""Evolution: one changed choice in an architecture that is not dominated."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Set

from rksearch.arch import parse
from rksearch.results.dominance import non_dominated
from rksearch.search.samplers.base import ArchitectureSampler, PacedSampler
from rksearch.search.samplers.draws import IndexDraw, Shuffled, SpreadStart
from rksearch.search.samplers.observations import Observation

POPULATION = 48
"""Number of architectures that may be parents, those completed last: older ones, good or lucky, retire."""

TOURNAMENT = 12
"""Number of members of the population that are compared for one parent."""

PARENTS = 8
"""Number of parents that are tried before a random architecture is proposed."""


class EvolutionSampler(PacedSampler, ArchitectureSampler):
    """Ageing evolution (Real et al. 2019) for several objectives.

    A parent is one of those that nothing dominates among some of the population; its child is a member of the space
    that differs in one choice. Trainings that racing stopped are no parents: others of their size were better.

    Args:
        space: architectures that may be proposed.
        objectives: names of the minimised objectives, in the order of a trial's values.
        trials: number of architectures that the search proposes; None without a limit.
        seed: seed of all random choices; None for one that differs each time.
    """

    def begin(self, proposed: int) -> None:
        """Forget everything; random choices differ from those of earlier sessions."""
        self._start = SpreadStart(self.space, trials=self.trials, seed=self.seed)
        self._rng = random.Random(f"evolution {self.seed} {proposed}")
        self._strangers = IndexDraw(self.space, Shuffled(len(self.space), self.seed))
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
        return self._strangers.next(taken)

    def observe(self, observation: Observation) -> None:
        """Complete trainings join the population."""
        values = observation.values
        if observation.state == "complete" and observation.usable and values and not observation.replicate:
            self._population.append((observation.arch, values))

    def _children(self, parent: str) -> list[str]:
        if parent not in self._known:
            if len(self._known) >= POPULATION:
                self._known.clear()
            self._known[parent] = [str(spec) for spec in self.space.neighbours(parse(parent))]
        return self._known[parent]

    def _parent(self) -> str:
        compared = self._rng.sample(list(self._population), min(TOURNAMENT, len(self._population)))
        best: list[int] = sorted(non_dominated([values for _, values in compared]).tolist())
        return compared[self._rng.choice(best)][0]
