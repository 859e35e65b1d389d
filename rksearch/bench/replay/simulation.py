"""Workers in virtual time: a strategy gives work whenever a worker is free, and receives every epoch.

The clock of a training is the measured time of its architecture's epochs, so that trainings overtake one another as
they do on a machine. Nothing waits, nothing sleeps.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from rksearch.bench.replay.table import Table
from rksearch.results.records import Epoch, TrialResult


@dataclass(slots=True)
class VirtualClock:
    """Virtual time, which a player may read."""

    time_s: float = 0.0

    def __call__(self) -> float:
        """The time, in seconds since the beginning."""
        return self.time_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A part of a training that one worker does without a break.

    Attributes:
        key: unique among the work that is in progress.
        arch: canonical name.
        training: the tabulated training that is looked up.
        first, last: epochs, counted from 1, that are run.
    """

    key: str
    arch: str
    training: TrialResult
    first: int
    last: int

    @property
    def epochs(self) -> Sequence[Epoch]:
        """The epochs that are run."""
        return self.training.epochs[self.first - 1 : self.last]


class Player(Protocol):
    """A strategy as the simulation sees it."""

    def next(self) -> Work | None:
        """Work for a free worker; None when there is nothing to do before something that is running ends."""

    def on_epoch(self, work: Work, epoch: Epoch) -> bool:
        """Take note that an epoch has ended; whether the work continues."""

    def on_end(self, work: Work) -> TrialResult | None:
        """Take note that the work has ended; the result of its training, or None when that is of no use."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A training that ran to its last epoch.

    Attributes:
        epochs_spent: by all trainings up to this moment, those in progress included.
        time_s: virtual, of the clock on the wall.
        arch: canonical name.
        val_error_pct: what the strategy saw.
    """

    epochs_spent: int
    time_s: float
    arch: str
    val_error_pct: float


@dataclass(slots=True)
class Played:
    """Record of a strategy that spent its budget.

    Attributes:
        finished: the complete trainings, in order.
        epochs_spent: of all trainings.
        time_s: virtual, at the end.
        started: architectures that were begun, each as often as it was begun.
    """

    finished: list[Finished] = field(default_factory=list)
    epochs_spent: int = 0
    time_s: float = 0.0
    started: list[str] = field(default_factory=list)


def play(player: Player, table: Table, *, slots: int, budget_epochs: int, clock: VirtualClock | None = None) -> Played:
    """Let `slots` workers do the player's work until `budget_epochs` are spent or there is no more work.

    An epoch counts as spent when it ends. What is in progress when the budget is spent is lost.
    """
    clock = clock or VirtualClock()
    played = Played()
    queue: list[tuple[float, int, Work, int]] = []
    order = 0
    while True:
        while len(queue) < slots and (work := player.next()) is not None:
            if work.first == 1:
                played.started.append(work.arch)
            order += 1
            # A training that failed at once has no epochs, but it takes a worker's turn.
            heapq.heappush(queue, (clock.time_s + _epoch_s(table, work), order, work, 0))
        if not queue:
            return played
        clock.time_s, _, work, done = heapq.heappop(queue)
        played.time_s = clock.time_s
        continues = False
        if done < len(work.epochs):
            played.epochs_spent += 1
            epoch = work.epochs[done]
            continues = player.on_epoch(work, epoch) and done + 1 < len(work.epochs)
        if continues:
            if played.epochs_spent >= budget_epochs:
                return played
            order += 1
            heapq.heappush(queue, (clock.time_s + _epoch_s(table, work), order, work, done + 1))
            continue
        result = player.on_end(work)
        if result is not None and result.status == "complete":
            error = result.epochs[-1].val_error_pct
            played.finished.append(Finished(played.epochs_spent, clock.time_s, work.arch, error))
        if played.epochs_spent >= budget_epochs:
            return played


def _epoch_s(table: Table, work: Work) -> float:
    return table.members[work.arch].epoch_s
