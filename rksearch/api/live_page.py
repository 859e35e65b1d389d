"""The report of a run that goes on, written by a process of its own: the driver has other work than to draw pages.

`python -m rksearch.api.live_page DIRECTORY` writes the report of a run once, at the lowest priority.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from rksearch.errors import RksearchError, RunError
from rksearch.results.history import History
from rksearch.results.processes import child_environment, own_python

STOP_S = 5.0
"""Time that a process has to end when it is asked to, in seconds."""

LOOK_S = 0.2
"""Time between two looks at whether the driver is there, in seconds."""


class PageWriter:
    """Writes the report of a run in another process, which reads the ledger by itself, and waits for it.

    The process does not get the terminal's ctrl-C. Each file is replaced whole, or not at all.

    Args:
        directory: the run directory.
        begin: begins the process; None for one of this module.
    """

    def __init__(self, directory: Path, begin: Callable[[Path], subprocess.Popen[str]] | None = None) -> None:
        self._directory = directory
        self._begin = begin or _begin
        self._process: subprocess.Popen[str] | None = None
        self._stopped = False

    def __call__(self, history: History) -> None:
        """Write the report of the ledger as it is by now; `history` is what the caller knows of it.

        Raises:
            RunError: the report could not be written.
        """
        if self._stopped:
            return
        try:
            self._process = self._begin(self._directory)
        except OSError as error:
            raise RunError(_failure(error.strerror or str(error))) from None
        if self._stopped:  # while the process began
            self.stop()
        _, said = self._process.communicate()
        if self._process.returncode and not self._stopped:
            last = (said or "").strip().rpartition("\n")[2]
            raise RunError(_failure(last or f"exit code {self._process.returncode}"))

    def stop(self) -> None:
        """Give up what is being written, and write no more."""
        self._stopped = True
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout=STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()


def _failure(reason: str) -> str:
    return f"the report of a run under way could not be written ({reason}); it is written when the run ends"


def _begin(directory: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603 - this program, by its own interpreter
        own_python("-m", "rksearch.api.live_page", str(directory), str(os.getpid())),
        env=child_environment(OMP_NUM_THREADS="1"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def main() -> None:
    """Write the report of a run whose directory and driver are the arguments, and be no burden to its trainings."""
    from rksearch.api.directory import Run

    if hasattr(os, "nice"):
        os.nice(19)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # no file that is half written stays behind
    threading.Thread(target=_end_with, args=(int(sys.argv[2]),), daemon=True).start()
    try:
        Run(sys.argv[1]).write_report()
    except RksearchError as error:
        sys.exit(str(error))


def _end_with(driver: int) -> None:
    """End this process when its driver has: an older report must not replace that of the run's next session."""
    while os.getppid() == driver:
        time.sleep(LOOK_S)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
