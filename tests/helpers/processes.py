"""Commands under way, their processes, and what they leave."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from rksearch.bench.fair_clock import FairClock
from rksearch.search.ray.starting import require_temporary_directory
from tests.helpers.command_line import command, environment
from tests.helpers.nodes import descendants


@contextlib.contextmanager
def under_way(
    *args: str, cwd: Path, env: Mapping[str, str] | None = None, program: list[str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """A command of rksearch (or another program) in a process group of its own; what lives on is killed at the end."""
    driver = subprocess.Popen(
        program or command(*args),
        cwd=cwd,
        env={**environment(), **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield driver
    finally:
        for pid in [*descendants(driver.pid), driver.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(driver.pid, signal.SIGKILL)
        driver.communicate()


@contextlib.contextmanager
def started(*args: str, cwd: Path, env: Mapping[str, str] | None = None) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A command of rksearch under way, and a mark in the environment of it and of all that it starts."""
    mark = f"RKSEARCH_TEST={uuid.uuid4()}"
    key, _, value = mark.partition("=")
    with under_way(*args, cwd=cwd, env={**(env or {}), key: value}) as driver:
        yield driver, mark


def marked(mark: str) -> list[int]:
    """Processes that inherited the environment of a command."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark.encode() in (directory / "environ").read_bytes():
                found.append(int(directory.name))
    return found


def none_left(mark: str, within_s: float = 15) -> bool:
    deadline = time.monotonic() + within_s
    while marked(mark) and time.monotonic() < deadline:
        time.sleep(0.2)
    return not marked(mark)


def ended_within(driver: subprocess.Popen[str], limit_s: float) -> tuple[str, str]:
    """Output and errors of a command that ends in time; time that its processes wait for a CPU is not counted."""
    clock = FairClock(lambda: [driver.pid, *descendants(driver.pid)])
    while clock.spent_s() < limit_s:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return driver.communicate(timeout=0.5)
    raise AssertionError(f"the command has not ended within {limit_s:g} s of its own")


def wait_until(holds: Callable[[], bool], driver: subprocess.Popen[str], timeout_s: float = 180) -> None:
    """Wait while a command runs."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert driver.poll() is None, driver.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)


def named(driver: subprocess.Popen[str], name: str) -> list[int]:
    """Processes below a command whose command line holds `name`."""
    return holding(descendants(driver.pid), name)


def holding(pids: Iterable[int], name: str) -> list[int]:
    """Those of some processes whose command line holds `name`."""
    found = []
    for pid in pids:
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if name.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


def raylet(driver: subprocess.Popen[str]) -> int:
    return named(driver, "raylet/raylet")[0]


def gcs(driver: subprocess.Popen[str]) -> int:
    return named(driver, "gcs/gcs_server")[0]


def workers(driver: subprocess.Popen[str]) -> list[int]:
    """Workers that have a trial, or have had one."""
    return named(driver, "ImplicitFunc")


def sessions(pid: int) -> list[Path]:
    """Directories of the Ray sessions that a process has started."""
    return list(require_temporary_directory().joinpath("ray").glob(f"session_*_{pid}"))


def still_running(pids: list[int], within_s: float = 20) -> list[int]:
    """Which of some processes live on for this long."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline and any(map(_lives, pids)):
        time.sleep(0.2)
    return [pid for pid in pids if _lives(pid)]


def _lives(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")
