"""A progress bar for runs that are started from Python: in a terminal, a notebook or a log."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, TextIO

from rksearch.report.forecast import forecast_lines
from rksearch.results.events import Forecast
from rksearch.results.summaries import best_per_band, summarise
from rksearch.search.run_state import RunState
from rksearch.search.view import Silent, View


class ProgressBar:
    """A view with one bar (tqdm's): trainings done of those planned, failures and the least error so far.

    Args:
        file: where to write; None for standard output, which notebooks show below their cell.
    """

    def __init__(self, file: TextIO | None = None) -> None:
        self._file = file or sys.stdout
        self._state: RunState | None = None
        self._bar: Any = None

    def message(self, text: str) -> None:
        """Print one line above the bar."""
        from tqdm import tqdm

        tqdm.write(text, file=self._file)

    def forecast(self, found: Forecast, smaller: Sequence[tuple[str, float]]) -> None:
        """Print what the run will cost."""
        for line in forecast_lines(found, smaller):
            self.message(line)

    def start(self, state: RunState, slots: int) -> None:
        """Begin the bar."""
        from tqdm import tqdm

        self._state = state
        self._bar = tqdm(total=0, unit="training", file=self._file, dynamic_ncols=True)
        self.refresh()

    def refresh(self) -> None:
        """Move the bar to the number of tasks that have ended."""
        if self._state is None or self._bar is None:
            return
        history = self._state.history
        done = len(history.trials) + len(history.tests)
        if done == self._bar.n and self._bar.total:
            return
        self._bar.n = done
        # The plan may grow or shrink: the front, whose members get further seeds, changes.
        self._bar.total = done + self._state.agenda.remaining(history).tasks
        notes = [f"{len(history.failed)} failed"] if history.failed else []
        best = best_per_band(summarise(history)).values()
        if best:
            lowest = min(best, key=lambda item: item.error_pct)
            notes.append(f"{history.metric.title} {lowest.error_pct:.2f} % ({lowest.arch})")
        self._bar.set_postfix_str(", ".join(notes), refresh=False)
        self._bar.refresh()

    def close(self) -> None:
        """Leave the last state on the screen."""
        if self._bar is not None:
            self.refresh()
            self._bar.close()


def view_of(progress: bool | View) -> View:
    """The view that `progress` asks for: a bar for True, none for False, or a view itself."""
    if isinstance(progress, bool):
        return ProgressBar() if progress else Silent()
    return progress
