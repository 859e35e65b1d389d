"""Processes and directories of Ray's that a session leaves: ended and removed, also those of a driver that was killed.

Ray never removes the directory of a session, and its agents may outlive the process that started them. A process
belongs to a session if it has a file of the session's directory open for writing: all of them write their logs there.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import stat
import time
from collections.abc import Iterable
from pathlib import Path

from rksearch.search.ray.starting import RAY, temporary_directory
from rksearch.training.machine import machine_id

MARK = "rksearch.pid"
"""File in a session's directory that says which process of rksearch has started it, and on which machine.

Machines and containers may share a temporary directory, and each has process ids of its own. A mark of earlier versions
names no machine: its session may be alive on another one, and stays.
"""

LAST_S = 10.0
"""Seconds to wait for killed processes to end."""

_OLD_S = 60.0
"""Age of a directory without processes after which a dead driver's is removed: others may be starting."""


def sessions_of(pid: int) -> list[Path]:
    """Directories of the Ray sessions that a process of this machine has started, the first one first."""
    found = sorted((temporary_directory() / RAY).glob(f"session_*_{pid}"))
    return [directory for directory in found if not _is_of_another_machine(directory / MARK)]


def own_sessions() -> list[Path]:
    """Directories of the Ray sessions that this process has started, the first one first."""
    return sessions_of(os.getpid())


def mark_session(pid: int) -> None:
    """Note that a process of rksearch started its last session, so that it is removed once the process is dead."""
    for directory in sessions_of(pid)[-1:]:
        with contextlib.suppress(OSError):
            (directory / MARK).write_text(f"{pid} {machine_id()}", encoding="ascii")


def _read_mark(mark: Path) -> tuple[int, str | None]:
    """Process id and machine of a mark; None for a machine that it does not name.

    Raises:
        OSError: it cannot be read.
        ValueError: it is none.
    """
    pid, _, machine = mark.read_text(encoding="ascii").partition(" ")
    return int(pid), machine or None


def _is_of_another_machine(mark: Path) -> bool:
    """Whether a mark is there that this machine has not written."""
    try:
        return _read_mark(mark)[1] != machine_id()
    except FileNotFoundError:
        return False  # Ray is starting there, and this process is its driver
    except (OSError, ValueError):
        return True


def _exists(pid: int) -> bool:
    """Whether there is such a process on this machine, which need not have `/proc`; collects no child's exit code."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):  # a mark may hold any number
        return False
    except PermissionError:
        return True  # of somebody else
    return True


def end_session(*, keep_logs: bool) -> None:
    """End what is left of this process's Ray sessions, and remove their directories.

    Args:
        keep_logs: whether the newest one's directory stays, because Ray has failed and its logs may say why.
    """
    sessions = own_sessions()
    end_processes(processes_of(sessions))
    for directory in sessions[:-1] if keep_logs else sessions:
        shutil.rmtree(directory, ignore_errors=True)
    link = temporary_directory() / RAY / "session_latest"
    with contextlib.suppress(OSError):
        if link.is_symlink() and not link.exists():
            link.unlink()


def clear_dead_sessions() -> None:
    """Remove directories of this machine's sessions whose driver, a process of rksearch and this user's, was killed."""
    for mark in (temporary_directory() / RAY).glob(f"session_*/{MARK}"):
        with contextlib.suppress(OSError, ValueError):
            status = mark.stat()
            pid, machine = _read_mark(mark)
            dead = machine == machine_id() and not _exists(pid)
            if status.st_uid == os.getuid() and dead and time.time() - status.st_mtime > _OLD_S:
                end_processes(processes_of([mark.parent]))
                shutil.rmtree(mark.parent, ignore_errors=True)


def processes_of(sessions: Iterable[Path]) -> list[int]:
    """Processes but this one that write to files of the sessions; none where the system does not list them."""
    beneath = tuple(f"{os.path.realpath(directory)}/" for directory in sessions)
    return [pid for pid in _others() if beneath and any(name.startswith(beneath) for name in _written_files(pid))]


def end_processes(pids: Iterable[int]) -> None:
    """Kill processes and wait until they have ended; those of other users are left alone."""
    left = set(pids)
    for pid in left:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + LAST_S
    while left and time.monotonic() < deadline:
        left = {pid for pid in left if _is_running(pid)}
        if left:
            time.sleep(0.05)


def _others() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").glob("[0-9]*") if int(entry.name) != os.getpid()]


def _written_files(pid: int) -> list[str]:
    """Files that a process has open for writing. Whoever reads a log is none of Ray's."""
    names = []
    with contextlib.suppress(OSError):
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                if entry.stat(follow_symlinks=False).st_mode & stat.S_IWUSR:
                    names.append(os.readlink(entry.path))
    return names


def _is_running(pid: int) -> bool:
    """Whether a process exists and is no zombie; one of ours that has ended is collected."""
    with contextlib.suppress(ChildProcessError):
        if os.waitpid(pid, os.WNOHANG)[0]:
            return False
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in ("Z", "X")
