"""Quality of a strategy's findings: the hypervolume of its front, by the truth and by the errors that it saw.

The hypervolume is the area that a front dominates, up to a reference point, with log10 of the parameters across and the
validation error up. The reference is the costliest network of the space, and guessing, as in the reports of runs. Areas
are given as shares of that of the table's own front, by mean errors over all seeds.

*Honest*: the strategy names its front by the errors that it saw, one training each, and is judged by the mean errors,
over all tabulated seeds, of the networks on it. This is the headline, because it is what the user gets: a lucky seed
wins no area, and crowding a better network out of the front loses some. *Optimistic*: the area of what was seen; it
rewards trying many noisy networks, and may exceed 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rksearch.bench.replay.simulation import Finished, Played
from rksearch.bench.replay.table import Table
from rksearch.results.dominance import Reference, hypervolume, pareto
from rksearch.results.stats import mean


@dataclass(frozen=True, slots=True)
class Moment:
    """A strategy's standing when a training has ended.

    Attributes:
        epochs: spent so far.
        time_s: virtual, on the wall.
        honest, optimistic: hypervolume as a share of that of the table's front.
    """

    epochs: int
    time_s: float
    honest: float
    optimistic: float


class Judge:
    """Judges findings by the mean errors of a table."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._truth = {
            member.arch: (member.params, member.val_error_pct)
            for member in table.members.values()
            if member.val_error_pct is not None
        }
        space = table.space
        self.reference = Reference(
            cost=space.largest.params, error_pct=100 * (1 - 1 / space.definition.dataset.classes)
        )
        self.area = self._area(self._truth.values())

    @property
    def front(self) -> list[str]:
        """The table's own front by mean errors, by rising parameters."""
        truth = self._truth
        return pareto(sorted(truth), cost=lambda arch: truth[arch][0], error=lambda arch: truth[arch][1])

    def honest(self, archs: Iterable[str]) -> float:
        """Share of the true area that these architectures dominate by their mean errors."""
        return self._share(self._truth[arch] for arch in archs)

    def moments(self, finished: Sequence[Finished]) -> list[Moment]:
        """The standing after each complete training."""
        seen: dict[str, list[float]] = {}
        moments = []
        for item in finished:
            seen.setdefault(item.arch, []).append(item.val_error_pct)
            errors = {arch: mean(values) for arch, values in seen.items()}
            front = self._front_of(errors)
            optimistic = self._share((self._truth[arch][0], errors[arch]) for arch in front)
            moments.append(Moment(item.epochs_spent, item.time_s, self.honest(front), optimistic))
        return moments

    def _front_of(self, errors: Mapping[str, float]) -> list[str]:
        return pareto(errors, cost=lambda arch: self._truth[arch][0], error=lambda arch: errors[arch])

    def _share(self, points: Iterable[tuple[float, float]]) -> float:
        return self._area(points) / self.area

    def _area(self, points: Iterable[tuple[float, float]]) -> float:
        pairs = list(points)
        if not pairs:
            return 0.0
        costs, errors = zip(*pairs, strict=True)
        return float(hypervolume(np.array([errors]), costs, self.reference)[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """One strategy in one repetition.

    Attributes:
        strategy: its name.
        repetition: which.
        moments: its standing after each complete training.
        epochs: spent in all.
        time_s: virtual, at the end.
        started, complete: trainings.
    """

    strategy: str
    repetition: int
    moments: tuple[Moment, ...]
    epochs: int
    time_s: float
    started: int
    complete: int

    @property
    def final(self) -> Moment:
        """The standing when the budget was spent."""
        return self.moments[-1] if self.moments else Moment(self.epochs, self.time_s, 0.0, 0.0)

    def at(self, epochs: float) -> float:
        """The honest hypervolume after this number of epochs."""
        value = 0.0
        for moment in self.moments:
            if moment.epochs > epochs:
                break
            value = moment.honest
        return value

    def first(self, target: float) -> Moment | None:
        """When the honest hypervolume first reached `target`; None if never."""
        return next((moment for moment in self.moments if moment.honest >= target), None)

    def settled(self, target: float) -> Moment | None:
        """From when on the honest hypervolume stayed at `target` or above until the end; None if it ended below."""
        found = None
        for moment in reversed(self.moments):
            if moment.honest < target:
                break
            found = moment
        return found


def judged(strategy: str, repetition: int, played: Played, judge: Judge) -> Replay:
    """The standings of a strategy that was played."""
    return Replay(
        strategy=strategy,
        repetition=repetition,
        moments=tuple(judge.moments(played.finished)),
        epochs=played.epochs_spent,
        time_s=played.time_s,
        started=len(played.started),
        complete=len(played.finished),
    )
