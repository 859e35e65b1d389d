"""Samplers that learn nothing: at random, spread over sizes, and in the order of the indices."""

from __future__ import annotations

from collections.abc import Sequence, Set

from rksearch.search.samplers.base import ArchitectureSampler, PacedSampler
from rksearch.search.samplers.draws import IndexDraw, Shuffled, StratifiedDraw
from rksearch.search.samplers.observations import Observation
from rksearch.space import Space
from rksearch.space.plan import DEFAULT_OBJECTIVES


class _Drawn(ArchitectureSampler):
    """Proposes from a draw that is made when a study begins."""

    _draw: IndexDraw | StratifiedDraw

    def observe(self, observation: Observation) -> None:
        """Nothing is learned."""

    def propose(self, taken: Set[str]) -> str | None:
        """The next member of the draw that is not taken."""
        return self._draw.next(taken)


class GridSampler(_Drawn):
    """Proposes members in the order of their indices.

    Args:
        space: architectures that may be proposed.
        objectives: names of the minimised objectives, in the order of a trial's values.
    """

    def __init__(self, space: Space, *, objectives: Sequence[str] = DEFAULT_OBJECTIVES) -> None:
        super().__init__(space, objectives=objectives, seed=0)

    def begin(self, proposed: int) -> None:
        """Skip the indices of earlier proposals."""
        self._draw = IndexDraw(self.space, iter(range(len(self.space))), skip=proposed)


class RandomSampler(_Drawn):
    """Proposes each remaining member with the same probability.

    The order is a function of the seed alone: the member drawn at a place is the same whatever was observed, and in
    however many sessions.
    """

    def begin(self, proposed: int) -> None:
        """Skip the places of earlier proposals."""
        self._draw = IndexDraw(self.space, Shuffled(len(self.space), self.seed), skip=proposed)


class StratifiedSampler(PacedSampler, _Drawn):
    """Proposes members spread evenly over the logarithm of the parameters, one batch of strata after the other.

    Args:
        space: architectures that may be proposed.
        objectives: names of the minimised objectives, in the order of a trial's values.
        trials: number of architectures that the search proposes; None without a limit.
        seed: seed of the batches; None for one that differs each time.
    """

    def begin(self, proposed: int) -> None:
        """Draw the same batches in every session: what earlier ones proposed is taken."""
        self._draw = StratifiedDraw(self.space, trials=self.trials, seed=self.seed)
