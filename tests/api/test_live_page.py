"""The page while a run goes: when it is written, and that its trouble is not the run's."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rksearch.api import live_page
from rksearch.api.live_page import EVERY_S, FIRST_S, SHARE, LivePage
from rksearch.results.ledger import Ledger
from tests.helpers.command_line import python
from tests.helpers.ledgers import begin, complete, trial


class Recorded:
    """A view that notes what it is asked to show."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def message(self, text: str) -> None:
        self.shown.append(text)

    def start(self, state: Any, slots: int) -> None:
        self.shown.append(f"start {slots}")

    def refresh(self) -> None:
        self.shown.append("refresh")

    def close(self) -> None:
        self.shown.append("close")


class Bench:
    """A live page with a clock that is set by hand, and processes that end when they are told to."""

    def __init__(self, tmp_path: Path) -> None:
        self.time_s = 0.0
        self.begun: list[Path] = []
        self.code: int | None = None
        self.said = ""
        self.stopped = 0
        self.view = Recorded()
        self.state: Any = SimpleNamespace(history=SimpleNamespace(trials={}))
        self.page = LivePage(self.view, tmp_path, clock=lambda: self.time_s, command=self.begin)

    def begin(self, directory: Path) -> Any:
        self.begun.append(directory)
        self.code = None
        return self

    def poll(self) -> int | None:
        return self.code

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        return "", self.said

    def terminate(self) -> None:
        self.stopped += 1

    def finished(self, number: int) -> None:
        self.state.history.trials = dict.fromkeys(range(number))

    def look(self, time_s: float) -> int:
        """Refresh at this time; the number of pages begun by then."""
        self.time_s = time_s
        self.page.refresh()
        return len(self.begun)


def test_pages_come_at_most_every_few_minutes_and_only_for_something_new(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.page.start(bench.state, 2)
    assert bench.look(FIRST_S + 1) == 0, "nothing has finished"
    bench.finished(1)
    assert bench.look(FIRST_S - 1) == 0
    assert bench.look(FIRST_S + 1) == 1
    assert bench.begun == [tmp_path]
    bench.finished(2)
    assert bench.look(FIRST_S + 2) == 1, "one at a time"
    bench.code = 0
    ended = FIRST_S + 3
    assert bench.look(ended) == 1
    assert bench.look(ended + EVERY_S - 1) == 1
    assert bench.look(ended + EVERY_S + 1) == 2
    bench.code = 0
    bench.look(ended + EVERY_S + 2)
    assert bench.look(ended + 3 * EVERY_S) == 2, "nothing new"
    assert bench.view.shown.count("refresh") == 8


def test_a_page_that_takes_long_comes_the_less_often(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.page.start(bench.state, 1)
    bench.finished(1)
    bench.look(FIRST_S + 1)
    bench.finished(2)
    took = 60.0
    bench.code = 0
    ended = FIRST_S + 1 + took
    bench.look(ended)
    assert took / SHARE > EVERY_S
    assert bench.look(ended + took / SHARE - 1) == 1
    assert bench.look(ended + took / SHARE + 1) == 2


def test_a_page_that_fails_is_said_once_and_not_tried_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.page.start(bench.state, 1)
    bench.finished(1)
    bench.look(FIRST_S + 1)
    bench.code, bench.said = 1, "a warning\nthe report must be writable\n"
    bench.look(FIRST_S + 2)
    bench.finished(9)
    assert bench.look(10 * EVERY_S) == 1
    said = [text for text in bench.view.shown if "page" in text]
    assert said == ["the page is not written while the run goes (the report must be writable); it is when the run ends"]


def test_a_process_that_cannot_begin_is_said_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    def refuse(directory: Path) -> Any:
        raise OSError(12, "Cannot allocate memory")

    page = LivePage(bench.view, tmp_path, clock=lambda: bench.time_s, command=refuse)
    page.start(bench.state, 1)
    bench.finished(1)
    bench.time_s = FIRST_S + 1
    page.refresh()
    page.refresh()
    assert [text for text in bench.view.shown if "Cannot allocate memory" in text] == [
        "the page is not written while the run goes (Cannot allocate memory); it is when the run ends"
    ]


def test_the_end_of_the_run_gives_up_a_page_that_is_being_written(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.page.start(bench.state, 1)
    bench.finished(1)
    bench.look(FIRST_S + 1)
    bench.page.close()
    bench.page.close()
    assert bench.stopped == 1
    assert bench.view.shown[-1] == "close"


def test_a_process_of_its_own_writes_the_page_of_a_run_that_goes_on(tmp_path: Path) -> None:
    ledger = begin(tmp_path)
    ledger.write_trial(trial("ResNet-8", role="baseline"), complete(30.0), wall_time_s=1.0)
    before = Ledger(tmp_path).path.read_bytes()
    done = python("-m", "rksearch.api.live_page", str(tmp_path))
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "report.html").read_text()
    assert "ResNet-8" in page
    assert Ledger(tmp_path).path.read_bytes() == before, "it only reads the ledger"
    nowhere = python("-m", "rksearch.api.live_page", str(tmp_path / "nowhere"))
    assert nowhere.returncode == 1
    assert len(nowhere.stderr.strip().splitlines()) == 1


def test_a_process_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_page, "STOP_S", 0.2)
    ignoring = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", ignoring], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "on\n"
    began = time.monotonic()
    live_page._stop(process)
    assert process.returncode not in (None, 0)
    assert time.monotonic() - began < 30
