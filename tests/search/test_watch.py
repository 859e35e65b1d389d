"""The watch over Ray's servers, with servers of the test's; and what is left of sessions."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

import pytest

from rksearch.search.ray import leftovers
from rksearch.search.ray.watch import EVERY_S, PATIENCE_S, STOP_PATIENCE_S, Watch, _answers
from rksearch.search.stopping import StopRequest, stop_signals
from rksearch.training.machine import machine_id


class ProcessEnds(Exception):
    """Stands for the end of this process."""


def last_words(reason: str | None) -> NoReturn:
    raise ProcessEnds(reason)


def test_a_server_that_misses_some_looks_is_alive_and_one_that_misses_all_has_died() -> None:
    answers = iter([True, False, False, True, False, False, False, True])
    stop = StopRequest()
    watch = Watch({"Ray's node service": lambda: next(answers)}, misses=3, stop=stop, last_words=last_words)
    for _ in range(6):
        watch.look()
    watch.require_alive()
    assert not stop.asked
    watch.look()
    assert watch.death() == "Ray's node service has died"
    assert stop.asked
    with pytest.raises(KeyboardInterrupt):
        watch.require_alive()


def test_a_main_thread_that_waits_is_interrupted() -> None:
    stop = StopRequest()
    watch = Watch({"a server": lambda: False}, misses=1, stop=stop, last_words=last_words)

    def work() -> None:
        with stop.at_work():
            watch.start()
            time.sleep(30)

    began = time.monotonic()
    with stop_signals(stop), pytest.raises(KeyboardInterrupt):
        work()
    watch.stop()
    assert time.monotonic() - began < 10
    assert watch.death() == "a server has died"


def test_a_main_thread_that_does_not_leave_ends_with_the_reason() -> None:
    watch = Watch({"a server": lambda: False}, misses=1, stop=StopRequest(), last_words=last_words)
    for _ in range(int(PATIENCE_S / EVERY_S)):
        watch.look()
    with pytest.raises(ProcessEnds, match="a server has died"):
        watch.look()


def test_a_signal_that_stays_unanswered_ends_the_process_as_an_interruption() -> None:
    stop = StopRequest()
    watch = Watch({"a server": lambda: True}, misses=1, stop=stop, last_words=last_words)
    watch.look()
    stop.asked = True
    for _ in range(int(STOP_PATIENCE_S / EVERY_S)):
        watch.look()
    with pytest.raises(ProcessEnds) as ended:
        watch.look()
    assert ended.value.args == (None,)


def test_a_server_answers_while_it_listens_also_when_it_is_suspended() -> None:
    code = "import socket, time; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True)"
    server = subprocess.Popen([sys.executable, "-c", f"{code}; time.sleep(60)"], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    answers = _answers(f"127.0.0.1:{int(server.stdout.readline())}")
    try:
        assert answers()
        os.kill(server.pid, signal.SIGSTOP)
        assert answers()
    finally:
        server.kill()
        server.wait()
    assert not answers()


# -- what is left


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    (tmp_path / "ray").mkdir()
    return tmp_path / "ray"


def session(temporary: Path, pid: int, *, marked: bool = True, machine: str | None = None) -> Path:
    directory = temporary / f"session_2026-01-31_12-00-00_000000_{pid}"
    (directory / "logs").mkdir(parents=True)
    if marked:
        (directory / leftovers.MARK).write_text(f"{pid} {machine or machine_id()}".strip())
    return directory


def worker_of(directory: Path) -> subprocess.Popen[bytes]:
    """A process that logs into a session, as all of Ray's do."""
    with (directory / "logs" / "worker.out").open("w") as log:
        return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], stdout=log)


def test_what_is_left_of_an_own_session_is_ended_and_removed(temporary: Path) -> None:
    mine, other = session(temporary, os.getpid()), session(temporary, 1)
    left, others = worker_of(mine), worker_of(other)
    reader = subprocess.Popen(["tail", "-f", str(mine / "logs" / "worker.out")], stdout=subprocess.DEVNULL)
    (temporary / "session_latest").symlink_to(mine)
    try:
        assert leftovers.processes_of([mine]) == [left.pid]
        leftovers.end_session(keep_logs=False)
        assert left.wait(timeout=5) in (0, -signal.SIGKILL)  # 0 where the function itself has collected it
        assert not mine.exists()
        assert not (temporary / "session_latest").is_symlink()
        assert others.poll() is None
        assert reader.poll() is None, "whoever reads a log is none of Ray's"
        assert other.exists()
    finally:
        for process in (left, others, reader):
            process.kill()
            process.wait()


def test_logs_of_a_ray_that_has_failed_stay(temporary: Path) -> None:
    mine = session(temporary, os.getpid())
    leftovers.end_session(keep_logs=True)
    assert mine.exists()


def test_sessions_of_drivers_that_were_killed_are_removed_and_others_stay(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leftovers, "_OLD_S", 0.0)
    driver = subprocess.Popen([sys.executable, "-c", "pass"])
    driver.wait()
    dead, of_another_program = session(temporary, driver.pid), session(temporary, driver.pid + 10**7, marked=False)
    alive = session(temporary, os.getpid())
    left = worker_of(dead)
    try:
        leftovers.clear_dead_sessions()
    finally:
        left.kill()
        left.wait()
    assert not dead.exists()
    assert of_another_program.exists()
    assert alive.exists()


@pytest.mark.parametrize("machine", ["0123456789abcdef", " "], ids=["another", "none, as earlier versions wrote it"])
def test_sessions_of_other_machines_stay_in_a_directory_that_several_share(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, machine: str
) -> None:
    """Process ids say nothing there: that of another machine's driver is free here, or is this process's own."""
    monkeypatch.setattr(leftovers, "_OLD_S", 0.0)
    driver = subprocess.Popen([sys.executable, "-c", "pass"])
    driver.wait()
    theirs = session(temporary, driver.pid, machine=machine)
    of_same_id = session(temporary, os.getpid(), machine=machine)
    ours = temporary / f"session_2026-01-31_11-00-00_000000_{os.getpid()}"
    ours.mkdir()
    leftovers.mark_session(os.getpid())
    assert leftovers.own_sessions() == [ours]
    assert (ours / leftovers.MARK).read_text() == f"{os.getpid()} {machine_id()}"
    leftovers.clear_dead_sessions()
    leftovers.end_session(keep_logs=False)
    assert theirs.exists()
    assert of_same_id.exists()
    assert not ours.exists()


def test_no_session_and_no_process_is_nothing_to_do(temporary: Path) -> None:
    assert leftovers.processes_of([]) == []
    leftovers.end_session(keep_logs=False)
    with socket.socket():
        leftovers.clear_dead_sessions()
