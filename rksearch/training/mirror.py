"""Copies of checkpoints beyond this machine, for trials that are resumed elsewhere when a machine is lost.

Addresses are those that pyarrow knows, as for Ray's own storage: `s3://`, `gs://`, `abfs://`, `hdfs://`, `file://`, a
path, and those of fsspec as `fsspec+...://`. Each epoch has one file, named after it, which is never written again; so
nothing depends on the order in which a store makes changes visible.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rksearch.errors import RunError, StorageError, without_credentials
from rksearch.results.processes import child_environment, own_python

if TYPE_CHECKING:
    from pyarrow.fs import FileInfo

KEPT = 2
"""Number of copies that are kept: the newest, and the one before it as a fallback. So many unusable ones are, too."""

UNUSABLE = ".unusable"
"""End of the names of copies that are set aside."""

_COPY = re.compile(r"checkpoint-(\d{6})\.pt(\.tmp-\w+)?")

ANSWER_S = 15.0
"""Longest time of the check before a run, in seconds."""

_WHOLE_OBJECTS = ("s3", "gcs", "abfs")
"""Stores that show an object only when it is whole, and in which a rename is a copy."""


def require_storage(address: str) -> None:
    """Write a file at the address and remove it, as a check before a run.

    Raises:
        RunError: the address is not understood, or is a path at which no directory can be.
        StorageError: nothing can be written there, or removed, or it does not answer.
    """
    if "://" not in address or address.startswith("file:") or not _checked_in_time(address):
        _check(address)


def _checked_in_time(address: str) -> bool:
    """Whether another process could write at the address; where it could not, the reason is found in this one.

    A store that says nothing keeps its client for minutes in code that no signal interrupts and that outlives every
    thread, since it is waited for at the end of a process.

    Raises:
        StorageError: it does not answer.
    """
    code = "import sys; from rksearch.training.mirror import _check; _check(sys.argv[1])"
    try:
        done = subprocess.run(  # noqa: S603 - this interpreter and the code above
            own_python("-c", code, address),
            env=child_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=ANSWER_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise StorageError(
            f"the storage must be reachable, but {without_credentials(address)} did not answer within {ANSWER_S:.0f} s;"
            " check --storage and the network, then resume: what is finished is kept"
        ) from None
    return done.returncode == 0


def _check(address: str) -> None:
    try:
        place = Mirror(address)
    except StorageError as error:
        raise RunError(str(error)) from error
    if place.local_path is not None and (why := _no_directory(place.local_path)):
        raise RunError(
            f"the storage must be a directory, or a path at which one can be made, but {why}; correct --storage"
        )
    place.put(0, b"whether this can be written")
    place.remove(0)


class Mirror:
    """Directory of a storage with copies of one trial's checkpoints, by epoch.

    Args:
        address: URI or absolute path of the directory; it is made by the first `put`.

    Raises:
        StorageError: the address is not understood.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        with self._reached("understood"):
            from pyarrow.fs import FileSystem

            self._fs, path = FileSystem.from_uri(address)
            self._path: str = path.rstrip("/")

    @property
    def local_path(self) -> str | None:
        """Path of the directory on this machine; None for any other storage."""
        return self._path if self._fs.type_name == "local" else None

    def put(self, epoch: int, content: bytes | memoryview) -> None:
        """Copy the checkpoint after `epoch`, and remove those that are older than the one before it.

        Raises:
            StorageError: it cannot be written; older copies are then still there.
        """
        final = self._file(epoch)
        with self._reached("written to"):
            self._fs.create_dir(self._path, recursive=True)
            whole = self._fs.type_name in _WHOLE_OBJECTS
            target = final if whole else f"{final}.tmp-{uuid.uuid4().hex}"
            with self._fs.open_output_stream(target, compression=None) as stream:
                stream.write(content)
            if not whole:
                self._fs.move(target, final)
            names = self._names()
            obsolete = set(sorted({e for e, name in names if e <= epoch}, reverse=True)[KEPT:])
            for old, name in names:
                if old in obsolete:
                    self._delete(name)

    def epochs(self) -> list[int]:
        """Epochs of which there are copies, newest first.

        Raises:
            StorageError: the storage cannot be read.
        """
        with self._reached("read"):
            return sorted((epoch for epoch, name in self._names() if ".tmp-" not in name), reverse=True)

    def get(self, epoch: int) -> bytes | None:
        """The copy after `epoch`; None when it was removed since it was listed.

        Raises:
            StorageError: the storage cannot be read.
        """
        with self._reached("read"):
            try:
                with self._fs.open_input_stream(self._file(epoch), compression=None) as stream:
                    return bytes(stream.read())
            except FileNotFoundError:
                return None

    def set_aside(self, epoch: int) -> None:
        """Rename the unusable copy after `epoch`, so that it is kept but no longer found; the last two stay.

        Raises:
            StorageError: it cannot be renamed.
        """
        with self._reached("written to"):
            self._fs.move(self._file(epoch), self._file(epoch) + UNUSABLE)
            aside = sorted(info.base_name for info in self._files() if info.base_name.endswith(UNUSABLE))
            for name in aside[:-KEPT]:
                self._delete(name)

    def remove(self, epoch: int) -> None:
        """Remove the copy after `epoch`.

        Raises:
            StorageError: it cannot be removed.
        """
        with self._reached("written to"):
            self._delete(_name(epoch))

    def _files(self) -> list[FileInfo]:
        from pyarrow.fs import FileSelector

        return list(self._fs.get_file_info(FileSelector(self._path, allow_not_found=True)))

    def _names(self) -> list[tuple[int, str]]:
        """Epoch and name of every copy, unfinished ones included."""
        found = ((_COPY.fullmatch(info.base_name), info.base_name) for info in self._files())
        return [(int(match[1]), name) for match, name in found if match]

    def _delete(self, name: str) -> None:
        try:
            self._fs.delete_file(f"{self._path}/{name}")
        except FileNotFoundError:
            return  # another worker, on a machine that was thought lost, was faster

    def _file(self, epoch: int) -> str:
        return f"{self._path}/{_name(epoch)}"

    @contextmanager
    def _reached(self, what: str) -> Iterator[None]:
        """Turn an error of the storage into one line."""
        import pyarrow

        try:
            yield
        except (OSError, ValueError, ImportError, pyarrow.ArrowException) as error:
            address, reason = map(without_credentials, (self.address, _first_line(error)))
            raise StorageError(
                f"the storage must be reachable, but {address} could not be {what} ({reason}); check --storage "
                "and the credentials on every machine, then resume: what is finished is kept"
            ) from error


def _no_directory(path: str) -> str:
    """Why no directory can be at a path of this machine, in words; empty where one is, or where that is not known."""
    for place in (Path(path), *Path(path).parents):
        try:
            is_directory = stat.S_ISDIR(os.stat(place).st_mode)
        except (FileNotFoundError, NotADirectoryError):
            if place.is_symlink():
                return f"{place} is a link to nothing"
        except OSError as error:
            wrong = error.errno in (errno.ELOOP, errno.ENAMETOOLONG)
            return f"{place} is none ({error.strerror})" if wrong else ""
        else:
            return "" if is_directory else f"{place} is none"
    return ""


def _name(epoch: int) -> str:
    return f"checkpoint-{epoch:06}.pt"


def _first_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200]
