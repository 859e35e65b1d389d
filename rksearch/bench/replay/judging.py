"""Quality of a strategy's findings: the area of its front, by errors that no strategy saw.

The front is drawn with log10 of the parameters across and the validation error up, and its area (hypervolume) ends at a
corner. Two corners are used, both at the largest network of the space. The *space's own* is guessing, as in the reports
of runs: the smallest network alone, far left and below 90 % error, is worth most of it. The *tight* one is the 90 %
quantile of the members' errors, where the shape of the front counts. Areas are given as shares of that of the table's
own front.

*Honest*: the strategy names its front by the errors that it saw. Whoever follows it takes, at each size, the largest
network on that front, which is the best as far as the strategy knows, and gets that network's mean error over the
judging seeds. This is the headline: a lucky seed wins nothing, and loses where it crowds out a better network. Nor is a
lucky judge of use, since no minimum is taken over judged errors; that minimum would favour long fronts, and whoever
never trains a network twice. *As seen*: the area of what was seen; it rewards trying many noisy networks, and may
exceed 1.

The judging seeds are a sample too. Besides the errors themselves (draw 0), a judge holds draws of them: each member's
judging trainings are drawn with replacement, and the deviation of their mean is scaled by sqrt(n / (n - 1)), so that
the spread of the draws is the unbiased estimate of that of a mean of n trainings. The area of the table's own front is
that of draw 0 throughout: it is a unit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from rksearch.arch.arrays import Floats
from rksearch.bench.replay.simulation import Finished, Played
from rksearch.bench.replay.table import Table
from rksearch.errors import RunError
from rksearch.report.text import count
from rksearch.results.dominance import Reference, area_of_largest, hypervolume, non_dominated, pareto
from rksearch.results.stats import mean

Start = Literal["same", "own"]
"""`same`: the smallest member is trained first and the table's baselines are known; `own`: as the strategy comes."""

STARTS: tuple[Start, ...] = get_args(Start)

CornerName = Literal["space", "tight"]
CORNERS: tuple[CornerName, ...] = get_args(CornerName)

TIGHT_QUANTILE = 0.9
"""Quantile of the members' errors at the tight corner."""

DRAWS_OF_SEEDS = 400
"""Number of draws of the judging seeds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """Facts of one strategy in one repetition; what they are worth is derived from the table.

    Attributes:
        strategy: its name.
        start: see `Start`.
        repetition: number of the repetition.
        finished: the complete trainings, in order.
        epochs: spent in all.
        time_s: virtual, at the end.
        started: number of trainings that were begun.
    """

    strategy: str
    start: Start
    repetition: int
    finished: tuple[Finished, ...]
    epochs: int
    time_s: float
    started: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Standings of a replay before its first complete training and after each.

    Attributes:
        replay: the facts.
        epochs: (moments,), spent so far.
        time_s: (moments,), virtual, on the wall.
        honest: (corners, moments, draws), area as a share of that of the table's front; draw 0 is the table's.
        seen: (corners, moments), the same by the errors that the strategy saw.
    """

    replay: Replay
    epochs: Floats
    time_s: Floats
    honest: Floats
    seen: Floats

    def final(self, corner: CornerName) -> float:
        """The honest hypervolume when the budget was spent."""
        return float(self.honest[CORNERS.index(corner), -1, 0])


