"""The state of a run in the driver: the ledger's history, what is running, and how both change."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from rksearch.errors import RunAborted
from rksearch.ledger import History, Ledger
from rksearch.records import Epoch, TestResult, TrialResult
from rksearch.search.agenda import Agenda, Proposer, Task
from rksearch.search.settings import Settings


class RunState:
    """Writes every finished piece of work to the ledger before anything else learns of it.

    Args:
        ledger: of the run; its history may already hold finished trials.
        settings: what is to be done.
        proposer: chooses candidates; is told of the finished ones at once.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        ledger: Ledger,
        settings: Settings,
        proposer: Proposer,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.ledger = ledger
        self.settings = settings
        self._follower = ledger.follow()
        self.history: History = self._follower.refresh()
        self.agenda = Agenda(settings, proposer, self.history)
        self.running: dict[str, Task] = {}
        self.progress: dict[str, Epoch] = {}
        self._proposer = proposer
        self._clock = clock
        self._started_at: dict[str, float] = {}
        self._idle = False
        for spec, result in self.history.trials.values():
            if spec.replicate == 0:
                self._proposer.tell(spec.arch, _final_error(result))

    def next(self) -> Task | None:
        """The next task, marked as running; None when there is nothing to start now."""
        task = self.agenda.next(self.history, self.running)
        self._idle = task is None
        if task is not None:
            self.running[task.id] = task
            if task.action == "train":
                # On disk before it runs: a candidate that was chosen is trained, whatever happens to the driver.
                self.ledger.write_start(task.trial.id)
        return task

    @property
    def done(self) -> bool:
        """Whether nothing is running, and nothing was left to start when last asked for."""
        return not self.running and self._idle

    def on_start(self, task: Task) -> None:
        """A worker has taken the task."""
        self._started_at[task.id] = self._clock()

    def on_epoch(self, task: Task, epoch: Epoch) -> None:
        """A running trial has finished an epoch."""
        self.progress[task.id] = epoch

    def on_end(self, task: Task, outcome: Mapping[str, Any]) -> None:
        """A task has ended: with a `result`, with a reason to `abort` the run, or with a `message` about its worker.

        Raises:
            RunAborted: the worker found that no trial can go on (a full disk, missing data).
            LedgerError: the result cannot be written.
        """
        self.running.pop(task.id, None)
        self.progress.pop(task.id, None)
        wall_time_s = self._clock() - self._started_at.pop(task.id, self._clock())
        if "abort" in outcome:
            raise RunAborted(str(outcome["abort"]))
        if task.action == "test":
            if "result" not in outcome:
                raise RunAborted(f"{task.trial.id} could not be tested: {outcome['message']}; resume to try again")
            self.ledger.write_test(task.trial, TestResult.from_json(outcome["result"]).to_json())
        else:
            result = TrialResult.from_json(outcome["result"]) if "result" in outcome else _died(outcome["message"])
            self.ledger.write_trial(task.trial, result, wall_time_s=wall_time_s)
            if task.trial.replicate == 0:
                self._proposer.tell(task.trial.arch, _final_error(result))
        self.history = self._follower.refresh()


def _final_error(result: TrialResult) -> float | None:
    return result.epochs[-1].val_error_pct if result.status == "complete" else None


def _died(message: str) -> TrialResult:
    return TrialResult(status="failed", failure="worker_died", message=message)
