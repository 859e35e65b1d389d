"""The state of a run in the driver: the ledger's history, what is running, and how both change."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from rksearch.arch import parse
from rksearch.data.facts import dataset
from rksearch.errors import RunAborted
from rksearch.results.ledger import Follower, History, Ledger
from rksearch.results.records import Epoch, TestResult, TrialResult, TrialSpec
from rksearch.search.budget import Budget
from rksearch.search.objectives import Objective, objective
from rksearch.search.reservations import Reservations
from rksearch.search.samplers.base import Observation, Sampler
from rksearch.search.tasks import Agenda, Task

OUT_OF_MEMORY = "out_of_memory"


class RunState:
    """Writes every finished piece of work to the ledger before anything else learns of it.

    Args:
        ledger: of the run; its history may already hold finished trials.
        agenda: says what to do next.
        sampler: learns of first trainings; None where nothing is being searched.
        objectives: what the sampler is told of each.
        budget: of time; None without a limit.
        reservations: what each task takes; none where nothing is reserved.
        together: most seeds of one architecture in one task.
        clock: seconds that only grow.
        follower: reader of the ledger that has read a part of it already; None for a new one.

    Attributes:
        slot_time_s: that tasks which have ended in this session took, each times the slots that it had.
    """

    def __init__(
        self,
        ledger: Ledger,
        agenda: Callable[[History], Agenda],
        sampler: Sampler | None,
        *,
        objectives: tuple[str, ...] = (),
        budget: Budget | None = None,
        reservations: Reservations | None = None,
        together: int = 1,
        clock: Callable[[], float] = time.monotonic,
        follower: Follower | None = None,
    ) -> None:
        self.ledger = ledger
        self._follower = follower or ledger.follow()
        self.history: History = self._follower.refresh()
        self.agenda = agenda(self.history)
        self.budget = budget or Budget()
        self.running: dict[str, Task] = {}
        self.progress: dict[str, Epoch] = {}
        self.reservations = reservations
        self.together = together
        self._sampler = sampler
        self._objectives = tuple(objective(name) for name in objectives)
        self._clock = clock
        self._started_at: dict[str, float] = {}
        self._places: dict[str, _Place] = {}
        self.slot_time_s = 0.0
        self._idle = False
        for spec, result in [*self.history.trials.values(), *self.history.paused.values()]:
            self._observe(spec, result)

    def next(self) -> Task | None:
        """The next task for a worker, each of its trials marked as running; None if there is nothing to start now."""
        while True:
            phase = self.budget.phase(self.history, self._running_work() if self.budget.of_work else {})
            task = self.agenda.next(self.history, self.running, phase, self.together)
            if task is None or task.action != "prune":
                break
            self._prune(task.trial)
        self._idle = task is None
        if task is not None:
            place = self._place_of(task)
            for each in task.each():
                self.running[each.id] = each
                self._places[each.id] = place
                if each.action == "train":
                    # On disk before it runs: a candidate that was chosen is trained, whatever happens to the driver.
                    self.ledger.write_start(each.trial.id)
        return task

    @property
    def done(self) -> bool:
        """Whether nothing is running, and nothing was left to start when last asked for."""
        return not self.running and self._idle

    def on_start(self, task: Task) -> None:
        """A worker has taken the task of this one trial."""
        self._started_at[task.id] = self._clock()

    def on_epoch(self, task: Task, epoch: Epoch) -> None:
        """A running trial has finished an epoch."""
        self.progress[task.id] = epoch

    def on_end(self, task: Task, outcome: Mapping[str, Any]) -> None:
        """The task of one trial has ended: with a `result`, a reason to `abort` the run, or a `message` of its worker.

        Raises:
            RunAborted: the worker found that no trial can go on (a full disk, missing data).
            LedgerError: the result cannot be written.
        """
        self.running.pop(task.id, None)
        self.progress.pop(task.id, None)
        place = self._places.pop(task.id, None) or self._place_of(task)
        wall_time_s = (self._clock() - self._started_at.pop(task.id, self._clock())) / place.trials
        self.slot_time_s += place.slots * wall_time_s
        if "abort" in outcome:
            raise RunAborted(str(outcome["abort"]))
        if task.action == "test":
            if "result" not in outcome:
                raise RunAborted(f"{task.trial.id} could not be tested: {outcome['message']}; resume to try again")
            self.ledger.write_test(task.trial, TestResult.from_json(outcome["result"]).to_json())
        elif "message" in outcome and place.trials > 1:
            # Nobody knows which of them killed the worker.
            self.ledger.write_retry(task.trial.id, str(outcome["message"]))
        else:
            result = TrialResult.from_json(outcome["result"]) if "result" in outcome else _died(outcome["message"])
            self._trained(task, result, wall_time_s, place)
        self.history = self._follower.refresh()

    def _trained(self, task: Task, result: TrialResult, wall_time_s: float, place: _Place) -> None:
        spec = task.trial
        if result.failure == OUT_OF_MEMORY and not task.alone:
            self.ledger.write_retry(spec.id, str(result.message))
            return
        write = self.ledger.write_pause if result.status == "paused" else self.ledger.write_trial
        write(spec, result, wall_time_s=wall_time_s, cpus=place.reserved["cpu"], gpus=place.reserved["gpu"])
        before = self.history.paused.get(spec.id)
        if result.status == "paused" and before is not None and len(result.epochs) < len(before[1].epochs):
            return  # its checkpoint was not found in time: nothing is new
        self._observe(spec, result)

    def _prune(self, spec: TrialSpec) -> None:
        paused = self.history.paused[spec.id][1]
        values = {name: getattr(paused, name) for name in TrialResult.__slots__}
        result = TrialResult(**{**values, "status": "pruned"})
        self.ledger.write_trial(spec, result, wall_time_s=0.0)
        self.history = self._follower.refresh()
        self._observe(spec, result)

    def _observe(self, spec: TrialSpec, result: TrialResult) -> None:
        """Let the sampler learn from the first training of an architecture."""
        if self._sampler is None or spec.replicate or spec.role not in ("candidate", "known"):
            return
        values = None
        if result.status != "failed" and result.epochs:
            values = values_of(spec, result, self._objectives)
        self._sampler.observe(Observation(arch=spec.arch, status=result.status, epochs=result.epochs, values=values))

    def _place_of(self, task: Task) -> _Place:
        trials = len(task.each())
        if self.reservations is None:
            return _Place({"cpu": 0.0, "gpu": 0.0}, 1, trials)
        return _Place(self.reservations.of(task), self.reservations.slots_of(task), trials)

    def _running_work(self) -> dict[str, float]:
        """CPU and GPU seconds that running tasks have had so far."""
        now = self._clock()
        work = {"cpu": 0.0, "gpu": 0.0}
        for task_id, began in self._started_at.items():
            if task_id in self.running:
                place = self._places[task_id]
                for kind, amount in place.reserved.items():
                    work[kind] = work.get(kind, 0.0) + amount * (now - began) / place.trials
        return work


class _Place(NamedTuple):
    """What a task has: its reservation, in how many slots, for how many trials."""

    reserved: Mapping[str, float]
    slots: int
    trials: int


def values_of(spec: TrialSpec, result: TrialResult, objectives: Iterable[Objective]) -> tuple[float, ...]:
    """The objectives of a training that has run some epochs; NaN for one that was not measured yet."""
    arch, data = parse(spec.arch), dataset(spec.dataset)
    return tuple(o.value(arch, data, result) for o in objectives)


def _died(message: str) -> TrialResult:
    return TrialResult(status="failed", failure="worker_died", message=message)
