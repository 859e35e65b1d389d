"""Racing: trials pause at rungs, and of those that are about as large only the better share continues.

A small network is never compared with a large one: the comparison is within bands of parameters, so that racing does
not bend the front. A pause costs nothing (the checkpoint is there), nothing waits for anything: whenever a slot is
free, the best trial that may go on goes on, else a new one begins.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Container, Sequence
from dataclasses import dataclass

from rksearch.results.plan import RacingRule, Rank
from rksearch.results.records import Epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class Racer:
    """A trial as racing sees it.

    Attributes:
        arch: its architecture.
        params: its size.
        epochs: what it has run.
        waits: whether it is paused and could go on (false for one that is finished or has failed).
    """

    arch: str
    params: int
    epochs: Sequence[Epoch]
    waits: bool


_Place = tuple[float, int, str]
"""Score, params and architecture: the less, the better."""


def score(epochs: Sequence[Epoch], rung: int, rank: Rank) -> float:
    """What a trial is ranked by at `rung`, the less the better; infinite where it never got there."""
    if len(epochs) < rung:
        return math.inf
    if rank == "val_error":
        value = epochs[rung - 1].val_error_pct
    else:
        value = math.fsum(epoch.train_loss for epoch in epochs[:rung])
    return value if math.isfinite(value) else math.inf


def expected_epochs(racing: RacingRule | None, full: int, *, done: int = 0) -> float:
    """What a training of `full` epochs still costs after `done` of them: on the average, where it races.

    Who stands at a rung has yet to be kept; who is still on the way to the first one runs there for certain.
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
    """

    def __init__(self, racing: RacingRule, *, smallest: int, largest: int) -> None:
        self.racing = racing
        low, high = math.log(smallest), math.log(max(largest, smallest + 1))
        width = (high - low) / racing.bands
        self._edges = [low + width * i for i in range(1, racing.bands)]

    def band(self, params: int) -> int:
        """Which band a size belongs to, from 0 for the smallest; sizes outside of the range join the outermost."""
        return bisect_right(self._edges, math.log(params))


class Field:
    """All trials of a race and where they stand: asked again and again, so it is told of each change once.

    The order in which trials were told means nothing: what may go on is a function of what each has run.

    Args:
        race: the rules.
    """

    def __init__(self, race: Race) -> None:
        self._race = race
        self._racers: dict[str, Racer] = {}
        self._reached: dict[tuple[int, int], list[_Place]] = {}
        self._waiting: dict[tuple[int, int], list[_Place]] = {}

    def tell(self, racer: Racer) -> None:
        """A trial has run some epochs, or no longer waits; it replaces what was told of it before."""
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
        """Of the waiting trials that may go on the most advanced, and of those the best of its group; None for none.

        The share is rounded up: the first trial of a band goes on at once, for there is nothing yet that it could be
        worse than, and a search that must wait for company learns late what its trainings come to.

        Args:
            running: architectures that are going on already.
        """
        for rung in reversed(self._race.racing.rungs):
            found = [best for band in range(self._race.racing.bands) if (best := self._best(rung, band, running))]
            if found:
                return min(found)[1]
        return None

    def _best(self, rung: int, band: int, running: Container[str]) -> tuple[int, str] | None:
        """Place in its group and name of the first waiting trial at a rung that may go on."""
        group = self._reached.get((rung, band), [])
        # A share such as 1/3 of 3 must not become 2 by rounding.
        count = math.ceil(len(group) * self._race.racing.keep - 1e-9)
        for place in self._waiting.get((rung, band), []):
            if place[2] not in running:
                rank = bisect_left(group, place)
                return (rank, place[2]) if rank < count else None
        return None

    def _places(self, racer: Racer) -> dict[tuple[int, int], _Place]:
        racing, band = self._race.racing, self._race.band(racer.params)
        return {
            (rung, band): (score(racer.epochs, rung, racing.rank), racer.params, racer.arch)
            for rung in racing.rungs
            if len(racer.epochs) >= rung
        }

    def _waits(self, racer: Racer) -> dict[tuple[int, int], _Place]:
        return {key: place for key, place in self._places(racer).items() if racer.waits and key[0] == len(racer.epochs)}
