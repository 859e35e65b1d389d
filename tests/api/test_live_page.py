"""The report of a run that goes on, written by a process of its own."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from rksearch.api import live_page
from rksearch.api.live_page import PageWriter
from rksearch.errors import RunError
from rksearch.results.history import History
from rksearch.results.ledger import Ledger
from tests.helpers.ledgers import begin, complete, trial
from tests.helpers.processes import still_running


def running(path: Path) -> Ledger:
    """A run that has trained one baseline and goes on."""
    ledger = begin(path)
    ledger.write_trial(trial("ResNet-8", role="baseline"), complete(30.0), wall_time_s=1.0)
    return ledger


def child(code: str, **options: Any) -> Any:
    """A function that begins a process which runs this code."""
    return lambda directory: subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def test_a_process_of_its_own_writes_the_report_of_the_ledger_and_leaves_that_alone(tmp_path: Path) -> None:
    ledger = running(tmp_path)
    before = ledger.path.read_bytes()
    PageWriter(tmp_path)(History())
    assert "ResNet-8" in (tmp_path / "report.html").read_text()
    assert ledger.path.read_bytes() == before


def test_a_page_that_is_given_up_while_a_file_is_written_leaves_no_part_of_it(tmp_path: Path) -> None:
    running(tmp_path)
    code = (
        "import os, signal, sys; from rksearch import ordinary; from rksearch.api import live_page; "
        "ordinary.force = lambda handle: os.kill(os.getpid(), signal.SIGTERM); "
        f"sys.argv = ['', {str(tmp_path)!r}, str(os.getppid())]; live_page.main()"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 1
    assert [path.name for path in tmp_path.iterdir()] == ["ledger.jsonl"]


@pytest.mark.parametrize("at_once", [True, False])
def test_a_page_is_given_up_when_its_driver_is_killed(tmp_path: Path, at_once: bool) -> None:
    """It would replace the report of a session that has resumed the run meanwhile."""
    running(tmp_path)
    ready = tmp_path / "ready"
    page = (
        "import pathlib, sys, time; from rksearch.api import directory, live_page; "
        f"directory.Run.write_report = lambda run: (pathlib.Path({str(ready)!r}).touch(), time.sleep(60)); "
        "live_page.main()"
    )
    driver = (
        "import os, pathlib, signal, subprocess, sys, time; from rksearch.api import live_page\n"
        f"live_page.own_python = lambda *words: [sys.executable, '-c', {page!r}, *words[2:]]\n"
        f"print(live_page._begin(pathlib.Path({str(tmp_path)!r})).pid, flush=True)\n"
        f"while not ({at_once} or pathlib.Path({str(ready)!r}).exists()): time.sleep(0.05)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", driver], capture_output=True, text=True, check=False, timeout=40)
    assert done.returncode == -9
    assert still_running([int(done.stdout)]) == []  # it would take a minute


def test_what_it_cannot_write_is_an_error_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(
        RunError, match=r"under way could not be written \(a run directory holds .*; it is written when"
    ):
        PageWriter(tmp_path)(History())
    with pytest.raises(RunError, match=r"\(exit code 7\)"):
        PageWriter(tmp_path, child("import os; os._exit(7)"))(History())


def test_a_process_that_cannot_begin_is_an_error_with_its_reason(tmp_path: Path) -> None:
    def refuse(directory: Path) -> Any:
        raise OSError(12, "Cannot allocate memory")

    with pytest.raises(RunError, match=r"\(Cannot allocate memory\)"):
        PageWriter(tmp_path, refuse)(History())


@pytest.mark.parametrize("deaf", [False, True])
def test_a_page_that_is_given_up_ends_soon_and_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deaf: bool
) -> None:
    monkeypatch.setattr(live_page, "STOP_S", 0.3)
    ready = tmp_path / "ready"
    ignore = "signal.signal(signal.SIGTERM, signal.SIG_IGN); " if deaf else ""
    code = f"import signal, time, pathlib; {ignore}pathlib.Path({str(ready)!r}).touch(); time.sleep(60)"
    writer = PageWriter(tmp_path, child(code))
    failures: list[BaseException] = []

    def write() -> None:
        try:
            writer(History())
        except RunError as error:
            failures.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    began = time.monotonic()
    while not ready.exists() and time.monotonic() - began < 30:
        time.sleep(0.02)
    writer.stop()
    thread.join(timeout=30)
    assert not thread.is_alive()
    assert failures == []
    writer.stop()


def test_nothing_is_written_after_that_not_even_what_was_about_to_begin(tmp_path: Path) -> None:
    begun: list[Path] = []

    def begin_late(directory: Path) -> Any:
        begun.append(directory)
        writer.stop()  # as another thread would, in between
        return child("import time; time.sleep(60)")(directory)

    writer = PageWriter(tmp_path, begin_late)
    began = time.monotonic()
    writer(History())
    assert time.monotonic() - began < 30
    writer(History())
    assert begun == [tmp_path]
