"""Racing: trials pause at rungs, and of those that are about as large only the better share goes on.

A small network is never compared with a large one: the comparison is within bands of parameters, so that racing does
not bend the front. A pause costs nothing (the checkpoint is there), nothing waits for anything: whenever a slot is
free, the best trial that may go on goes on, else a new one begins.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rksearch.errors import SpaceError
from rksearch.records import Epoch
from rksearch.vocabulary import RANKS


@dataclass(frozen=True, slots=True, kw_only=True)
class Racing:
    """When trials pause, and which go on.

    Attributes:
        rungs: epochs at which a trial pauses, rising.
        keep: share of each band that goes on from a rung.
        bands: how many bands of equal width in log-parameters.
        rank: what trials are ranked by: `val_error`, the validation error at the rung, or `train_loss_sum`, the sum of
            the training losses of all epochs up to it (Ru et al. 2021).

    Raises:
        SpaceError: a value breaks a rule.
    """

    rungs: tuple[int, ...]
    keep: float
    bands: int
    rank: str

    def __post_init__(self) -> None:
        rules: list[tuple[bool, str, object]] = [
            (bool(self.rungs) and self.rungs[0] >= 1, "rungs must be epochs from 1 on", self.rungs),
            (list(self.rungs) == sorted(set(self.rungs)), "rungs must rise", self.rungs),
            (0 < self.keep < 1, "keep must lie between 0 and 1", self.keep),
            (self.bands >= 1, "bands must be at least 1", self.bands),
            (self.rank in RANKS, f"rank must be one of {', '.join(RANKS)}", self.rank),
        ]
        for holds, rule, value in rules:
            if not holds:
                raise SpaceError(f"racing: {rule}, but got {value!r}")

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON; `from_json` is the inverse."""
        return {"rungs": list(self.rungs), "keep": self.keep, "bands": self.bands, "rank": self.rank}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Racing:
        """The racing that `to_json` wrote."""
        return cls(rungs=tuple(record["rungs"]), keep=record["keep"], bands=record["bands"], rank=record["rank"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Racer:
    """A trial as racing sees it.

    Attributes:
        arch: its architecture.
        params: its size.
        epochs: what it has run.
        waits: whether it stands at a rung and could go on (false for one that runs, is finished or has failed).
    """

    arch: str
    params: int
    epochs: Sequence[Epoch]
    waits: bool


def score(epochs: Sequence[Epoch], rung: int, rank: str) -> float:
    """What a trial is ranked by at `rung`, the less the better; infinite where it never got there."""
    if len(epochs) < rung:
        return math.inf
    if rank == "val_error":
        value = epochs[rung - 1].val_error_pct
    else:
        value = math.fsum(epoch.train_loss for epoch in epochs[:rung])
    return value if math.isfinite(value) else math.inf


def expected_epochs(racing: Racing | None, full: int, *, done: int = 0) -> float:
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

    def __init__(self, racing: Racing, *, smallest: int, largest: int) -> None:
        self.racing = racing
        low, high = math.log(smallest), math.log(max(largest, smallest + 1))
        width = (high - low) / racing.bands
        self._edges = [low + width * i for i in range(1, racing.bands)]

    def band(self, params: int) -> int:
        """Which band a size belongs to, from 0 for the smallest; sizes outside of the range join the outermost."""
        return bisect_right(self._edges, math.log(params))

    def promoted(self, racers: Iterable[Racer]) -> list[str]:
        """The waiting trials that may go on, the most advanced and then the best of its group first.

        The share is rounded up: the first trial of a band goes on at once, for there is nothing yet that it could be
        worse than, and a search that must wait for company learns late what its trainings come to.

        Args:
            racers: all trials of the race so far.
        """
        everyone = list(racers)
        found: list[str] = []
        for rung in self.racing.rungs:
            found = self._promoted_at(rung, everyone) + found
        return found

    def _promoted_at(self, rung: int, racers: Iterable[Racer]) -> list[str]:
        groups: dict[int, list[tuple[float, int, str, bool]]] = {}
        for racer in racers:
            if len(racer.epochs) >= rung:
                place = (score(racer.epochs, rung, self.racing.rank), racer.params, racer.arch)
                waits_here = racer.waits and len(racer.epochs) == rung
                groups.setdefault(self.band(racer.params), []).append((*place, waits_here))
        chosen: list[tuple[int, str]] = []
        for group in groups.values():
            group.sort()
            # A share such as 1/3 of 3 must not become 2 by rounding.
            count = math.ceil(len(group) * self.racing.keep - 1e-9)
            chosen += [(place, arch) for place, (_, _, arch, waits) in enumerate(group[:count]) if waits]
        return [arch for _, arch in sorted(chosen)]
