"""The clock of a session, and its progress as the live table and `rksearch status` show it."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime

from rksearch.results.history import History
from rksearch.results.live import KeptBack, LiveProgress, LiveTask
from rksearch.search.run_state import RunState
from rksearch.search.tasks import Remaining, Task

FORECAST_SHARE = 0.02
"""Weight of the forecast in the time left, as a share of the forecast's epochs."""


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
        """Seconds until the work is done or the budget of time ends; None before anything is known.

        An epoch's slot time is the mean of this session's, in which the forecast counts as some epochs.
        """
        ends = [seconds for seconds in (self._work_left_s(), self._budget_left_s()) if seconds is not None]
        return min(ends, default=None)

    def _work_left_s(self) -> float | None:
        state, history = self._state, self._state.history
        epochs, slot_time_s = float(epochs_run(history) - self._epochs_before), state.slot_time_s
        expected = state.forecast
        if expected is not None and expected.work_s and expected.epochs:
            weight = FORECAST_SHARE * expected.epochs
            epochs, slot_time_s = epochs + weight, slot_time_s + weight * expected.work_s / expected.epochs
        if not epochs:
            return None
        left_s = self._remaining().epochs * slot_time_s / epochs
        # What runs now still counts as left in full.
        return max(0.0, left_s - state.running_slot_time_s()) / self._slots

    def _budget_left_s(self) -> float | None:
        state = self._state
        reserved = state.reservations.trial if state.reservations else {}
        at_once = {kind: amount * self._slots for kind, amount in reserved.items()}
        return state.budget.left_s(state.history, state.running_work(), at_once)

    def _remaining(self) -> Remaining:
        """The work ahead, counted again when a task has started or ended: a view asks twice a second."""
        history, running = self._state.history, tuple(self._state.running)
        if self._left is None or self._left[0] is not history or self._left[1] != running:
            self._left = (history, running, self._state.agenda.remaining(history))
        return self._left[2]

    def progress(self) -> LiveProgress:
        """The progress of the session now."""
        state = self._state
        kept_back = state.kept_back
        under_way = list(state.running.values())
        working = [task for task in under_way if task.id not in kept_back]
        left = self._remaining()
        return LiveProgress(
            time=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            slots=self._slots,
            running=tuple(self._task(task) for task in working if state.is_started(task)),
            waiting=tuple(task.id for task in working if not state.is_started(task)),
            to_come=max(0, left.tasks - len(under_way)),
            seeds_to_come=max(0, left.seeds - sum(task.trial.replicate > 0 for task in under_way)),
            elapsed_s=self.elapsed_s(),
            remaining_s=self.remaining_s(),
            kept_back=tuple(KeptBack(id=key, why=why) for key, why in kept_back.items()),
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
