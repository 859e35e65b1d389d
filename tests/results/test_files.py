import errno
import fcntl
import multiprocessing
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rksearch.errors import RunError
from rksearch.ordinary import write_atomically
from rksearch.results.files import NAME_BYTES, file_lock, file_name, is_locked


def unusable(error: OSError) -> RunError:
    return RunError(f"{error.filename} is not ({error.strerror})")


def hold(path: Path, ready: Connection) -> None:
    with file_lock(path, wait_s=5, busy=RunError("busy"), unusable=unusable):
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
        with (
            pytest.raises(RunError, match="busy"),
            file_lock(path, wait_s=0.2, busy=RunError("busy"), unusable=unusable),
        ):
            pass
    finally:
        assert holder.pid is not None
        os.kill(holder.pid, signal.SIGKILL)
        holder.join()
    with file_lock(path, wait_s=1, busy=RunError("busy"), unusable=unusable):
        pass


def test_the_lock_is_released_after_an_exception(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with pytest.raises(ValueError, match="inside"), file_lock(path, wait_s=0, busy=RunError("busy"), unusable=unusable):
        raise ValueError("inside")
    with file_lock(path, wait_s=0, busy=RunError("busy"), unusable=unusable):
        pass


def test_a_lock_that_cannot_be_opened_is_the_caller_s_error(tmp_path: Path) -> None:
    with (
        pytest.raises(RunError, match=rf"{tmp_path} is not \(Is a directory\)"),
        file_lock(tmp_path, wait_s=0, busy=RunError("busy"), unusable=unusable),
    ):
        pass


def test_a_lock_is_seen_where_reading_gives_no_exclusive_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, flock = tmp_path / "lock", fcntl.flock

    def as_on_a_network(handle: int, operation: int) -> None:
        if operation & fcntl.LOCK_EX and fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        flock(handle, operation)

    monkeypatch.setattr(fcntl, "flock", as_on_a_network)
    with file_lock(lock, wait_s=0, busy=RunError("busy"), unusable=unusable):
        assert is_locked(lock)
    assert not is_locked(lock)


def test_several_may_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    contents = [bytes([65 + number]) * 10_000 for number in range(8)]

    def write(content: bytes) -> None:
        for _ in range(10):
            write_atomically(path, content)
            assert path.read_bytes() in contents

    with ThreadPoolExecutor(len(contents)) as pool:
        list(pool.map(write, contents))
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=write, args=(content,)) for content in contents[:4]]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 4
    assert list(tmp_path.iterdir()) == [path]


@given(st.text(alphabet="abcé🦊-_@0", max_size=400))
def test_a_name_of_a_file_is_short_and_the_text_itself_where_it_can_be(text: str) -> None:
    found = file_name(text)
    size = len(text.encode())
    assert len(found.encode()) <= NAME_BYTES
    assert (found == text) == (size <= NAME_BYTES)
    assert file_name(text + "x" * NAME_BYTES) != file_name(text + "y" + "x" * NAME_BYTES)
