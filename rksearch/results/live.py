"""The state of a session while it runs: what the driver knows and the ledger does not, for other terminals."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from rksearch.results.records import Natural, Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveTask:
    """A task that a worker is doing.

    Attributes:
        id: of the training, or `test:` and the id of the training that the test set is read with.
        epoch: last finished epoch; 0 before the first.
        epochs: epoch up to which it trains; 0 for a reading of the test set.
        error_pct: the compared validation error after that epoch; None before the first.
        train_loss: mean training loss of that epoch; None before the first, and where it is not finite.
        left_s: epochs that are left times the training time of the last one; None before the first.
    """

    id: str
    epoch: Natural
    epochs: Natural
    error_pct: float | None = None
    train_loss: float | None = None
    left_s: Seconds | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptBack:
    """A task that has ended and that the ledger does not have yet.

    Attributes:
        id: as in `LiveTask`.
        why: how it ended and what its record waits for, in words.
    """

    id: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveProgress:
    """The progress of a session, as its driver saw it.

    Attributes:
        time: when it was noted (ISO 8601, UTC).
        slots: number of usual trials that run at once.
        running: tasks that workers are doing.
        waiting: ids of tasks that were chosen and wait for a slot.
        to_come: trainings, or readings of the test set, that follow these; an estimate.
        seeds_to_come: further seeds among them.
        elapsed_s: time since the session began.
        remaining_s: estimated time to its end; None before the first epoch.
        kept_back: tasks that have ended and that the ledger does not have yet.

    Raises:
        ValueError: `time` is no time with a zone.
    """

    time: str
    slots: Natural
    running: tuple[LiveTask, ...]
    waiting: tuple[str, ...]
    to_come: Natural
    seeds_to_come: Natural
    elapsed_s: Seconds
    remaining_s: Seconds | None
    kept_back: tuple[KeptBack, ...] = ()

    @property
    def not_running(self) -> tuple[str, ...]:
        """Ids of tasks under way that no worker is doing: those that wait for a slot, and those kept back."""
        return (*self.waiting, *(task.id for task in self.kept_back))

    def __post_init__(self) -> None:
        if datetime.fromisoformat(self.time).tzinfo is None:
            raise ValueError(f"a note must have a time with a zone, but got {self.time!r}")
