"""Downloads of single files, shown with their progress and checked before they count, and files out of archives."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sys
import tarfile
import threading
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path

CONNECTION_TIMEOUT_S = 60.0
"""Silence of the server after which a download is abandoned."""

PROGRESS_S = 10.0
"""Time between two lines of progress."""

_CHUNK_BYTES = 2**18


class DownloadError(OSError):
    """A download that has ended and is not what was expected."""


def is_intact(path: Path, md5: str) -> bool:
    """Whether a file is there and has this MD5.

    Raises:
        OSError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest() == md5
    except FileNotFoundError:
        return False


def fetch(url: str, path: Path, md5: str) -> None:
    """Download a file, unless it is there and intact. It takes its name once its checksum is right.

    Where it comes from, where it goes and how far it is are shown on standard error.

    Raises:
        OSError: the server or the disk refuses.
        DownloadError: the address is none of the web, or the checksum is wrong.
    """
    if is_intact(path, md5):
        return
    if not url.startswith(("https://", "http://")):
        raise DownloadError(f"an address begins with https:// or http://, but got {url}")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = _beside(path)
    request = urllib.request.Request(url, headers={"User-Agent": "rksearch"})  # noqa: S310 - of the web, see above
    digest = hashlib.md5(usedforsecurity=False)
    try:
        with (
            urllib.request.urlopen(request, timeout=CONNECTION_TIMEOUT_S) as response,  # noqa: S310
            part.open("wb") as file,
        ):
            progress = _Progress(url, path, response.length)
            while chunk := response.read(_CHUNK_BYTES):
                file.write(chunk)
                digest.update(chunk)
                progress.add(len(chunk))
        if digest.hexdigest() != md5:
            raise DownloadError(f"the checksum of the {progress.received:,} bytes received is wrong")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def extract(archive: Path, wanted: Mapping[str, Path]) -> None:
    """Write ordinary files of a tar archive.

    Only the names asked for are looked up, and each is written where the caller says: paths, links, owners and modes
    in the archive decide nothing.

    Args:
        archive: the archive.
        wanted: where each file goes, by its name in the archive.

    Raises:
        DownloadError: the archive lacks a file, or holds something else under its name.
        OSError, tarfile.TarError, EOFError, zlib.error: it cannot be read, or a file cannot be written.
    """
    with tarfile.open(archive) as tar:
        for name, path in wanted.items():
            try:
                member = tar.getmember(name)
            except KeyError:
                raise DownloadError(f"{archive.name} has no {name}") from None
            source = tar.extractfile(member) if member.isreg() else None
            if source is None:
                raise DownloadError(f"{name} of {archive.name} is no ordinary file")
            path.parent.mkdir(parents=True, exist_ok=True)
            part = _beside(path)
            try:
                with source, part.open("wb") as file:
                    shutil.copyfileobj(source, file)
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    """A name for a file that is being written, of this process alone: not all file systems have locks."""
    return path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.part")


class _Progress:
    """Lines on standard error about a download; one that cannot be written is left out."""

    def __init__(self, url: str, path: Path, total: int | None) -> None:
        self.received = 0
        self._total = total
        self._began_s = self._shown_s = time.monotonic()
        size = f" ({_megabytes(total)})" if total else ""
        self._show(f"downloading {url}{size} to {path}")

    def add(self, count: int) -> None:
        """Count bytes; show how far the download is once in a while, and at its end."""
        self.received += count
        now = time.monotonic()
        if now - self._shown_s >= PROGRESS_S:
            self._shown_s = now
            whole = f" of {_megabytes(self._total)} ({self.received / self._total:.0%})" if self._total else ""
            rate = _megabytes(self.received / (now - self._began_s))
            self._show(f"  {_megabytes(self.received)}{whole}, {rate}/s")

    def _show(self, line: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # a closed terminal or pipe
            print(line, file=sys.stderr, flush=True)


def _megabytes(count: float) -> str:
    return f"{count / 1e6:,.1f} MB"
