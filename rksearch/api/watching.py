"""Notes on a run while it runs: its progress for other terminals, and its page for a browser that stays open."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from rksearch.api.live_page import PageWriter
from rksearch.errors import RksearchError
from rksearch.results.events import Forecast
from rksearch.results.history import History
from rksearch.results.run_dir import RunDir
from rksearch.search.run_state import RunState
from rksearch.search.session import SessionClock
from rksearch.search.view import View

NOTE_S = 1.0
"""Least time between two notes of the progress."""

NOTE_SHARE = 0.02
"""Maximum share of the driver's time that goes into notes, of a run whose remaining work takes long to count."""

REWRITE_S = 180.0
"""Least time between two pages; the first one of a session comes as soon as a training has ended."""

REWRITE_SHARE = 0.05
"""Maximum share of the time that goes into pages, of a run whose page takes long to write."""


class NotingView:
    """A view that also notes the progress in the run directory and writes the report again: when the session's first
    training has ended, and from then on at most every few minutes.

    Neither can end the run: what cannot be written is said once. The report is written beside the run, in a thread that
    waits for another process.

    Args:
        view: the view that shows the run.
        run_dir: directory of the run.
        write: writes the report of a history; None for another process that does.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        view: View,
        run_dir: RunDir,
        write: Callable[[History], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._view = view
        self._run_dir = run_dir
        self._pages = PageWriter(run_dir.path)
        self._write = write or self._pages
        self._clock = clock
        self._state: RunState | None = None
        self._session: SessionClock | None = None
        self._noted_s = self._written_s = clock()
        self._note_pause_s = NOTE_S
        self._pause_s = 0.0
        self._writer: threading.Thread | None = None
        self._failure: str | None = None
        self._said: set[str] = set()
        self._shown: History | None = None

    def message(self, text: str) -> None:
        """Show one line."""
        self._view.message(text)

    def forecast(self, found: Forecast, smaller: Sequence[tuple[str, float]]) -> None:
        """Show what the run will cost."""
        self._view.forecast(found, smaller)

    def start(self, state: RunState, slots: int) -> None:
        """Show and note `state` from now on."""
        self._state, self._session = state, SessionClock(state, slots)
        self._shown = state.history
        self._view.start(state, slots)
        self._note()

    def refresh(self) -> None:
        """Show and note what has changed."""
        self._view.refresh()
        now = self._clock()
        if now - self._noted_s >= self._note_pause_s:
            self._note()
            self._noted_s = self._clock()
            self._note_pause_s = max(NOTE_S, (self._noted_s - now) / NOTE_SHARE)
        if now - self._written_s >= self._pause_s:
            self._rewrite(now)

    def close(self) -> None:
        """Show the last state; a page that is being written is given up, and the note is removed."""
        self._pages.stop()
        if self._writer is not None:
            self._writer.join()
        self._say(self._failure)
        self._run_dir.forget_progress()
        self._view.close()

    def _note(self) -> None:
        assert self._session is not None
        try:
            self._run_dir.note_progress(self._session.progress())
        except OSError as error:
            self._say(f"The progress cannot be noted for `rksearch status` ({error.strerror}).")

    def _rewrite(self, now: float) -> None:
        if self._writer is not None and self._writer.is_alive():
            return
        self._say(self._failure)
        assert self._state is not None
        history = self._state.history
        self._written_s = now
        if history is self._shown:  # a new one is read when a task has ended
            return
        self._shown = history
        self._writer = threading.Thread(target=self._write_page, args=(history,), daemon=True, name="report")
        self._writer.start()

    def _write_page(self, history: History) -> None:
        began = self._clock()
        try:
            self._write(history)
        except RksearchError as error:
            self._failure = str(error)
        except Exception as error:  # noqa: BLE001 - a page of a run under way must not cost the run
            self._failure = f"the report of a run under way could not be written ({type(error).__name__}: {error})"
        self._pause_s = max(REWRITE_S, (self._clock() - began) / REWRITE_SHARE)

    def _say(self, text: str | None) -> None:
        if text is not None and text not in self._said:
            self._said.add(text)
            self._view.message(text)
