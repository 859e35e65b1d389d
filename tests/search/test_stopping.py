"""Signals in the first and in the last moments of a session, and while its work is under way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rksearch.results.ledger import Ledger
from rksearch.search import driver
from rksearch.search.stopping import ENDING, StopRequest, kept_from_children, stop_signals
from tests.helpers.command_line import TINY_SPACE, Answer


def raised(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)
    for _ in range(500):  # another thread may have taken the signal: pause() would not end
        time.sleep(0.01)


def handlers() -> list[object]:
    return [signal.getsignal(number) for number in ENDING]


@pytest.mark.parametrize("number", ENDING)
def test_each_signal_is_answered_as_ctrl_c_and_handlers_are_put_back(number: signal.Signals) -> None:
    before = handlers()
    with pytest.raises(KeyboardInterrupt), stop_signals(StopRequest()):
        raised(number)
    assert handlers() == before


@pytest.mark.parametrize("number", ENDING)
def test_while_work_is_under_way_the_first_signal_is_noted_and_the_second_interrupts(number: signal.Signals) -> None:
    request = StopRequest()
    seen = []

    def work() -> None:
        with request.at_work():
            signal.raise_signal(number)
            seen.append(request.asked)
            raised(number)

    with stop_signals(request), pytest.raises(KeyboardInterrupt):
        work()
    assert seen == [True]


def test_work_does_not_begin_after_a_signal() -> None:
    request = StopRequest()
    with stop_signals(request):
        with pytest.raises(KeyboardInterrupt):
            raised(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt), request.at_work():
            pass


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_that_is_ignored_stays_ignored_whatever_a_library_does(number: signal.Signals) -> None:
    before = signal.signal(number, signal.SIG_IGN)
    try:
        request = StopRequest()
        with stop_signals(request):
            signal.raise_signal(number)
            signal.signal(number, lambda *args: None)  # as Ray and Tune do when they start
            request.take_back()
            assert signal.getsignal(number) is signal.SIG_IGN
            other = next(one for one in ENDING if one != number)
            with pytest.raises(KeyboardInterrupt):
                raised(other)  # also where it is SIGINT that is ignored, as in the background of a script
    finally:
        signal.signal(number, before)


def test_handlers_that_a_library_has_replaced_are_taken_back() -> None:
    request = StopRequest()
    with stop_signals(request):
        signal.signal(signal.SIGTERM, lambda *args: sys.exit(1))
        request.take_back()
        with pytest.raises(KeyboardInterrupt):
            raised(signal.SIGTERM)


def test_in_another_thread_nothing_changes() -> None:
    found: list[list[object]] = []

    def look() -> None:
        with stop_signals(StopRequest()), kept_from_children():
            found.append(handlers())

    before = handlers()
    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [before]


def test_children_outlive_a_signal_that_this_process_answers_at_once() -> None:
    code = "import time; print('up', flush=True); time.sleep(60)"
    children = []

    def start() -> None:
        with kept_from_children():
            child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
            children.append(child)
            assert child.stdout is not None
            child.stdout.readline()
            os.kill(child.pid, signal.SIGTERM)
            raised(signal.SIGTERM)

    with stop_signals(StopRequest()):
        with pytest.raises(KeyboardInterrupt):
            start()
        (child,) = children
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(timeout=0.3)
        child.kill()
        assert child.wait(timeout=10) == -signal.SIGKILL
        other = subprocess.Popen([sys.executable, "-c", code])
        other.terminate()
        assert other.wait(timeout=10) == -signal.SIGTERM, "later children are as usual"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
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
