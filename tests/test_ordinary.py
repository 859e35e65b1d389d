"""Ordinary files are read; pipes, devices, directories and what is too large are refused at once."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rksearch.ordinary import open_ordinary, read_ordinary


@given(content=st.binary(max_size=200), most=st.integers(0, 250))
def test_a_file_within_its_limit_is_read_whole(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, most: int
) -> None:
    path = tmp_path_factory.mktemp("files") / "file"
    path.write_bytes(content)
    if len(content) <= most:
        assert read_ordinary(path, most) == content
    else:
        with pytest.raises(OSError, match=rf"it has {len(content)} bytes, and at most {most} are read"):
            read_ordinary(path, most)


def test_a_link_to_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("file")
    assert read_ordinary(tmp_path / "link", 3) == b"abc"


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null", "/dev/urandom"])
def test_a_device_is_refused(device: str, tmp_path: Path) -> None:
    for path in (Path(device), tmp_path / "link"):
        if not path.exists():
            path.symlink_to(device)
        with pytest.raises(OSError, match="must be an ordinary file, but is a device"):
            read_ordinary(path, 10**9)


def test_a_named_pipe_without_a_writer_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="must be an ordinary file, but is a pipe"):
        read_ordinary(tmp_path / "pipe", 10)


def test_directories_and_sockets_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(IsADirectoryError):
        read_ordinary(tmp_path, 10)
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as own:
        own.bind("socket")
        with pytest.raises(OSError, match="socket"):
            read_ordinary(tmp_path / "socket", 10)


def test_a_limit_of_absurd_size_takes_no_memory(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    assert read_ordinary(tmp_path / "file", 2**62) == b"abc"


def test_a_file_of_absurd_size_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(10**13)
    with pytest.raises(OSError, match=r"it has 10,000,000,000,000 bytes"), open_ordinary(tmp_path / "sparse", 10**9):
        pass
