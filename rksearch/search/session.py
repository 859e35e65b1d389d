"""The clock of a session, and its progress as the live table and `rksearch status` show it."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime

from rksearch.results.history import History
from rksearch.results.live import LiveProgress, LiveTask
from rksearch.search.run_state import RunState
from rksearch.search.tasks import Remaining, Task


class SessionClock:
    """Elapsed time of this session, and an estimate of the remaining time."""

    def __init__(self, state: RunState, slots: int) -> None:
        self._state = state
        self._slots = slots
        self._began_s = time.monotonic()
        self._epochs_before = epochs_run(state.history)
        self._left: tuple[History, tuple[str, ...], Remaining] | None = None

    def elapsed_s(self) -> float:
        """Seconds since the session began."""
        return time.monotonic() - self._began_s

    def remaining_s(self) -> float | None:
        """Seconds left: remaining epochs times the mean slot time of one in this session; None before the first."""
        history = self._state.history
        epochs = epochs_run(history) - self._epochs_before
        if not epochs:
            return None
        return self._remaining().epochs * self._state.slot_time_s / epochs / self._slots

    def _remaining(self) -> Remaining:
        """The work ahead, counted again when a task has started or ended: a view asks twice a second."""
        history, running = self._state.history, tuple(self._state.running)
        if self._left is None or self._left[0] is not history or self._left[1] != running:
            self._left = (history, running, self._state.agenda.remaining(history))
        return self._left[2]

    def progress(self) -> LiveProgress:
        """The progress of the session now."""
        state = self._state
        started = [task for task in list(state.running.values()) if state.is_started(task)]
        waiting = [task for task in list(state.running.values()) if not state.is_started(task)]
        left = self._remaining()
        under_way = len(started) + len(waiting)
        return LiveProgress(
            time=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            slots=self._slots,
            running=tuple(self._task(task) for task in started),
            waiting=tuple(task.id for task in waiting),
            to_come=max(0, left.tasks - under_way),
            seeds_to_come=max(0, left.seeds - sum(task.trial.replicate > 0 for task in state.running.values())),
            elapsed_s=self.elapsed_s(),
            remaining_s=self.remaining_s(),
        )

    def _task(self, task: Task) -> LiveTask:
        epochs = task.epochs if task.action == "train" else 0
        last = self._state.progress.get(task.id)
        if last is None:
            return LiveTask(id=task.id, epoch=0, epochs=epochs)
        error = last.error_pct(self._state.history.metric)
        return LiveTask(
            id=task.id,
            epoch=last.epoch,
            epochs=epochs,
            error_pct=error if math.isfinite(error) else None,
            train_loss=last.train_loss if math.isfinite(last.train_loss) else None,
            left_s=max(0, epochs - last.epoch) * last.train_time_s,
        )


def epochs_run(history: History) -> int:
    """Number of epochs of all trials, the paused ones included."""
    return sum(len(result.epochs) for _, result in (*history.trials.values(), *history.paused.values()))
