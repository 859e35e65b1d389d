"""Signals in the first and in the last moments of a session."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rksearch.results.ledger import Ledger
from rksearch.search import driver
from rksearch.search.stopping import handlers_kept, stop_signals
from tests.helpers.command_line import TINY_SPACE, Answer

ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


def raised(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)
    for _ in range(500):  # another thread may have taken the signal: pause() would not end
        time.sleep(0.01)


def handlers() -> list[object]:
    return [signal.getsignal(number) for number in ENDING]


@pytest.mark.parametrize("number", ENDING)
def test_each_signal_is_answered_as_ctrl_c_and_handlers_are_put_back(number: signal.Signals) -> None:
    before = handlers()
    with pytest.raises(KeyboardInterrupt), stop_signals():
        raised(number)
    assert handlers() == before


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_signals():
            signal.raise_signal(signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_in_another_thread_nothing_changes() -> None:
    found: list[list[object]] = []

    def look() -> None:
        with stop_signals():
            found.append(handlers())

    before = handlers()
    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [before]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_before_ray_has_started_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Callable[..., Answer], number: signal.Signals
) -> None:
    def run_tasks(*args: object, **kwargs: object) -> None:
        raised(number)

    monkeypatch.setattr(driver, "run_tasks", run_tasks)
    (tmp_path / "tiny.yaml").write_text(TINY_SPACE)
    code, _, errors = answer("run", "--space", tmp_path / "tiny.yaml", "--out", tmp_path / "run")
    assert (code, errors.strip()) == (130, "rksearch: interrupted")
    assert Ledger(tmp_path / "run").read().state == "interrupted"


def test_handlers_that_a_library_replaces_are_set_again() -> None:
    with stop_signals():
        own = handlers()
        with handlers_kept():
            for number in ENDING:
                signal.signal(number, signal.SIG_DFL)
        assert handlers() == own
