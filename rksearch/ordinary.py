"""Ordinary files, opened without waiting: devices, pipes and files of absurd size are refused before they are read.

And their replacement, whole or not at all, and what makes a path usable: a home directory that is known, and a name of
UTF-8.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from rksearch.errors import RksearchError

_KINDS = {
    stat.S_IFIFO: "a pipe, whose content can be read only once; write it to a file first",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


PIECE_BYTES = 1 << 20


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
        OSError: as `open_ordinary`; also where the file grows beyond `most_bytes` meanwhile.
    """
    with open_ordinary(path, most_bytes) as file:
        content = bytearray()
        # In pieces, because Python reserves all that is asked for.
        while piece := file.read(min(PIECE_BYTES, most_bytes + 1 - len(content))):
            content += piece
        if len(content) > most_bytes:
            raise OSError(errno.EFBIG, f"at most {most_bytes:,} bytes are read, and it grows", str(path))
    return bytes(content)


def read_json(path: Path, most_bytes: int) -> Any:
    """The value in an ordinary file of JSON; None where there is none that can be read."""
    try:
        return json.loads(read_ordinary(path, most_bytes))
    except (OSError, ValueError, RecursionError):
        return None


WITHOUT_SYNC = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
"""Errors of file systems, and of directories of some, that cannot be forced to the disk."""


def force(handle: int) -> None:
    """Wait until the disk has what was written to an open file or directory; not where a file system cannot say.

    Raises:
        OSError: the disk refuses.
    """
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in WITHOUT_SYNC:
            raise


def unfinished(path: Path) -> Path:
    """Where this thread writes a file that gets its name when it is whole, so that no other thread takes it away."""
    return path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file so that readers, and a crash, find either the old content or the new, whole.

    Raises:
        OSError: it cannot be written; the old file is then untouched.
    """
    write_together({path: content})


def write_together(files: Mapping[Path, bytes | None]) -> None:
    """Replace files that belong together: each as `write_atomically` does, and none before the disk has all of them.

    Args:
        files: contents by path, in the order in which they appear; None for a file that goes.

    Raises:
        OSError: one cannot be written; the old files are then untouched.
    """
    new = {path: unfinished(path) for path, content in files.items() if content is not None}
    try:
        for path, temporary in new.items():
            with temporary.open("wb") as file:
                file.write(files[path] or b"")
                file.flush()
                force(file.fileno())
        for path in files:
            if path in new:
                new[path].replace(path)
            else:
                path.unlink(missing_ok=True)
    finally:
        for temporary in new.values():
            temporary.unlink(missing_ok=True)


def expanded(path: str | Path, refused: type[RksearchError]) -> Path:
    """The path with the home directory in place of a `~` or `~user` at its start.

    Args:
        path: as the user wrote it.
        refused: class of the error to raise, made from its message alone.

    Raises:
        RksearchError: of that class; there is no such user, or the user has no home directory.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise refused(
            f"a ~ at the start of a path must stand for a known home directory, but got {str(path)!r}; write the whole "
            "path"
        ) from None


def absence(path: Path) -> str:
    """Why nothing is found at a path, in words: `is missing`, or `cannot be reached (Permission denied)`."""
    try:
        os.stat(path)
    except OSError as error:
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            return f"cannot be reached ({error.strerror})"
    return "is missing"


def no_file(path: Path) -> str:
    """Why there is no file at a path, in words: as `absence`, or `is a folder`, or `is a pipe or a device`."""
    if os.path.isdir(path):
        return "is a folder"
    return "is a pipe or a device" if os.path.exists(path) else absence(path)


def is_text(path: str) -> bool:
    """Whether a path is of UTF-8, so that records and pages can name it; Python has surrogates for other bytes."""
    return not any("\ud800" <= char <= "\udfff" for char in path)


def legible(text: str) -> str:
    """A text as one line of printable characters: in quotes, with codes, where it holds others."""
    return text if text.isprintable() else repr(text)
