"""A rival that proposes architectures one by one: every training runs to its end and reports its last error alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from rksearch.bench.replay.simulation import Work
from rksearch.bench.replay.table import Table
from rksearch.results.records import Epoch, TrialResult


class Proposals(Protocol):
    """A way to choose the next architecture."""

    def propose(self, running: Sequence[str]) -> str | None:
        """A member that was not trained yet; None when there is none left.

        Args:
            running: architectures whose training has begun and not ended.
        """

    def learn(self, arch: str, error_pct: float) -> None:
        """Take note of the last error of a training that is complete."""


class WholeTrainings:
    """Plays proposals.

    Args:
        table: where trainings are looked up.
        repetition: decides which of the tabulated trainings an architecture shows.
        proposals: chooses.
        trials: number of trainings.
        first: names of members that are trained before any proposal.
    """

    def __init__(
        self, table: Table, *, repetition: int, proposals: Proposals, trials: int, first: Sequence[str] = ()
    ) -> None:
        self._table = table
        self._repetition = repetition
        self._proposals = proposals
        self._left = trials
        self._first = list(first)[::-1]
        self._running: list[str] = []

    def next(self) -> Work | None:
        """The next proposal, trained to its end; None after the last."""
        if not self._left:
            return None
        arch = self._first.pop() if self._first else self._proposals.propose(self._running)
        if arch is None:
            self._left = 0
            return None
        self._left -= 1
        self._running.append(arch)
        training = self._table.training(arch, repetition=self._repetition, replicate=0)
        return Work(key=arch, arch=arch, training=training, first=1, last=self._table.epochs)

    def on_epoch(self, work: Work, epoch: Epoch) -> bool:
        """Continue."""
        return True

    def on_end(self, work: Work) -> TrialResult | None:
        """Pass the last error on; a training that has failed teaches nothing."""
        self._running.remove(work.arch)
        if work.training.status != "complete":
            return None
        self._proposals.learn(work.arch, work.training.epochs[-1].val_error_pct)
        return work.training
