import multiprocessing
import os
import signal
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from rksearch.errors import RunError
from rksearch.results.files import file_lock


def hold(path: Path, ready: Connection) -> None:
    with file_lock(path, wait_s=5, busy=RunError("busy")):
        ready.send("held")
        time.sleep(60)


def test_the_lock_of_a_killed_process_is_free_at_once_and_of_a_living_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    holder = context.Process(target=hold, args=(path, there))
    holder.start()
    try:
        assert here.recv() == "held"
        with pytest.raises(RunError, match="busy"), file_lock(path, wait_s=0.2, busy=RunError("busy")):
            pass
    finally:
        assert holder.pid is not None
        os.kill(holder.pid, signal.SIGKILL)
        holder.join()
    with file_lock(path, wait_s=1, busy=RunError("busy")):
        pass


def test_the_lock_is_released_after_an_exception(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with pytest.raises(ValueError, match="inside"), file_lock(path, wait_s=0, busy=RunError("busy")):
        raise ValueError("inside")
    with file_lock(path, wait_s=0, busy=RunError("busy")):
        pass
