"""Runs whose decisions do not depend on time: each is made from the results of earlier tasks in the order of the tasks.

The state of a run usually learns of a result when it arrives, so that what is chosen next depends on how fast trainings
end. Here results that arrive early wait until those of all earlier tasks are recorded. A task is chosen by an agenda
that knows the ledger and nothing else, in the first session as in one that follows a kill: where `window` tasks are
under way, the result of the oldest one is recorded first; where fewer are, nothing is recorded unless the agenda has no
task left. So the n-th task is a function of the plan and of the results of the tasks up to n - `window`, and the
records of a ledger, and their order, are the same whenever results are.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

from rksearch.results.events import TaskStarted
from rksearch.results.history import History
from rksearch.results.ledger import Ledger
from rksearch.results.records import Role, TrialResult, TrialSpec
from rksearch.search.run_state import RunState
from rksearch.search.tasks import Agenda, Proposer, Task


class ResumingAgenda(Agenda, Protocol):
    """An agenda that also knows tasks of earlier sessions."""

    def task_of(self, started: TaskStarted) -> Task:
        """The task that was handed out by this record."""


class _Early(NamedTuple):
    """An outcome that waits for its turn, and the time at which it arrived."""

    task: Task
    outcome: Mapping[str, Any]
    now_s: float


class OrderedRunState(RunState):
    """The state of a deterministic run.

    Args:
        ledger: see `RunState`.
        agenda: makes the agenda from the history, without a memory of agendas that it made before.
        window: number of trainings under way at which no further task is chosen.
        others: see `RunState`.
    """

    def __init__(
        self, ledger: Ledger, agenda: Callable[[History], ResumingAgenda], *, window: int, **others: Any
    ) -> None:
        super().__init__(ledger, agenda, **others)
        self._make = agenda
        self._window = window
        self._order: list[str] = []
        self._early: dict[str, _Early] = {}
        self._left = list(self.history.unfinished)

    def has_work(self) -> bool:
        """Whether there is a task to start now."""
        return bool(self._left) or super().has_work()

    def next(self, room: int = sys.maxsize) -> Task | None:
        """The next task for a worker; None while it depends on the result of one that is under way.

        Args:
            room: largest number of trials in it.
        """
        if room < self.together:
            return None  # the size of a task must not depend on what has ended by now
        if self._is_over():
            return None  # and no result is recorded out of turn: the next session has it from the trial's directory
        if self._left:
            cut_off = self._cut_off()
            self._begin(cut_off)
            return cut_off
        while True:
            if len(self._order) < self._window and (task := super().next()) is not None:
                return task
            if not self._record_oldest():
                return None

    def on_end(self, task: Task, outcome: Mapping[str, Any]) -> None:
        """The task of one trial has ended; its outcome is recorded when its turn comes."""
        if "abort" in outcome:
            super().on_end(task, outcome)
        self._early[task.id] = _Early(task, outcome, self._clock())
        self.progress.pop(task.id, None)

    @property
    def kept_back(self) -> dict[str, str]:
        """As in `RunState`; an outcome that came out of turn is kept back as well."""
        return super().kept_back | dict.fromkeys(list(self._early), "has ended; it is recorded in its turn")

    @property
    def done(self) -> bool:
        """Whether nothing is left to do, or nothing more in this batch job: outcomes out of turn are not waited for."""
        return super().done or (self._is_over() and all(key in self._early for key in self._order))

    def _is_over(self) -> bool:
        """Whether the batch job ends, which is the only limit of time that there may be."""
        return self._phase() == "over"

    def _begin(self, task: Task) -> None:
        beside = tuple(trial.id for trial in task.beside)
        self.ledger.write_task(TaskStarted(trial=task.trial.id, until=task.until, alone=task.alone, beside=beside))
        super()._begin(task)
        self._order += [each.id for each in task.each()]

    def _choose(self, together: int) -> Task | None:
        """The next task of an agenda that knows what the ledger says now."""
        while True:
            self.history = self._follower.refresh()
            self.agenda = self._make(self.history)
            task = self.agenda.next(self.history, self.running, "search", together)
            if task is None or task.action != "prune":
                return task
            self._prune(task.trial)

    def _cut_off(self) -> Task:
        """The oldest task that an earlier session left unfinished, with those of its trials that are unfinished."""
        started = self.history.unfinished[self._left[0]]
        here = [trial for trial in started.trials if trial in self._left]
        self._left = [trial for trial in self._left if trial not in here]
        return self._make(self.history).task_of(replace(started, trial=here[0], beside=tuple(here[1:])))

    def _record_oldest(self) -> bool:
        """Record the outcome of the oldest task that is under way, if it has come."""
        if not self._order or self._order[0] not in self._early:
            return False
        task, outcome, now_s = self._early.pop(self._order.pop(0))
        self._record(task, outcome, now_s=now_s)
        return True


class DeferredProposer:
    """A proposer that is made when the first proposal is wanted, and is then passed what it should know.

    Args:
        make: makes the proposer.
    """

    def __init__(self, make: Callable[[], Proposer]) -> None:
        self._make = make
        self._made: Proposer | None = None
        self._passed: list[Callable[[Proposer], None]] = []

    def started(self, archs: Iterable[str], role: Role) -> None:
        """Take note of architectures whose first training has begun, or soon will, without a proposal."""
        begun = list(archs)
        self._pass(lambda proposer: proposer.started(begun, role))

    def update(self, results: Iterable[tuple[TrialSpec, TrialResult]]) -> None:
        """Take note of trainings that have ended or paused."""
        news = list(results)
        self._pass(lambda proposer: proposer.update(news))

    def propose(self, taken: Set[str]) -> str | None:
        """What the proposer proposes."""
        if self._made is None:
            self._made = self._make()
            for call in self._passed:
                call(self._made)
        return self._made.propose(taken)

    def _pass(self, call: Callable[[Proposer], None]) -> None:
        if self._made is None:
            self._passed.append(call)
        else:
            call(self._made)
