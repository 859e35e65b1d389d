"""A small process beside the driver, which ends what the driver's Ray leaves where the driver ends without a word.

Nothing in the driver can answer a SIGKILL. Nor can it where Ray's node service dies while Ray starts: Ray's C++ part
then ends the driver's process at once, with a line for Ray's developers. The process here reads a pipe whose other end
the driver alone holds: the pipe's end is the driver's.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from rksearch.errors import RksearchError
from rksearch.results.processes import child_environment, own_python
from rksearch.search.ray.leftovers import end_processes, mark_session, processes_of, sessions_of
from rksearch.search.stopping import ENDING

STARTED, ENDED = b"started\n", b"ended\n"
"""What the driver says: that its Ray has started, and that it leaves in order."""

TRIES_S = 10.0
"""Seconds for which processes are looked for that were about to start when the driver ended."""


class OrphanKeeper:
    """The driver's end of the pipe."""

    def __init__(self, process: subprocess.Popen[bytes] | None) -> None:
        self._process = process

    def say(self, word: bytes) -> None:
        """Tell how far the driver is."""
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):  # it was killed: nobody needs to know
                self._process.stdin.write(word)
                self._process.stdin.flush()

    def leave(self) -> None:
        """End the process in order."""
        self.say(ENDED)
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=5)


@contextlib.contextmanager
def orphans_ended(directory: Path, resume: str) -> Iterator[OrphanKeeper]:
    """End what Ray leaves if this process ends in the `with` block without leaving it.

    Args:
        directory: of the run.
        resume: the command that resumes it.
    """
    process = None
    with contextlib.suppress(OSError):  # no process can be made: then what follows fails with its own reason
        process = subprocess.Popen(  # noqa: S603 - this Python, with a module of ours
            own_python("-m", "rksearch.search.ray.orphans", str(os.getpid()), str(directory), resume),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env=child_environment(),
            start_new_session=True,  # signals are for the driver
        )
    keeper = OrphanKeeper(process)
    try:
        yield keeper
    finally:
        keeper.leave()


def main(pid: int, directory: Path, resume: str) -> int:
    """Wait for the driver's end, and do what it could not."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
    said = sys.stdin.buffer.read()
    if said.endswith(ENDED):
        return 0
    deadline = time.monotonic() + TRIES_S
    while left := processes_of(sessions_of(pid)):
        end_processes(left)
        if time.monotonic() > deadline:
            break
    mark_session(pid)
    if not said.startswith(STARTED):
        logs = "".join(f"; its logs are in {path / 'logs'}" for path in sessions_of(pid)[-1:])
        text = f"Ray on this machine died while it started{logs}; what is finished is kept, resume it with {resume}"
        with contextlib.suppress(RksearchError, OSError):
            _record(directory, text)
        print(f"rksearch: {text}", file=sys.stderr, flush=True)
    return 0


def _record(directory: Path, reason: str) -> None:
    """Write the end of the session to the ledger, unless the run has been resumed already."""
    # Not above: the process is small, and of no use as a rule.
    from rksearch.results.ledger import Ledger
    from rksearch.results.run_dir import RunDir

    with RunDir(directory).driver():
        Ledger(directory).write_end("failed", reason)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]))
