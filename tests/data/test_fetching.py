"""Downloads of single files and files out of archives."""

from __future__ import annotations

import contextlib
import hashlib
import io
import sys
import tarfile
from pathlib import Path

import pytest

from rksearch.data import fetching
from rksearch.data.fetching import DownloadError, extract, fetch
from tests.helpers.web_server import serving


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


def test_a_file_is_downloaded_once(tmp_path: Path) -> None:
    content, requests = b"0123456789" * 10_000, list[str]()
    with serving(lambda _: content, requests) as host:
        for _ in range(2):
            fetch(f"{host}/file", tmp_path / "new" / "file", md5(content))
    assert (tmp_path / "new" / "file").read_bytes() == content
    assert requests == ["/file"]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file"]


def test_what_comes_is_checked_before_it_takes_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    with (
        serving(lambda _: b"other", []) as host,
        pytest.raises(DownloadError, match="checksum of the 5 bytes received is wrong"),
    ):
        fetch(f"{host}/file", tmp_path / "file", md5(b"wanted"))
    assert (tmp_path / "file").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/file", "/etc/passwd", ""])
def test_only_the_web_is_read(tmp_path: Path, url: str) -> None:
    with pytest.raises(DownloadError, match="begins with https:// or http://"):
        fetch(url, tmp_path / "file", md5(b""))


def test_progress_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(fetching, "PROGRESS_S", 0.0)
    content = bytes(600_000)
    with serving(lambda _: content, []) as host:
        fetch(f"{host}/file", tmp_path / "file", md5(content))
    first, *others = capsys.readouterr().err.splitlines()
    assert first == f"downloading {host}/file (0.6 MB) to {tmp_path / 'file'}"
    assert others[-1].startswith("  0.6 MB of 0.6 MB (100%), ")
    assert others[-1].endswith(" MB/s")


def test_a_terminal_that_has_closed_stops_no_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = Path("/dev/full").open("w")  # noqa: SIM115 - closing it fails
    monkeypatch.setattr(sys, "stderr", full)
    with serving(lambda _: b"abc", []) as host:
        fetch(f"{host}/file", tmp_path / "file", md5(b"abc"))
    monkeypatch.undo()
    with contextlib.suppress(OSError):
        full.close()
    assert (tmp_path / "file").read_bytes() == b"abc"


def archive(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for member, content in members:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def test_files_are_written_where_the_caller_says(tmp_path: Path) -> None:
    info = tarfile.TarInfo("folder/a")
    info.mode = 0o4777
    packed = archive(tmp_path / "a.tar.gz", (info, b"content"), (tarfile.TarInfo("folder/b"), b"not wanted"))
    extract(packed, {"folder/a": tmp_path / "out" / "x"})
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["x"]
    assert (tmp_path / "out" / "x").read_bytes() == b"content"
    assert (tmp_path / "out" / "x").stat().st_mode & 0o7000 == 0


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE])
def test_what_is_no_ordinary_file_is_refused(tmp_path: Path, kind: bytes) -> None:
    info = tarfile.TarInfo("a")
    info.type, info.linkname = kind, "/etc/passwd"
    with pytest.raises(DownloadError, match=r"a of a\.tar\.gz is no ordinary file"):
        extract(archive(tmp_path / "a.tar.gz", (info, b"")), {"a": tmp_path / "x"})
    assert not (tmp_path / "x").exists()


def test_a_file_that_is_not_in_the_archive(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="has no b"):
        extract(archive(tmp_path / "a.tar.gz", (tarfile.TarInfo("a"), b"")), {"b": tmp_path / "x"})
