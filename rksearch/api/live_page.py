"""The report's page while a run goes: written now and then by a process of its own, so that a browser can stay open.

`python -m rksearch.api.live_page DIRECTORY` writes the report of a run once, at the lowest priority.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import rksearch
from rksearch.errors import RksearchError
from rksearch.search.run_state import RunState
from rksearch.search.view import View

FIRST_S = 60.0
"""Least time from the start of a session to the first page, in seconds."""

EVERY_S = 180.0
"""Least time from one page to the next, in seconds."""

SHARE = 0.05
"""Most of the time that the writing of pages may take."""

STOP_S = 5.0
"""Time that a process has to end when it is asked to, in seconds."""


class LivePage:
    """A view that shows a run as another one does, and has the page written.

    Nothing that happens to the page slows or ends the run. The process reads the ledger by itself and replaces each
    file whole; where it fails, the reason is shown once and no further page is written in this session.

    Args:
        view: shows the run.
        directory: the run directory.
        clock: seconds that only grow.
        command: begins a process that writes the report; None for one of this module.
    """

    def __init__(
        self,
        view: View,
        directory: Path,
        *,
        clock: Callable[[], float] = time.monotonic,
        command: Callable[[Path], subprocess.Popen[str]] | None = None,
    ) -> None:
        self._view = view
        self._directory = directory
        self._clock = clock
        self._command = command or _writer
        self._state: RunState | None = None
        self._process: subprocess.Popen[str] | None = None
        self._began = 0.0
        self._next = 0.0
        self._written = 0
        self._failed = False

    def message(self, text: str) -> None:
        """Show one line."""
        self._view.message(text)

    def start(self, state: RunState, slots: int) -> None:
        """Show `state` from now on."""
        self._state = state
        self._written = len(state.history.trials)
        self._next = self._clock() + FIRST_S
        self._view.start(state, slots)

    def refresh(self) -> None:
        """Show what has changed, and begin or end the writing of a page."""
        self._view.refresh()
        if self._process is not None:
            self._look()
        elif self._due():
            self._begin()

    def close(self) -> None:
        """Show the last state; a page that is being written is given up."""
        if self._process is not None:
            _stop(self._process)
            self._process = None
        self._view.close()

    def _due(self) -> bool:
        """Whether something has finished since the last page, and enough time has passed."""
        if self._failed or self._state is None or self._clock() < self._next:
            return False
        return len(self._state.history.trials) > self._written

    def _begin(self) -> None:
        assert self._state is not None, "nothing is due before the start"
        self._began, self._written = self._clock(), len(self._state.history.trials)
        try:
            self._process = self._command(self._directory)
        except OSError as error:
            self._give_up(error.strerror or str(error))

    def _look(self) -> None:
        assert self._process is not None, "only a process that has begun is looked at"
        code = self._process.poll()
        if code is None:
            return
        now = self._clock()
        self._next = now + max(EVERY_S, (now - self._began) / SHARE)
        _, said = self._process.communicate()
        self._process = None
        if code:
            self._give_up((said or "").strip().rpartition("\n")[2] or f"exit code {code}")

    def _give_up(self, reason: str) -> None:
        self._failed = True
        self._view.message(f"the page is not written while the run goes ({reason}); it is when the run ends")


def _writer(directory: Path) -> subprocess.Popen[str]:
    """A process that writes the report; it does not get the terminal's ctrl-C."""
    root = str(Path(rksearch.__file__).parent.parent)
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        [sys.executable, "-m", "rksearch.api.live_page", str(directory)],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.communicate(timeout=STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def main() -> None:
    """Write the report of the run whose directory is the only argument, and be no burden to its trainings."""
    from rksearch.api.run import Run

    if hasattr(os, "nice"):
        os.nice(19)
    try:
        Run(sys.argv[1]).write_report()
    except RksearchError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