class Judge:
    """Judges findings by the judging seeds of a table.

    Args:
        table: the table.

    Attributes:
        corners: where each hypervolume ends.
        areas: hypervolume of the table's own front, in percent times decades of parameters, by corner.
        front: (networks, 2), params and judged errors of the table's own front, baselines among them, by rising params.
        draws: number of draws of the judging seeds, draw 0 among them.

    Raises:
        RunError: the table's front leaves no area below a corner, so that no share of it can be stated.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self.draws = 1 + DRAWS_OF_SEEDS if table.judging_seeds > 1 else 1
        self._errors: dict[str, Floats] = {}
        params, errors = table.judged()
        known = [(own.params, own.val_error_pct) for own in table.baselines.values() if own.judging]
        classes, largest = table.space.definition.dataset.classes, table.space.largest.params
        quantile = float(np.quantile(errors, TIGHT_QUANTILE))
        self.corners: Mapping[CornerName, Reference] = {
            "space": Reference(cost=largest, error_pct=100 * (1 - 1 / classes)),
            "tight": Reference(cost=largest, error_pct=quantile),
        }
        points = np.concatenate([np.stack([params, errors], axis=1), np.array(known, dtype=float).reshape(-1, 2)])
        self.front = points[non_dominated(points)]
        self.areas: Mapping[CornerName, float] = {
            name: float(hypervolume(self.front[None, :, 1], self.front[:, 0], corner)[0])
            for name, corner in self.corners.items()
        }
        for name, area in self.areas.items():
            if not area > 0:
                corner = self.corners[name]
                raise RunError(
                    f"strategies are judged by the area of their front below {corner.cost:,} parameters and "
                    f"{corner.error_pct:.2f} % error (the corner `{name}`), but the front of {table.name}, of "
                    f"{count(len(table.members), 'member')}, has none there; take a table with more members, of "
                    "several sizes"
                )

    def honest(self, archs: Sequence[str]) -> Floats:
        """Share of the area that the judged errors of a front leave, (corners, draws).

        Args:
            archs: the front as it was named, by rising params.
        """
        if not archs:
            return np.zeros((len(CORNERS), self.draws))
        errors = np.stack([self._drawn(arch) for arch in archs], axis=1)
        return self._shares(errors, [self._params(arch) for arch in archs])

    def judged(self, replay: Replay) -> Judged:
        """The standings of a replay."""
        seen: dict[str, list[float]] = {}
        if replay.start == "same":
            for arch in self._table.baselines:
                training = self._table.training(arch, repetition=replay.repetition, replicate=0)
                if training.status == "complete":
                    seen[arch] = [training.epochs[-1].val_error_pct]
        moments: list[tuple[float, float]] = [(0.0, 0.0)]
        front, worth = self._standing(seen)
        honest, optimistic = [worth], [self._seen(front, seen)]
        for item in replay.finished:
            seen.setdefault(item.arch, []).append(item.val_error_pct)
            moments.append((item.epochs_spent, item.time_s))
            before = front
            front, worth = self._standing(seen, before, honest[-1])
            honest.append(worth)
            optimistic.append(self._seen(front, seen))
        epochs, times = zip(*moments, strict=True)
        return Judged(
            replay=replay,
            epochs=np.array(epochs, dtype=float),
            time_s=np.array(times, dtype=float),
            honest=np.stack(honest, axis=1),
            seen=np.stack(optimistic, axis=1),
        )

    def _standing(
        self, seen: Mapping[str, Sequence[float]], before: Sequence[str] = (), worth: Floats | None = None
    ) -> tuple[list[str], Floats]:
        """The front by what was seen, and its honest worth, which an unchanged front keeps."""
        front = pareto(seen, cost=self._params, error=lambda arch: mean(seen[arch]))
        return front, worth if worth is not None and front == list(before) else self.honest(front)

    def _seen(self, front: Sequence[str], seen: Mapping[str, Sequence[float]]) -> Floats:
        if not front:
            return np.zeros(len(CORNERS))
        errors = np.array([[mean(seen[arch]) for arch in front]])
        return self._shares(errors, [self._params(arch) for arch in front])[:, 0]

    def _shares(self, errors: Floats, params: Sequence[int]) -> Floats:
        """Shares of errors (draws, architectures), by rising params: (corners, draws)."""
        return np.stack([area_of_largest(errors, params, self.corners[name]) / self.areas[name] for name in CORNERS])

    def _params(self, arch: str) -> int:
        return self._table.entry(arch).params

    def _drawn(self, arch: str) -> Floats:
        """Draws of the judged error: (draws,); infinite where all trainings that judge have failed."""
        if arch not in self._errors:
            judging = self._table.entry(arch).judging
            self._errors[arch] = _draws(arch, judging, self.draws)
        return self._errors[arch]


def _draws(arch: str, judging: Sequence[float], draws: int) -> Floats:
    count = len(judging)
    if not count:
        return np.full(draws, np.inf)
    found = np.full(draws, mean(judging))
    if count > 1 and draws > 1:
        rng = np.random.default_rng(list(hashlib.sha256(arch.encode()).digest()[:8]))
        chosen = rng.integers(count, size=(draws - 1, count))
        apart = np.array(judging)[chosen].mean(axis=1) - found[0]
        found[1:] = np.maximum(found[0] + apart * np.sqrt(count / (count - 1)), 0.0)
    return found


def replay_of(strategy: str, start: Start, repetition: int, played: Played) -> Replay:
    """The facts of a strategy that was played."""
    return Replay(
        strategy=strategy,
        start=start,
        repetition=repetition,
        finished=tuple(played.finished),
        epochs=played.epochs_spent,
        time_s=played.time_s,
        started=len(played.started),
    )
