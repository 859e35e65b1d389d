"""The history of a run: the contents of its ledger, folded event by event."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import blake2b
from typing import Literal

from rksearch.results.checks import Missing, Problem, lacks_error, strays
from rksearch.results.data_record import DataRecord, registered_data
from rksearch.results.environment import Environment
from rksearch.results.events import (
    Event,
    Forecast,
    Option,
    RunPlanned,
    SessionEnded,
    SessionStarted,
    SlotsCounted,
    TaskStarted,
    TestSetRead,
    TrialEnded,
    TrialPaused,
    TrialReopened,
    TrialRetried,
    TrialStarted,
)
from rksearch.results.lines import Damage, DamagedLineError, Unknown, described, read_line
from rksearch.results.plan import Plan
from rksearch.results.records import TestResult, TrialResult, TrialSpec
from rksearch.space.plan import TOP1, ErrorMetric
from rksearch.space.summary import SpaceSummary

State = Literal["empty", "running", "finished", "interrupted", "stopped", "failed", "killed"]
"""State of a run; `stopped`: by its budget of time, with work left."""

TrialRecord = tuple[TrialSpec, TrialResult]
"""A trial and its result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """The plan of a run.

    Attributes:
        time: when it was written.
        name: the run's name in reports.
        space: facts about the search space.
        plan: the plan.
        data: facts about the data set; None in the records of rksearch 0.1.
    """

    time: str
    name: str
    space: SpaceSummary
    plan: Plan
    data: DataRecord | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One launch of the driver.

    Attributes:
        start, last: times of its first and of its last record so far.
        environment: code, versions and hardware.
        options: the command line's options.
        forecast: expected cost; None where none was made.
        duration_s: seconds from the first to the last record: the sum of those between one record and the next, without
            the steps of a clock that was set back. Time between sessions is none: a plan that changes, and an end that
            is recorded once more, stand between them.
        slots: trials at a time; None where they were not counted.
    """

    start: str
    last: str
    environment: Environment
    options: dict[str, Option]
    forecast: Forecast | None = None
    duration_s: float = 0.0
    slots: int | None = None

    def until(self, time: str) -> Session:
        """The session after a further record."""
        step = datetime.fromisoformat(time) - datetime.fromisoformat(self.last)
        return replace(self, last=time, duration_s=self.duration_s + max(0.0, step.total_seconds()))


@dataclass(frozen=True, slots=True, kw_only=True)
class TestReading:
    """A reading of the test set with the weights of a trial.

    Attributes:
        time: when it was recorded.
        trial, arch, replicate: the trial's id and its parts.
        result: the reading.
    """

    __test__ = False  # keeps pytest from taking the class for a group of tests

    time: str
    trial: str
    arch: str
    replicate: int
    result: TestResult


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The contents of a ledger, in the order of its records.

    Attributes:
        run: the plan in force, which is the last one; None before it is written.
        plans: all plans, the first one first.
        sessions: launches of the driver.
        trials: finished trials by id: complete, failed or pruned. Of several records for one trial the first counts.
        paused: trials that have run some epochs and may continue, by id, with their results at their last pause.
        retried: trials that are retried once, alone on a device, by id, with the reason.
        wall_time_s: worker time by trial id, as the driver saw it, without pauses.
        cpu_s, gpu_s: worker time of all trials times the CPUs and GPUs that were reserved for them.
        started: ids of trials ever started, in the order of their first start.
        unfinished: trials of a deterministic run that were handed out and have since then neither paused nor ended,
            whatever session that was in: their tasks by id, in the order of these.
        running: ids started in the last session and not finished; empty once that session has ended.
        tests: readings of the test set.
        finished_after_test: ids of trials that finished after the test set had first been read.
        state: `empty` without a run, `running` until the end of the last session is recorded. A driver that was killed
            recorded none: a ledger alone reads `running`, and whoever sees that nobody holds the run's lock makes it
            `killed` (`rksearch.api.Run`).
        message: message of the last session's end, or the budget of time that stopped it.
        last_time: time of the last record.
        damage: lines that could not be read.
        unknown: intact lines that are left out, because they name what is not known here.
        missing: what the plan in force names and is not registered: the run can be read and reported, not resumed.
        repeated: number of records that are there twice, or of trials that were already finished.
    """

    run: RunRecord | None = None
    plans: tuple[RunRecord, ...] = ()
    sessions: tuple[Session, ...] = ()
    trials: Mapping[str, TrialRecord] = field(default_factory=dict)
    paused: Mapping[str, TrialRecord] = field(default_factory=dict)
    retried: Mapping[str, str] = field(default_factory=dict)
    wall_time_s: Mapping[str, float] = field(default_factory=dict)
    cpu_s: float = 0.0
    gpu_s: float = 0.0
    started: tuple[str, ...] = ()
    unfinished: Mapping[str, TaskStarted] = field(default_factory=dict)
    running: tuple[str, ...] = ()
    tests: tuple[TestReading, ...] = ()
    finished_after_test: tuple[str, ...] = ()
    state: State = "empty"
    message: str | None = None
    last_time: str | None = None
    damage: tuple[Damage, ...] = ()
    unknown: tuple[Unknown, ...] = ()
    missing: tuple[Missing, ...] = ()
    repeated: int = 0

    @property
    def is_blank(self) -> bool:
        """Whether the ledger has no record of a run, so that nothing says that it is one."""
        return not (self.plans or self.sessions or self.started or self.trials or self.paused or self.tests)

    @property
    def plan(self) -> Plan | None:
        """The plan in force; None before it is written."""
        return self.run.plan if self.run else None

    @property
    def space(self) -> SpaceSummary | None:
        """Facts about the search space; None before they are written."""
        return self.run.space if self.run else None

    @property
    def metric(self) -> ErrorMetric:
        """The error by which the run compares networks; top-1 before its plan is written."""
        return self.plan.metric if self.plan else TOP1

    @property
    def data(self) -> DataRecord | None:
        """The data set: as recorded, else the registered one of that name; None where it is known nowhere."""
        if self.run is not None and self.run.data is not None:
            return self.run.data
        name = self.space.dataset if self.space else next((spec.dataset for spec, _ in self.trials.values()), "")
        return registered_data(name)

    @property
    def name(self) -> str:
        """The run's name; that of its space where it has none."""
        if self.run is None:
            return "unnamed run"
        return self.run.name or self.run.space.name or "unnamed run"

    @property
    def damaged(self) -> int:
        """Number of lines that could not be read."""
        return len(self.damage)

    @property
    def pruned(self) -> dict[str, TrialRecord]:
        """The trials that racing stopped for good."""
        return {key: pair for key, pair in self.trials.items() if pair[1].status == "pruned"}

    @property
    def failed(self) -> dict[str, TrialRecord]:
        """The finished trials that failed."""
        return {key: pair for key, pair in self.trials.items() if pair[1].status == "failed"}


