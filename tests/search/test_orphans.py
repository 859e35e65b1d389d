"""A driver that ends without a word: its Ray is ended, and where Ray was starting, a line says so."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rksearch.results.ledger import Ledger
from rksearch.search.ray.leftovers import MARK
from tests.helpers.command_line import environment
from tests.helpers.ledgers import begin

DRIVER = """
import os, signal, subprocess, sys, time
from pathlib import Path
from rksearch.search.ray.orphans import STARTED, orphans_ended
from rksearch.search.ray.starting import temporary_directory

session = temporary_directory() / "ray" / f"session_2026-01-31_12-00-00_123456_{os.getpid()}"
session.mkdir(parents=True)
with orphans_ended(Path(sys.argv[1]), "`rksearch resume x`") as keeper:
    with (session / "log").open("w") as log:
        words = [sys.executable, "-c", "import time; time.sleep(100)"]
        print(subprocess.Popen(words, stdout=log, stderr=subprocess.DEVNULL, start_new_session=True).pid, flush=True)
    %s
"""
"""A driver whose Ray is one process that writes a log."""


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.fixture
def drive(tmp_path: Path) -> Callable[[str], tuple[int, str]]:
    """Let the driver do something at last; returns the id of its Ray's process, and what was written as errors."""

    def run(last: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-c", DRIVER % last, str(begin(tmp_path / "run").path.parent)],
            env={**environment(), "RAY_TMPDIR": str(tmp_path), "TMPDIR": str(tmp_path)},
            capture_output=True,  # until the small process has ended too
            text=True,
            timeout=60,
        )
        return int(done.stdout), done.stderr

    return run


def test_a_driver_that_ray_ends_while_it_starts(tmp_path: Path, drive: Callable[[str], tuple[int, str]]) -> None:
    pid, errors = drive("os._exit(1)")
    assert gone(pid)
    [line] = errors.splitlines()
    assert line.startswith("rksearch: Ray on this machine died while it started; its logs are in ")
    assert line.endswith("resume it with `rksearch resume x`")
    history = Ledger(tmp_path / "run").read()
    assert (history.state, f"rksearch: {history.message}") == ("failed", line)
    assert list(tmp_path.glob(f"ray/session_*/{MARK}")), "the next session removes the directory"


def test_a_driver_that_is_killed(tmp_path: Path, drive: Callable[[str], tuple[int, str]]) -> None:
    pid, errors = drive("keeper.say(STARTED); os.kill(os.getpid(), signal.SIGKILL)")
    assert gone(pid)
    assert errors == ""
    assert Ledger(tmp_path / "run").read().state != "failed"


def test_a_driver_that_leaves_in_order_ends_its_ray_itself(drive: Callable[[str], tuple[int, str]]) -> None:
    pid, errors = drive("pass")
    try:
        assert errors == ""
        time.sleep(0.1)
        assert not gone(pid)
    finally:
        os.kill(pid, 9)
