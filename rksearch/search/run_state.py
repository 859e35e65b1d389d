"""The state of a run in the driver: the ledger's history, the running tasks, and how both change."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from rksearch.errors import RunAborted
from rksearch.results.codec import from_plain
from rksearch.results.events import Forecast
from rksearch.results.history import History
from rksearch.results.ledger import Follower, Ledger
from rksearch.results.records import Epoch, TestResult, TrialResult, TrialSpec
from rksearch.search.budget import TimeBudget
from rksearch.search.reservations import Reservations
from rksearch.search.tasks import Agenda, Phase, Task

SHORT_OF_MEMORY = ("out_of_memory", "does_not_fit")
"""Failures of trainings that are tried once more with a device of their own."""

OUTSIDE = ("fault", "worker_died", "hung")
"""Failures whose cause may lie outside of the network: an exception outside of building and training it, a worker
process that died, a training that hangs."""

FAULTS_ON_END = 3
"""Number of trainings on end that fail by one cause outside of their networks before the run stops."""


class RunState:
    """Writes every finished piece of work to the ledger before anything else learns of it.

    Args:
        ledger: ledger of the run; its history may already hold finished trials.
        agenda: makes the agenda from the history.
        budget: limits of time; None without a limit.
        reservations: what each task reserves; None where nothing is reserved.
        together: most seeds of one architecture in one task.
        clock: seconds that only grow.
        follower: reader of the ledger that has read a part of it already; None for a new one.

    Attributes:
        forecast: expected cost of what was left when the session began; None where there is no estimate.
        slot_time_s: time of the tasks that have ended in this session, each times its number of slots.
    """

    def __init__(
        self,
        ledger: Ledger,
        agenda: Callable[[History], Agenda],
        *,
        budget: TimeBudget | None = None,
        reservations: Reservations | None = None,
        together: int = 1,
        clock: Callable[[], float] = time.monotonic,
        follower: Follower | None = None,
    ) -> None:
        self.ledger = ledger
        self._follower = follower or ledger.follow()
        self.history: History = self._follower.refresh()
        self.agenda = agenda(self.history)
        self.budget = budget or TimeBudget()
        self.running: dict[str, Task] = {}
        self.progress: dict[str, Epoch] = {}
        self.reservations = reservations
        self.together = together
        self._clock = clock
        self._started_at: dict[str, float] = {}
        self._places: dict[str, _Place] = {}
        self.slot_time_s = 0.0
        self.forecast: Forecast | None = None
        self._idle = False
        self._faulty: list[_Ended] = []
        self._proven = bool(self.history.paused) or len(self.history.failed) < len(self.history.trials)

    def has_work(self) -> bool:
        """Whether there is a task to start now. `next` chooses it again, for the slots that are known by then."""
        return self._choose(self.together) is not None

    def is_left_to_next_job(self) -> bool:
        """Whether tasks are left that only the end of a batch job keeps from being done.

        Asked at the end of a session: the job does not count from then on.
        """
        if self.budget.job_until_s is None:
            return False
        self.budget = replace(self.budget, job_until_s=None)
        return self.has_work() or (bool(self.running) and self._phase() != "over")

    @property
    def began(self) -> str:
        """Start of the run's first session, which may be this one: then `history` may be too old to know."""
        sessions = self._follower.refresh().sessions
        return sessions[0].start if sessions else ""

    def next(self, room: int = sys.maxsize) -> Task | None:
        """The next task for a worker, its trials marked as running; None if there is nothing to start now.

        Args:
            room: largest number of trials in it, where that is less than `together`.
        """
        together = min(self.together, room)
        task = self._choose(together)
        if task is None and self._faulty and len(self.running) == len(self._faulty):
            self._record_faults()  # nothing will show any more whether others meet the same
            task = self._choose(together)
        self._idle = task is None
        if task is not None:
            self._begin(task)
        return task

    def _begin(self, task: Task) -> None:
        """Mark the trials of a task as running."""
        place = self._place_of(task)
        for each in task.each():
            self.running[each.id] = each
            self._places[each.id] = place
            if each.action == "train":
                # On disk before it runs: a candidate that was chosen is trained even if the driver is killed.
                self.ledger.write_start(each.trial.id)

    def _choose(self, together: int) -> Task | None:
        """The agenda's next task for a worker; those of trials to be recorded as pruned are done here."""
        while True:
            task = self.agenda.next(self.history, self.running, self._phase(), together)
            if task is None or task.action != "prune":
                return task
            self._prune(task.trial)

    def _phase(self) -> Phase:
        """Work that the budget of time still allows."""
        return self.budget.phase(self.history, self.running_work() if self.budget.limits_work else {})

    @property
    def cut_short(self) -> bool:
        """Whether the budget of time has left work undone, seen when nothing is running."""
        phase = self._phase()
        if phase == "search":
            return False
        if self.agenda.remaining(self.history).tasks:
            return True
        # Without a number of replicates, nothing counts those that more time would allow.
        return phase == "over" and self.agenda.next(self.history, {}, "refine", self.together) is not None

    @property
    def done(self) -> bool:
        """Whether nothing is running, and nothing was left to start at the last call of `next`."""
        return not self.running and self._idle

    def is_started(self, task: Task) -> bool:
        """Whether a worker has taken the task of this one trial; until then it waits for a slot."""
        return task.id in self._started_at

    @property
    def kept_back(self) -> dict[str, str]:
        """Tasks of one trial that have ended and are not recorded yet, by id: how they ended and what is waited for, in
        words; may be read from another thread."""
        return {
            ended.task.id: f"failed: {ended.result.message}; it waits to see whether others fail alike"
            for ended in list(self._faulty)
        }

    def on_start(self, task: Task) -> None:
        """A worker has taken the task of this one trial."""
        self._started_at[task.id] = self._clock()

    def on_epoch(self, task: Task, epoch: Epoch) -> None:
        """A running trial has finished an epoch."""
        self.progress[task.id] = epoch

    def on_end(self, task: Task, outcome: Mapping[str, Any]) -> None:
        """The task of one trial has ended.

        Args:
            task: the task of this one trial.
            outcome: a `result`; a reason to `abort`, with an `exit_code`; or a `failure`, one of `OUTSIDE` or another
                kind of failure that is final, and its `message`.

        Raises:
            RunAborted: the worker found that no trial can continue (a full disk, missing data), or several trials on
                end failed by one cause that is no network's. Those are not recorded: the next session trains them.
            LedgerError: the result cannot be written.
        """
        self._record(task, outcome, now_s=self._clock())

    def _record(self, task: Task, outcome: Mapping[str, Any], *, now_s: float) -> None:
        """Record how a task ended at the time `now_s`; see `on_end`."""
        self.running.pop(task.id, None)
        self.progress.pop(task.id, None)
        place = self._places.pop(task.id, None) or self._place_of(task)
        wall_time_s = (now_s - self._started_at.pop(task.id, now_s)) / place.trials
        self.slot_time_s += place.slots * wall_time_s
        if "abort" in outcome:
            raise RunAborted(str(outcome["abort"]), int(outcome.get("exit_code", 1)))
        if task.action == "test":
            if "result" not in outcome:
                raise RunAborted(f"{task.trial.id} could not be tested: {outcome['message']}; resume to try again")
            self.ledger.write_test(task.trial, from_plain(TestResult, outcome["result"]))
        elif "result" not in outcome and place.trials > 1:
            # It is not known which of them killed the worker, or raised the exception.
            self.ledger.write_retry(task.trial.id, str(outcome["message"]))
        else:
            self._ended(_Ended(task, _result(outcome), wall_time_s, place))
        self.history = self._follower.refresh()

    def _ended(self, ended: _Ended) -> None:
        """Record the end of a training, or keep it back while its cause may be that of others too.

        Raises:
            RunAborted: it is.
        """
        result = ended.result
        if result.failure in OUTSIDE or (result.failure == "error" and not self._proven):
            self._hold(ended)
            return
        self._record_faults()  # others can be trained, so the causes lie with those trials
        self._proven = self._proven or result.status != "failed"
        self._trained(ended.task, result, ended.wall_time_s, ended.place)

    def _trained(self, task: Task, result: TrialResult, wall_time_s: float, place: _Place) -> None:
        spec = task.trial
        if result.failure in SHORT_OF_MEMORY and not task.alone:
            self.ledger.write_retry(spec.id, str(result.message))
            return
        write = self.ledger.write_pause if result.status == "paused" else self.ledger.write_trial
        write(spec, result, wall_time_s=wall_time_s, cpus=place.reserved["cpu"], gpus=place.reserved["gpu"])

    def _hold(self, ended: _Ended) -> None:
        """Keep back a training that failed until it is known whether others fail by the same cause.

        Raises:
            RunAborted: they do.
        """
        if self._faulty and self._faulty[-1].cause != ended.cause:
            self._record_faults()
        self._faulty.append(ended)
        self.running[ended.task.id] = ended.task  # not to be chosen again in this session
        if len(self._faulty) >= FAULTS_ON_END:
            which = (
                "on end failed outside of their networks" if self._proven else "all failed alike before any succeeded"
            )
            raise RunAborted(
                f"{len(self._faulty)} trainings {which}, the last one ({ended.task.trial.id}) by: "
                f"{ended.result.message}; mend the cause, then resume: none of them counts as trained"
            )

    def _record_faults(self) -> None:
        """Record trainings that were kept back as failed."""
        for task, result, wall_time_s, place in self._faulty:
            self.running.pop(task.id, None)
            kind = "error" if result.failure == "fault" else result.failure
            self._trained(task, replace(result, failure=kind), wall_time_s, place)
        self._faulty.clear()
        self.history = self._follower.refresh()

    def _prune(self, spec: TrialSpec) -> None:
        paused = self.history.paused[spec.id][1]
        self.ledger.write_trial(spec, replace(paused, status="pruned"), wall_time_s=0.0)
        self.history = self._follower.refresh()

    def _place_of(self, task: Task) -> _Place:
        trials = len(task.each())
        if self.reservations is None:
            return _Place({"cpu": 0.0, "gpu": 0.0}, 1, trials)
        return _Place(self.reservations.of(task), self.reservations.slots_of(task), trials)

    def running_work(self) -> dict[str, float]:
        """CPU and GPU seconds that running tasks have had so far; may be called from another thread."""
        work = {"cpu": 0.0, "gpu": 0.0}
        for place, seconds in self._running_places():
            for kind, amount in place.reserved.items():
                work[kind] = work.get(kind, 0.0) + amount * seconds
        return work

    def running_slot_time_s(self) -> float:
        """Time that running tasks have had, each times its number of slots; may be called from another thread."""
        return sum(place.slots * seconds for place, seconds in self._running_places())

    def _running_places(self) -> list[tuple[_Place, float]]:
        """The place of each running trial, with its share of the seconds since it started."""
        now = self._clock()
        found = []
        for task_id, began in list(self._started_at.items()):
            place = self._places.get(task_id)
            if place is not None and task_id in self.running:
                found.append((place, (now - began) / place.trials))
        return found


class _Place(NamedTuple):
    """A task's reservation, its number of slots, and its number of trials."""

    reserved: Mapping[str, float]
    slots: int
    trials: int


class _Ended(NamedTuple):
    """A training that has ended: its task, its result, its time and its place."""

    task: Task
    result: TrialResult
    wall_time_s: float
    place: _Place

    @property
    def cause(self) -> str:
        """Why it failed, without what differs from one training to the next."""
        message = str(self.result.message).replace(self.task.trial.id, "").replace(self.task.trial.arch, "")
        if self.result.failure in ("worker_died", "hung"):
            message = re.sub(r"[0-9]+([.][0-9]+)?", "#", message)  # seconds, and the place of a trace
        return f"{self.result.failure}: {message}"


def _result(outcome: Mapping[str, Any]) -> TrialResult:
    if "result" in outcome:
        return from_plain(TrialResult, outcome["result"])
    return TrialResult(status="failed", failure=str(outcome["failure"]), message=str(outcome["message"]))
