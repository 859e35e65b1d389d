"""Files that survive crashes and are shared between processes: locks, durable names, and names that are taken."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rksearch.errors import RksearchError, TakenError, without_credentials
from rksearch.ordinary import force, open_ordinary

_POLL_S = 0.05

NAME_BYTES = 200
"""Longest name of a file or directory that is made from a longer text; file systems take 255 bytes."""


def file_name(text: str) -> str:
    """A name for the file or directory of `text`: the text, or its beginning and a hash where it is too long."""
    encoded = text.encode()
    if len(encoded) <= NAME_BYTES:
        return text
    digest = hashlib.sha256(encoded).hexdigest()[:16]
    return f"{encoded[: NAME_BYTES - len(digest) - 1].decode(errors='ignore')}-{digest}"


WITHOUT_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)
"""Errors of file systems that have no locks, as some that clusters mount."""


@contextmanager
def file_lock(
    path: Path, *, wait_s: float, busy: RksearchError, unusable: Callable[[OSError], RksearchError]
) -> Iterator[None]:
    """Hold the exclusive lock `path` (created when missing, left behind empty) for the length of a `with` block.

    The system releases it when its holder ends, for whatever reason. On a file system without locks nothing is held.

    Args:
        path: the lock file; its directory must exist.
        wait_s: longest wait for another holder, in seconds.
        busy: error to raise when the lock is still held after that.
        unusable: makes the error to raise when the file cannot be created or written.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise unusable(error) from None
    try:
        deadline = time.monotonic() + wait_s
        while not take_lock(handle, wait=False):
            if time.monotonic() >= deadline:
                raise busy
            time.sleep(_POLL_S)
        yield
    finally:
        os.close(handle)  # releases the lock


def take_lock(handle: int, *, wait: bool, shared: bool = False) -> bool:
    """Take the lock of an open file; False where another one holds it and `wait` is off.

    A `shared` lock keeps out exclusive ones alone.

    Raises:
        OSError: the file cannot be locked, for a reason other than that its file system has no locks.
    """
    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in WITHOUT_LOCKS:
            raise
    return True


def is_locked(path: Path) -> bool:
    """Whether some process holds the lock `path` now; a directory that may only be read is no obstacle."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a named pipe is not waited for
    except OSError:
        return False
    try:
        # Network file systems refuse an exclusive lock of a file that is open for reading alone.
        return not take_lock(handle, wait=False, shared=True)
    finally:
        os.close(handle)


def sync_directory(directory: Path) -> None:
    """Make the names of new and renamed files in this directory durable."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        force(handle)
    finally:
        os.close(handle)


def write_traceback(path: Path, error: BaseException) -> None:
    """Write the traceback of an exception, without passwords in addresses; bytes that are no UTF-8 stand as codes.

    Raises:
        OSError: it cannot be written.
    """
    text = without_credentials("".join(traceback.format_exception(error)))
    path.write_text(text, encoding="utf-8", errors="backslashreplace")


def begins_with(path: Path, mark: bytes) -> bool:
    """Whether an ordinary file begins with a mark, or is empty."""
    try:
        with open_ordinary(path, sys.maxsize) as file:
            return file.read(len(mark)) in (b"", mark)
    except OSError:
        return False


def require_free(paths: Iterable[Path], what: str) -> None:
    """Make sure that nothing stands where files are to be written for the first time.

    Args:
        paths: the files.
        what: what would stand there, with its article.

    Raises:
        TakenError: something stands there.
    """
    for path in paths:
        if os.path.exists(path):  # False, too, for a name that is too long
            raise TakenError(
                f"rksearch replaces only what it wrote itself, but {path} stands where {what} would; choose another "
                "directory, or move that file"
            )


def size_text(size: int) -> str:
    """Bytes in words: `350 kB`, `1.2 GB`."""
    value, units = float(size), iter(("kB", "MB", "GB", "TB"))
    unit = next(units)
    value /= 1000
    for larger in units:
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.0f} {unit}" if value >= 10 else f"{value:.1f} {unit}"
