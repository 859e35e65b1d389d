"""The state of a session while it runs: what the driver knows and the ledger does not, for other terminals."""

from __future__ import annotations

from dataclasses import dataclass


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
    epoch: int
    epochs: int
    error_pct: float | None = None
    train_loss: float | None = None
    left_s: float | None = None


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
    """

    time: str
    slots: int
    running: tuple[LiveTask, ...]
    waiting: tuple[str, ...]
    to_come: int
    seeds_to_come: int
    elapsed_s: float
    remaining_s: float | None
