"""Ordinary files, opened without waiting: devices, pipes and files of absurd size are refused before they are read."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_KINDS = {
    stat.S_IFIFO: "a pipe, whose content can be read only once; write it to a file first",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


@contextmanager
def open_ordinary(path: Path, most_bytes: int) -> Iterator[BinaryIO]:
    """An ordinary file, open for reading in a `with` block.

    Raises:
        OSError: it cannot be opened, is a directory, a device, a pipe or a socket (a named pipe is not waited for), or
            has more than `most_bytes`; `strerror` says which.
    """
    # Without O_NONBLOCK, opening a named pipe waits for a writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        state = os.fstat(descriptor)
        if stat.S_ISDIR(state.st_mode):
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(state.st_mode):
            kind = _KINDS.get(stat.S_IFMT(state.st_mode), "none")
            raise OSError(errno.EINVAL, f"it must be an ordinary file, but is {kind}", str(path))
        if state.st_size > most_bytes:
            raise OSError(
                errno.EFBIG, f"it has {state.st_size:,} bytes, and at most {most_bytes:,} are read", str(path)
            )
        yield file


def read_ordinary(path: Path, most_bytes: int) -> bytes:
    """The content of an ordinary file.

    Raises:
        OSError: as `open_ordinary`; also where the file grows meanwhile.
    """
    with open_ordinary(path, most_bytes) as file:
        # Not `most_bytes`, which may be of any size: that much room would be made first.
        size = os.fstat(file.fileno()).st_size
        content = file.read(size + 1)
    if len(content) > size:
        raise OSError(errno.EBUSY, "it grows while it is read", str(path))
    return content


def is_text(path: str) -> bool:
    """Whether a path is of UTF-8, so that records and pages can name it; Python has surrogates for other bytes."""
    return not any("\ud800" <= char <= "\udfff" for char in path)
