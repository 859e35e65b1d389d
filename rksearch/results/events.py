"""Events of a run: one dataclass per kind of record of the ledger.

Optional fields may be added without a new schema: a reader takes their defaults where they are absent and ignores what
it does not know.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from rksearch.results.data_record import DataRecord
from rksearch.results.environment import Environment
from rksearch.results.plan import Plan
from rksearch.results.records import Natural, Positive, Seconds, TestResult, TrialResult, TrialSpec
from rksearch.space.summary import SpaceSummary

EndState = Literal["finished", "interrupted", "failed"]

Option = str | int | float | bool | None
"""A value of a command-line option."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlanned:
    """The plan of the run: the first record, and again when the plan changes.

    Attributes:
        name: the run's name in reports.
        space: facts about the search space.
        plan: the plan from now on.
        data: facts about the data set.
    """

    event: ClassVar[str] = "run"

    name: str
    space: SpaceSummary
    plan: Plan
    data: DataRecord | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingForecast:
    """Expected cost of one training.

    Attributes:
        what: `smallest`, `median` or `largest` for members of the space, by multiply-adds; `baseline` or `known`.
        arch: canonical name.
        macs: multiply-adds of an image.
        time_s: seconds of a whole training; None where it could not be measured.
        peak_bytes: predicted peak of memory; None where it could not be measured.
        note: reason why it could not be measured, or a remark; empty without one.
    """

    what: str
    arch: str
    macs: Natural
    time_s: Seconds | None = None
    peak_bytes: Natural | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """Expected cost of what a run has still to do; None where there is no estimate.

    Attributes:
        epochs: epochs of training.
        wall_time_s, cpu_s, gpu_s: time of the session, and worker time times the CPUs and GPUs reserved.
        work_s: time of all trainings, one after another.
        parts_s: the same by part: `baselines`, `known`, `candidates`, `control`, `seeds`, `replicates`.
        racing_saves_s: time that racing is expected to save, which `work_s` does not contain.
        slots: number of trainings at a time.
        trainings: cost of single trainings; none where an earlier session's trainings were taken as the measure.
        front: size of the front that was assumed, whose members get further seeds.
        disk_bytes: most that the checkpoints take.
        measured_on: device, precision and threads of the measurement, in words.
        budget: when the budget of time ends the run, in words; empty without one.
    """

    epochs: float | None = None
    wall_time_s: float | None = None
    cpu_s: float | None = None
    gpu_s: float | None = None
    work_s: float | None = None
    parts_s: dict[str, float] = field(default_factory=dict)
    racing_saves_s: Seconds = 0.0
    slots: Positive = 1
    trainings: tuple[TrainingForecast, ...] = ()
    front: Natural = 0
    disk_bytes: Natural | None = None
    measured_on: str = ""
    budget: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionStarted:
    """A launch of the driver.

    Attributes:
        environment: code, versions and hardware.
        options: the command line's options.
        forecast: expected cost; None where none was made.
    """

    event: ClassVar[str] = "session"

    environment: Environment
    options: dict[str, Option]
    forecast: Forecast | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SharingMeasured:
    """The number of trials that share a GPU in a session, and the measurement behind it.

    Attributes:
        training: the training that was measured.
        images_per_s: throughput of all trainings, by their number, each in a process of its own.
        together: throughput of all trainings, by their number, as one program.
        trials_per_gpu, seeds_together: the numbers chosen.
    """

    event: ClassVar[str] = "sharing"

    training: dict[str, Option]
    images_per_s: dict[str, float]
    together: dict[str, float]
    trials_per_gpu: int
    seeds_together: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotsCounted:
    """Trials at a time in a session, as they were counted before the first.

    Attributes:
        slots: number of usual trials that fit at once, on all machines together.
        trial: what a usual trial reserves: `cpu`, `gpu`, and `memory` in bytes.
        machines: what each machine offers, in the same words.
    """

    event: ClassVar[str] = "slots"

    slots: Natural
    trial: dict[str, float]
    machines: tuple[dict[str, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialReopened:
    """A failed trial that the user has asked to try again: it is as if it had not ended."""

    event: ClassVar[str] = "reopen"

    trial: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialStarted:
    """A trial was handed to a worker."""

    event: ClassVar[str] = "start"

    trial: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskStarted:
    """A task of a deterministic run was chosen; the starts of its trials follow.

    A session that is cut off resumes these tasks as they were chosen, in their order, before it chooses another one.

    Attributes:
        trial: id of the first of its trials.
        until: epoch after which the training pauses; None to train to the end.
        alone: whether it needs a whole device.
        beside: ids of the trials that are trained with the first one, as one program.
    """

    event: ClassVar[str] = "task"

    trial: str
    until: Positive | None = None
    alone: bool = False
    beside: tuple[str, ...] = ()

    @property
    def trials(self) -> tuple[str, ...]:
        """Ids of all its trials."""
        return (self.trial, *self.beside)


@dataclass(frozen=True, slots=True, kw_only=True)
class _TrialWorked:
    """Work of a trial.

    Attributes:
        trial: id of `spec`.
        spec, result: the trial and its result.
        wall_time_s: time since the trial last started, as the driver saw it; an equal share where several seeds were
            trained together.
        cpus, gpus: numbers reserved for it in that time.
    """

    trial: str
    spec: TrialSpec
    result: TrialResult
    wall_time_s: Seconds
    cpus: Seconds = 0.0
    gpus: Seconds = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialPaused(_TrialWorked):
    """A trial that has paused and may continue."""

    event: ClassVar[str] = "pause"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRetried:
    """A trial that ran out of memory, or whose worker died beside others; it is retried once, alone."""

    event: ClassVar[str] = "retry"

    trial: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialEnded(_TrialWorked):
    """A finished trial, complete, failed or pruned; final."""

    event: ClassVar[str] = "trial"


@dataclass(frozen=True, slots=True, kw_only=True)
class TestSetRead:
    """A reading of the test set with the weights of a trial."""

    __test__: ClassVar[bool] = False  # keeps pytest from taking the class for a group of tests
    event: ClassVar[str] = "test"

    trial: str
    arch: str
    replicate: Natural
    result: TestResult


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEnded:
    """The end of the present session.

    Attributes:
        state: how it ended.
        message: the reason of a failure.
        budget: the budget of time that interrupted it, in words; None where none did.
    """

    event: ClassVar[str] = "end"

    state: EndState
    message: str | None = None
    budget: str | None = None


Event = (
    RunPlanned
    | SessionStarted
    | SharingMeasured
    | SlotsCounted
    | TrialReopened
    | TaskStarted
    | TrialStarted
    | TrialPaused
    | TrialRetried
    | TrialEnded
    | TestSetRead
    | SessionEnded
)

EVENTS: dict[str, type[Event]] = {
    kind.event: kind
    for kind in (
        RunPlanned,
        SessionStarted,
        SharingMeasured,
        SlotsCounted,
        TrialReopened,
        TaskStarted,
        TrialStarted,
        TrialPaused,
        TrialRetried,
        TrialEnded,
        TestSetRead,
        SessionEnded,
    )
}
"""The events by their name in the ledger."""