ADDED_UP = (RunPlanned, SessionStarted, TrialPaused, TestSetRead)
"""Events of which each adds to what was before: a line of one that is there twice, time and all, has been copied.
Others change nothing when they are read again, and two of a short training may have the same second."""


class HistoryReader:
    """Folds lines, one by one, into a `History`; a line that is damaged or unknown here is listed and left out."""

    def __init__(self) -> None:
        self._lines = 0
        self._unknown: list[Unknown] = []
        self._missing: tuple[Missing, ...] = ()
        self._plans: list[RunRecord] = []
        self._sessions: list[Session] = []
        self._trials: dict[str, TrialRecord] = {}
        self._paused: dict[str, TrialRecord] = {}
        self._retried: dict[str, str] = {}
        self._wall_time_s: dict[str, float] = {}
        self._cpu_s = 0.0
        self._gpu_s = 0.0
        self._started: dict[str, None] = {}
        self._unfinished: dict[str, TaskStarted] = {}
        self._running: dict[str, None] = {}
        self._tests: list[TestReading] = []
        self._after_test: list[str] = []
        self._end: SessionEnded | None = None
        self._last_time: str | None = None
        self._damage: list[Damage] = []
        self._seen: set[bytes] = set()
        self._repeated = 0
        self._between = False

    def take(self, line: bytes) -> None:
        """Fold one line, without its line feed; blank lines are counted and otherwise ignored.

        What other programs put around lines (carriage returns, a byte order mark before the first) is none of them.
        """
        self._lines += 1
        line = line.removesuffix(b"\r")
        if self._lines == 1:
            line = line.removeprefix(BOM_UTF8)
        if not line.strip():
            return
        try:
            time, event, missing = read_line(line)
        except DamagedLineError as error:
            # Listed rather than raised: one bad line must not hide the good ones.
            self._damage.append(Damage(self._lines, described(line), error.field, error.reason))
            return
        if isinstance(event, ADDED_UP) and self._is_copy(line):
            self._repeated += 1
            return
        if event is not None and self._plans and (problem := self._problem(event, self._plans[-1].plan)):
            self._damage.append(Damage(self._lines, described(line), *problem))
            return
        if isinstance(event, RunPlanned):
            self._between = True  # the plan of a session is recorded before it begins
        if event is None:
            self._unknown.append(Unknown(self._lines, described(line), missing))
        else:
            self._fold(time, event)
            if isinstance(event, RunPlanned):
                self._missing = missing
        self._last_time = time
        if self._sessions and not self._between:
            self._sessions[-1] = self._sessions[-1].until(time)
        if isinstance(event, SessionEnded):
            self._between = True

    def _is_copy(self, line: bytes) -> bool:
        digest = blake2b(line, digest_size=16).digest()
        known = digest in self._seen
        self._seen.add(digest)
        return known

    def _problem(self, event: Event, plan: Plan) -> Problem | None:
        """The first rule of the plan in force that an event breaks; None when it breaks none."""
        trained = bool(self._started or self._trials or self._paused)
        return strays(event, plan, trained=trained) or lacks_error(event, plan.metric)

    def history(self) -> History:
        """The history so far."""
        open_state: State = "running" if self._plans or self._sessions or self._started else "empty"
        return History(
            run=self._plans[-1] if self._plans else None,
            plans=tuple(self._plans),
            sessions=tuple(self._sessions),
            trials=dict(self._trials),
            paused=dict(self._paused),
            retried=dict(self._retried),
            wall_time_s=dict(self._wall_time_s),
            cpu_s=self._cpu_s,
            gpu_s=self._gpu_s,
            started=tuple(self._started),
            unfinished=dict(self._unfinished),
            running=() if self._end else tuple(self._running),
            tests=tuple(self._tests),
            finished_after_test=tuple(self._after_test),
            state=_state_of(self._end) if self._end else open_state,
            message=(self._end.message or self._end.budget) if self._end else None,
            last_time=self._last_time,
            damage=tuple(self._damage),
            unknown=tuple(self._unknown),
            missing=self._missing,
            repeated=self._repeated,
        )

    def _fold(self, time: str, event: Event) -> None:
        match event:
            case RunPlanned():
                # A resumed run may have another number of candidates: the last plan counts.
                self._plans.append(
                    RunRecord(time=time, name=event.name, space=event.space, plan=event.plan, data=event.data)
                )
            case SessionStarted():
                self._start_session(time, event)
            case TaskStarted():
                for trial in event.trials:
                    self._unfinished.setdefault(trial, event)
            case TrialStarted():
                self._started[event.trial] = None
                if event.trial not in self._trials:
                    self._running[event.trial] = None
            case SlotsCounted():
                if self._sessions:
                    self._sessions[-1] = replace(self._sessions[-1], slots=event.slots)
            case TrialReopened():
                self._reopen(event.trial)
            case TrialPaused():
                self._pause(event)
            case TrialEnded():
                self._finish(event)
            case TrialRetried():
                self._retried[event.trial] = event.reason
                self._running.pop(event.trial, None)
                self._unfinished.pop(event.trial, None)
            case TestSetRead():
                self._tests.append(
                    TestReading(
                        time=time,
                        trial=event.trial,
                        arch=event.arch,
                        replicate=event.replicate,
                        result=event.result,
                    )
                )
            case SessionEnded():
                self._end = event

    def _start_session(self, time: str, event: SessionStarted) -> None:
        self._sessions.append(
            Session(
                start=time,
                last=time,
                environment=event.environment,
                options=event.options,
                forecast=event.forecast,
            )
        )
        self._running = {}
        self._end = None
        self._between = False

    def _finish(self, event: TrialEnded) -> None:
        if event.trial in self._trials:
            self._repeated += 1
            return
        self._count(event)
        self._trials[event.trial] = (event.spec, event.result)
        self._paused.pop(event.trial, None)
        if self._tests:
            self._after_test.append(event.trial)

    def _reopen(self, trial: str) -> None:
        """Forget the end of a failed trial; its worker time counts on."""
        if trial in self._trials and self._trials[trial][1].status == "failed":
            del self._trials[trial]
            self._retried.pop(trial, None)

    def _pause(self, event: TrialPaused) -> None:
        if event.trial in self._trials:
            self._repeated += 1
            return
        self._count(event)
        known = self._paused.get(event.trial)
        # A worker that did not find or read the checkpoint reports fewer epochs; the larger number stays.
        if known is None or len(event.result.epochs) >= len(known[1].epochs):
            self._paused[event.trial] = (event.spec, event.result)

    def _count(self, event: TrialEnded | TrialPaused) -> None:
        trial = event.trial
        self._wall_time_s[trial] = self._wall_time_s.get(trial, 0.0) + event.wall_time_s
        self._cpu_s += event.wall_time_s * event.cpus
        self._gpu_s += event.wall_time_s * event.gpus
        self._running.pop(trial, None)
        self._unfinished.pop(trial, None)


def _state_of(end: SessionEnded) -> State:
    return "stopped" if end.state == "interrupted" and end.budget else end.state
