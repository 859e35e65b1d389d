"""What would keep Ray from starting is one line before it starts."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from rksearch.errors import RunAborted
from rksearch.search.ray.starting import LONGEST_SOCKET, SESSION, require_answer, require_temporary_directory


def test_an_address_with_nothing_behind_it_is_one_line_in_seconds() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody answers
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for unreachable in ("ray://127.0.0.1:1", address, "nowhere.invalid:1", "127.0.0.1:99999999"):
            began = time.monotonic()
            with pytest.raises(RunAborted, match=f"the Ray cluster at {unreachable} must be reachable") as error:
                require_answer(unreachable)
            assert time.monotonic() - began < 15
            assert "\n" not in str(error.value)


def test_a_client_s_address_without_a_port_is_one_line() -> None:
    for address in ("ray://", "ray://host", "ray://host:port"):
        with pytest.raises(RunAborted, match="must have a host and a port") as error:
            require_answer(address)
        assert error.value.exit_code == 2


def test_what_answers_and_what_ray_judges_passes() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        for scheme in ("", "ray://"):
            require_answer(f"{scheme}127.0.0.1:{listening.getsockname()[1]}")
    require_answer("auto")


def test_a_temporary_directory_as_long_as_sockets_allow_passes_and_a_longer_one_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    room = LONGEST_SOCKET - len(SESSION.format(pid=os.getpid()))
    base = Path("/tmp") / ("r" * (room - 5))
    monkeypatch.setenv("RAY_TMPDIR", str(base))
    require_temporary_directory()
    base.rmdir()
    monkeypatch.setenv("RAY_TMPDIR", f"{base}r")
    with pytest.raises(RunAborted, match=f"at most {room} bytes, but {base}r"):
        require_temporary_directory()


def test_a_temporary_directory_that_is_a_file_or_full_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    from rksearch.search.ray import starting

    file = Path("/tmp") / f"f{os.getpid()}"
    file.write_text("")
    try:
        monkeypatch.setenv("RAY_TMPDIR", str(file))
        with pytest.raises(RunAborted, match=r"is not \(File exists\); set RAY_TMPDIR"):
            require_temporary_directory()
    finally:
        file.unlink()
    monkeypatch.delenv("RAY_TMPDIR")
    monkeypatch.setenv("TMPDIR", "/tmp")
    monkeypatch.setattr(starting, "ROOM_BYTES", 2**62)
    with pytest.raises(RunAborted, match=r"/tmp \(TMPDIR\) has"):
        require_temporary_directory()
