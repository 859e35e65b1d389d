"""Racing: trials pause at rungs, and of those that are about as large only the better share continues.

A small network is never compared with a large one: the comparison is within bands of parameters, so that racing does
not bend the front. A pause costs nothing (the checkpoint is there) and nothing is synchronised: whenever a slot is
free, the best trial that may continue does so, else a new one begins.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Protocol

from rksearch.results.plan import RacingRule, Rank
from rksearch.results.records import Epoch
from rksearch.space.plan import TOP1, ErrorMetric


@dataclass(frozen=True, slots=True, kw_only=True)
class Racer:
    """State of a trial in a race.

    Attributes:
        arch: canonical name of its architecture.
        params: number of parameters.
        epochs: epochs so far.
        waits: whether it is paused and may continue (false for one that is finished or has failed).
    """

    arch: str
    params: int
    epochs: Sequence[Epoch]
    waits: bool


_RankKey = tuple[float, int, str]
"""Score, params and architecture: the less, the better."""


def score(epochs: Sequence[Epoch], rung: int, rank: Rank, metric: ErrorMetric = TOP1) -> float:
    """Score of a trial at `rung`, the less the better; infinite where it has not reached it.

    Args:
        epochs: epochs of the trial so far.
        rung: number of epochs at which trials are compared.
        rank: what the score is.
        metric: the error that the run compares networks by, for the rank `val_error`.
    """
    if len(epochs) < rung:
        return math.inf
    if rank == "val_error":
        value = epochs[rung - 1].error_pct(metric)
    else:
        value = math.fsum(epoch.train_loss for epoch in epochs[:rung])
    return value if math.isfinite(value) else math.inf


def expected_epochs(racing: RacingRule | None, full: int, *, done: int = 0) -> float:
    """Expected number of epochs that a training of `full` epochs still takes after `done` of them.

    A trial that stands at a rung has yet to be kept; one on its way to the first rung reaches it for certain.
    """
    if racing is None:
        return full - done
    stops = (*racing.rungs, full)
    spans = [stop - max(done, before) for before, stop in zip((0, *stops), stops, strict=False) if stop > done]
    return math.fsum(span * racing.keep**i for i, span in enumerate(spans, 1 if done else 0))


class Race:
    """The rules of one race.

    Args:
        racing: rungs, share and ranking.
        smallest, largest: parameters of the smallest and of the largest network that may take part; the bands divide
            the range between.
        metric: the error that the run compares networks by.
    """

    def __init__(self, racing: RacingRule, *, smallest: int, largest: int, metric: ErrorMetric = TOP1) -> None:
        self.racing = racing
        self.metric = metric
        low, high = math.log(smallest), math.log(max(largest, smallest + 1))
        width = (high - low) / racing.bands
        self._edges = [low + width * i for i in range(1, racing.bands)]

    def band(self, params: int) -> int:
        """Index of the band of a size, from 0 for the smallest; sizes outside of the range join the outermost."""
        return bisect_right(self._edges, math.log(params))


class Standings(Protocol):
    """Trials of a race, and which of those that wait continues."""

    def set(self, racer: Racer) -> None:
        """Set the state of a trial, in place of an earlier state of the same architecture."""

    def promoted(self, running: Container[str] = ()) -> str | None:
        """Name of the waiting trial that continues first; None for none."""


class RungStandings:
    """All trials of a race and their places at the rungs; each change of a trial is set once.

    The order of the changes has no influence: which trial may continue is a function of the epochs of each.

    Args:
        race: the rules.
    """

    def __init__(self, race: Race) -> None:
        self._race = race
        self._racers: dict[str, Racer] = {}
        self._reached: dict[tuple[int, int], list[_RankKey]] = {}
        self._waiting: dict[tuple[int, int], list[_RankKey]] = {}

    def set(self, racer: Racer) -> None:
        """Set the state of a trial, in place of an earlier state of the same architecture."""
        before = self._racers.get(racer.arch)
        if before == racer:
            return
        for kept, old, new in (
            (self._reached, before and self._places(before), self._places(racer)),
            (self._waiting, before and self._waits(before), self._waits(racer)),
        ):
            for key, place in (old or {}).items():
                del kept[key][bisect_left(kept[key], place)]
            for key, place in new.items():
                insort(kept.setdefault(key, []), place)
        self._racers[racer.arch] = racer

    def promoted(self, running: Container[str] = ()) -> str | None:
        """Name of the waiting trial that continues first: of the most advanced, the best of its group; None for none.

        The share is rounded up: the first trial of a band continues at once. There is nothing yet that it could be
        worse than, and a search that waits for others learns late how its trainings end.

        Args:
            running: architectures that continue already.
        """
        for rung in reversed(self._race.racing.rungs):
            found = [best for band in range(self._race.racing.bands) if (best := self._best(rung, band, running))]
            if found:
                return min(found)[1]
        return None

    def _best(self, rung: int, band: int, running: Container[str]) -> tuple[int, str] | None:
        """Place in its group and name of the first waiting trial at a rung that may continue."""
        group = self._reached.get((rung, band), [])
        # A share such as 1/3 of 3 must not become 2 by rounding.
        count = math.ceil(len(group) * self._race.racing.keep - 1e-9)
        for place in self._waiting.get((rung, band), []):
            if place[2] not in running:
                rank = bisect_left(group, place)
                return (rank, place[2]) if rank < count else None
        return None

    def _places(self, racer: Racer) -> dict[tuple[int, int], _RankKey]:
        racing, band = self._race.racing, self._race.band(racer.params)
        return {
            (rung, band): (score(racer.epochs, rung, racing.rank, self._race.metric), racer.params, racer.arch)
            for rung in racing.rungs
            if len(racer.epochs) >= rung
        }

    def _waits(self, racer: Racer) -> dict[tuple[int, int], _RankKey]:
        return {key: place for key, place in self._places(racer).items() if racer.waits and key[0] == len(racer.epochs)}
