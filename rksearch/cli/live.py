"""The view of a run on the console: one table that redraws itself, or plain lines where there is no terminal."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from rksearch.cli.wording import classes_text, tested_text
from rksearch.report.forecast import forecast_lines
from rksearch.report.status import kept_back_lines, under_way_text
from rksearch.report.text import clock_text
from rksearch.results.events import Forecast
from rksearch.results.history import History
from rksearch.results.live import LiveProgress
from rksearch.results.records import TrialResult
from rksearch.results.summaries import ArchSummary, best_per_band, summarise
from rksearch.search.run_state import RunState
from rksearch.search.session import SessionClock
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


def counts_text(history: History, live: LiveProgress) -> str:
    """`12 done, 2 running, 1 waiting, 0 failed, 9 to come (3 further seeds); elapsed 0:01:02, about 0:00:40 left`."""
    failed, stopped = len(history.failed), len(history.pruned)
    paused = len(set(history.paused) - {task.id for task in live.running} - set(live.not_running))
    raced = f"{stopped} pruned, {paused} paused, " if stopped or paused else ""
    return (
        f"{len(history.trials) - failed - stopped} done, {under_way_text(live)}, {raced}{failed} failed; "
        f"elapsed {clock_text(live.elapsed_s)}, about {clock_text(live.remaining_s)} left"
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
            self._line(f"{spec.id}: {what}  [{counts_text(history, self._clock.progress())}]")
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
    """Counts, times, running trials, and the best network and baseline in each size band, redrawn in place."""

    def __init__(self, state: RunState, console: Console, slots: int) -> None:
        self._state = state
        self._clock = SessionClock(state, slots)
        self._items: tuple[History, list[ArchSummary]] | None = None
        self._live = Live(console=console, get_renderable=self._render, refresh_per_second=2, transient=False)
        self._live.start()

    def refresh(self) -> None:
        """Do nothing: the table redraws itself twice a second."""

    def close(self) -> None:
        """Draw the table once more and leave it on the screen."""
        self._live.stop()

    def _render(self) -> Group:
        live = self._clock.progress()
        parts: list[RenderableType] = [Text(counts_text(self._state.history, live), style="bold")]
        parts.append(self._running_table(live))
        parts += [Text(line, style="dim") for line in kept_back_lines(live)]
        items = self._summaries()
        parts.append(self._best_table("best Runge-Kutta network so far", best_per_band(items)))
        if baselines := best_per_band(items, baselines=True):
            parts.append(self._best_table("baseline", baselines))
        return Group(*parts)

    def _summaries(self) -> list[ArchSummary]:
        """Summaries of the architectures, made again when a training has ended."""
        history = self._state.history
        if self._items is None or self._items[0] is not history:
            self._items = (history, summarise(history))
        return self._items[1]

    def _running_table(self, live: LiveProgress) -> Table:
        metric = self._state.history.metric
        heads = ("running", "epoch", "loss", f"{metric.title} %", "left")
        table = Table(*heads, box=None, padding=(0, 2, 0, 0), header_style="dim")
        for task in live.running:
            table.add_row(
                Text(task.id, no_wrap=True, overflow="ellipsis"),
                f"{task.epoch or '-'}/{task.epochs}" if task.epochs else "",
                "" if task.train_loss is None else f"{task.train_loss:.3f}",
                "" if task.error_pct is None else f"{task.error_pct:.2f}",
                "" if task.left_s is None else clock_text(task.left_s),
            )
        for name in live.waiting:
            table.add_row(Text(name, no_wrap=True, overflow="ellipsis", style="dim"), "waits", "", "", "")
        return table

    def _best_table(self, heading: str, best: Mapping[tuple[int, int], ArchSummary]) -> Table:
        error = f"{self._state.history.metric.title} %"
        table = Table("params", heading, error, "seeds", box=None, padding=(0, 2, 0, 0), header_style="dim")
        for (low, high), item in best.items():
            table.add_row(
                f"{low:,} - {high:,}",
                Text(item.arch, no_wrap=True, overflow="ellipsis"),
                f"{item.error_pct:.2f}",
                str(item.seeds),
            )
        return table
