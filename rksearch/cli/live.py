"""The view of a run on the console: one table that redraws itself, or plain lines where there is no terminal."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from rksearch.cli.wording import classes_text, tested_text
from rksearch.report.forecast import forecast_lines
from rksearch.results.events import Forecast
from rksearch.results.history import History
from rksearch.results.records import TrialResult
from rksearch.results.summaries import best_per_band, summarise
from rksearch.search.run_state import RunState
from rksearch.space.plan import TOP1, ErrorMetric


class ConsoleView:
    """The view of the command line: a table in a terminal, lines elsewhere; see `rksearch.search.view.View`.

    A pipe or a terminal that closes, or a full disk behind it, ends what is shown and not the run.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown: LiveTable | PlainLines | None = None
        self._lost = False

    def message(self, text: str) -> None:
        """Print one line."""
        self._show(lambda: self._console.print(text, markup=False, highlight=False))

    def forecast(self, found: Forecast, smaller: Sequence[tuple[str, float]]) -> None:
        """Print what the run will cost."""
        for line in forecast_lines(found, smaller):
            self.message(line)

    def start(self, state: RunState, slots: int) -> None:
        """Begin the table or the lines."""

        def begin() -> None:
            self._shown = (LiveTable if self._console.is_terminal else PlainLines)(state, self._console, slots)

        self._show(begin)

    def refresh(self) -> None:
        """Show what has changed."""
        if self._shown is not None:
            self._show(self._shown.refresh)

    def close(self) -> None:
        """Show the last state."""
        if self._shown is not None:
            self._show(self._shown.close)

    def _show(self, call: Callable[[], None]) -> None:
        if self._lost:
            return
        try:
            call()
        except (OSError, SystemExit):  # rich ends the program where a pipe has closed
            self._lost = True


FORECAST_SHARE = 0.02
"""Weight of the forecast in the time left, as a share of the forecast's epochs."""


class SessionClock:
    """Elapsed time of this session, and an estimate of the remaining time."""

    def __init__(self, state: RunState, slots: int) -> None:
        self._state = state
        self._slots = slots
        self._began_s = time.monotonic()
        self._epochs_before = epochs_run(state.history)

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
        left_s = state.agenda.remaining(history).epochs * slot_time_s / epochs
        # What runs now still counts as left in full.
        return max(0.0, left_s - state.running_slot_time_s()) / self._slots

    def _budget_left_s(self) -> float | None:
        state = self._state
        reserved = state.reservations.trial if state.reservations else {}
        at_once = {kind: amount * self._slots for kind, amount in reserved.items()}
        return state.budget.left_s(state.history, state.running_work(), at_once)


def epochs_run(history: History) -> int:
    """Number of epochs of all trials, the paused ones included."""
    return sum(len(result.epochs) for _, result in (*history.trials.values(), *history.paused.values()))


def clock_text(seconds: float | None) -> str:
    """`1:02:03`, or `?` when unknown."""
    if seconds is None:
        return "?"
    minutes, s = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{s:02}"


def counts_text(state: RunState, clock: SessionClock) -> str:
    """`12 done, 2 running, 0 failed, 9 to go; elapsed 0:01:02, about 0:00:40 left`."""
    history = state.history
    failed, stopped = len(history.failed), len(history.pruned)
    left = max(0, state.agenda.remaining(history).tasks - len(state.running))
    raced = f"{stopped} pruned, {len(history.paused)} paused, " if stopped or history.paused else ""
    return (
        f"{len(history.trials) - failed - stopped} done, {len(state.running)} running, {raced}{failed} failed, "
        f"{left} to go; "
        f"elapsed {clock_text(clock.elapsed_s())}, about {clock_text(clock.remaining_s())} left"
    )


def outcome_text(result: TrialResult, metric: ErrorMetric = TOP1) -> str:
    """A trial's end in words, with the error that `metric` names."""
    if result.status == "failed":
        return f"failed ({result.failure}): {result.message}"
    last = result.epochs[-1]
    if result.status == "pruned":
        return f"pruned after epoch {last.epoch} at {metric.title} {last.error_pct(metric):.2f} %"
    if math.isnan(last.val_error_pct):
        return f"trained, train error {last.train_error_pct:.2f} %"
    top5 = "" if last.top5_val_error_pct is None else f", top-5 {last.top5_val_error_pct:.2f} %"
    return f"{metric.title} {last.error_pct(metric):.2f} %{top5}"


class PlainLines:
    """One line for every finished trial and every reading of the test set."""

    def __init__(self, state: RunState, console: Console, slots: int) -> None:
        self._state = state
        self._console = console
        self._clock = SessionClock(state, slots)
        self._trials = len(state.history.trials)
        self._tests = len(state.history.tests)

    def refresh(self) -> None:
        """Print what has finished since the last call."""
        history = self._state.history
        for spec, result in list(history.trials.values())[self._trials :]:
            what = outcome_text(result, history.metric)
            self._line(f"{spec.id}: {what}  [{counts_text(self._state, self._clock)}]")
        for test in history.tests[self._tests :]:
            self._line(f"{test.trial}: {tested_text(test.result)}")
            if classes := classes_text(test.result.test_confusion, history.data.class_names if history.data else ()):
                self._line(f"  {classes}")
        self._trials, self._tests = len(history.trials), len(history.tests)

    def close(self) -> None:
        """Print what has finished since the last call."""
        self.refresh()

    def _line(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


class LiveTable:
    """Counts, times, running trials and the best architecture in each size band, redrawn in place."""

    def __init__(self, state: RunState, console: Console, slots: int) -> None:
        self._state = state
        self._clock = SessionClock(state, slots)
        self._live = Live(console=console, get_renderable=self._render, refresh_per_second=2, transient=False)
        self._live.start()

    def refresh(self) -> None:
        """Do nothing: the table redraws itself twice a second."""

    def close(self) -> None:
        """Draw the table once more and leave it on the screen."""
        self._live.stop()

    def _render(self) -> Group:
        return Group(
            Text(counts_text(self._state, self._clock), style="bold"), self._running_table(), self._best_table()
        )

    def _running_table(self) -> Table:
        metric = self._state.history.metric
        table = Table("running", "epoch", f"{metric.title} %", box=None, padding=(0, 2, 0, 0), header_style="dim")
        for task in list(self._state.running.values()):
            epoch = self._state.progress.get(task.id)
            total = task.epochs
            table.add_row(
                Text(task.id, no_wrap=True, overflow="ellipsis"),
                f"{epoch.epoch}/{total}" if epoch else f"-/{total}" if task.action == "train" else "",
                f"{epoch.error_pct(metric):.2f}" if epoch else "",
            )
        return table

    def _best_table(self) -> Table:
        error = f"{self._state.history.metric.title} %"
        table = Table("params", "best RKNet so far", error, "seeds", box=None, padding=(0, 2, 0, 0), header_style="dim")
        for (low, high), best in best_per_band(summarise(self._state.history)).items():
            table.add_row(
                f"{low:,} - {high:,}",
                Text(best.arch, no_wrap=True, overflow="ellipsis"),
                f"{best.error_pct:.2f}",
                str(best.seeds),
            )
        return table
