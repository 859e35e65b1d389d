"""Checkpoints that survive a crash at any moment: the newest one, and the one before it as a fallback.

A file is one header line with the SHA-256 of the rest, and the rest is written by `torch.save`. The new file is written
beside the old one, forced to the disk and renamed, so a reader sees the old or the new one, never a mixture.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch

from rksearch.errors import CheckpointError, RunError, unwritable
from rksearch.ordinary import PIECE_BYTES, force, open_ordinary
from rksearch.results.files import sync_directory
from rksearch.training.mirror import UNUSABLE, Mirror

logger = logging.getLogger(__name__)

NEWEST = "checkpoint.pt"
PREVIOUS = "previous.pt"
_MIRRORED = "mirrored after epoch "
_MAGIC = b"rksearch checkpoint 1 "
_HEADER_BYTES = len(_MAGIC) + 64 + 1
"""Bytes of the header line: the digest has 64 digits."""

MOST_BYTES = 2**36
"""Largest file that is read as a checkpoint."""

OF_THE_FILE = (errno.EIO, errno.EINVAL, errno.EISDIR, errno.EFBIG, errno.ENXIO, errno.ENODEV, errno.ELOOP)
"""Errors of a file that never becomes a checkpoint again: damaged, or no ordinary file. Others (permissions, too many
open files) pass, and the file may hold all the work of a training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """Checkpoint that was read whole: its name for `reject` (a file or a mirrored epoch), and its state."""

    file: str
    state: dict[str, Any]


class CheckpointStore:
    """Store of the checkpoints of one trial. The caller must hold the trial's lock.

    An unusable file is renamed to `*.unusable` and noted in `notes.txt` beside it and in the log. The last two of each
    name are kept.

    Args:
        directory: an existing directory that is the trial's alone.
        identity: identity of the training; checkpoints of another one are not used. Plain values for JSON.
        mirror: holds copies beyond this machine, and is read where it has newer ones. States must then have `epochs`,
            a list that grows from one to the next.
        read_only: whether unusable files stay where they are; nothing is written then, and no lock is needed.
    """

    def __init__(
        self, directory: Path, identity: Mapping[str, Any], mirror: Mirror | None = None, *, read_only: bool = False
    ) -> None:
        self._read_only = read_only
        self._directory = directory
        self._mirror = mirror
        self._identity = json.dumps(identity, sort_keys=True)

    def save(self, state: Mapping[str, Any]) -> None:
        """Make `state` (plain values and tensors) the newest checkpoint, and the newest one the previous.

        Raises:
            CheckpointError: it could not be written (a full disk, for example); the old ones are untouched.
            StorageError: it is saved here, but could not be mirrored.
        """
        buffer = io.BytesIO()
        torch.save({"identity": self._identity, "state": dict(state)}, buffer)
        # Released before the buffer: Python 3.12.1 crashes when its collector meets the two in one cycle, as an
        # exception's frames make it.
        with buffer.getbuffer() as payload:
            self._replace(payload)
            if self._mirror:
                self._mirror.put(_age(state), _header(payload) + payload)

    def _replace(self, payload: memoryview) -> None:
        """Make the content of a checkpoint the newest file, and the newest file the previous."""
        newest = self._directory / NEWEST
        temporary = self._directory / (NEWEST + ".tmp")
        with _one_line_error(self._directory):
            try:
                with temporary.open("wb") as handle:
                    handle.write(_header(payload))
                    handle.write(payload)
                    handle.flush()
                    force(handle.fileno())
            except OSError:
                temporary.unlink(missing_ok=True)
                raise
            if newest.exists():
                os.replace(newest, self._directory / PREVIOUS)
            os.replace(temporary, newest)
            sync_directory(self._directory)

    def newest_first(self) -> Iterator[Saved]:
        """Yield every checkpoint that is whole and of this identity, newest first. The others are set aside.

        Raises:
            CheckpointError: one cannot be read now, or an unusable one cannot be set aside.
            StorageError: the mirror cannot be read.
        """
        copies = self._mirror.epochs() if self._mirror else []
        for saved in self._local():
            while copies and copies[0] > _age(saved.state):
                yield from self._mirrored(copies.pop(0))
            yield saved
        for epoch in copies:
            yield from self._mirrored(epoch)

    def _local(self) -> Iterator[Saved]:
        for file in (NEWEST, PREVIOUS):
            try:
                with open_ordinary(self._directory / file, MOST_BYTES) as content:
                    saved = self._accepted(file, content)
            except FileNotFoundError:
                continue
            except OSError as error:
                if error.errno not in OF_THE_FILE and not self._read_only:
                    raise CheckpointError(
                        f"a checkpoint must be readable, but {self._directory / file} is not ({error.strerror}); mend "
                        "that, then resume: it is left as it is"
                    ) from error
                self.reject(file, f"cannot be read ({error.strerror})")
                continue
            if saved:
                yield saved

    def _mirrored(self, epoch: int) -> Iterator[Saved]:
        """Yield the mirror's copy after this epoch, if it is usable."""
        assert self._mirror is not None
        content = self._mirror.get(epoch)
        if content is not None and (saved := self._accepted(f"{_MIRRORED}{epoch}", io.BytesIO(content))):
            yield saved

    def _accepted(self, file: str, content: BinaryIO) -> Saved | None:
        """Checkpoint in `content`; None, after it was set aside, when it is damaged or of another identity.

        Raises:
            OSError: the content cannot be read.
            RunError: it is the end of another training, which would be displaced.
        """
        try:
            record = _decode(content)
        except ValueError as error:
            self.reject(file, f"is damaged ({error})")
            return None
        if record["identity"] != self._identity:
            if "result" in record["state"] and not self._read_only:
                raise RunError(
                    f"a finished training keeps its checkpoints, but {self._directory / file} is the end of another "
                    "one of this name (other epochs, recipe, images or data set); choose another --out"
                )
            self.reject(file, "belongs to another trial or recipe")
            return None
        return Saved(file=file, state=record["state"])

    def reject(self, file: str, reason: str) -> None:
        """Set aside the checkpoint `file`, so that it is neither used nor overwritten, and log the reason.

        Raises:
            CheckpointError: it cannot be renamed.
            StorageError: it is a copy in the mirror, which cannot be written.
        """
        if self._read_only:
            logger.warning("%s of %s %s; an earlier one is used, if there is one", file, self._directory, reason)
            return
        if self._mirror and file.startswith(_MIRRORED):
            epoch = int(file.removeprefix(_MIRRORED))
            self._mirror.set_aside(epoch)
            what = f"the copy after epoch {epoch} in {self._mirror.address}"
        else:
            path = self._directory / file
            with _one_line_error(self._directory):
                _set_aside(path)
            what = str(path)
        note = f"{what} {reason}; it is set aside and an earlier state, or none, is used instead"
        logger.warning(note)
        with _one_line_error(self._directory), (self._directory / "notes.txt").open("a", encoding="utf-8") as notes:
            notes.write(note + "\n")


def _set_aside(path: Path) -> None:
    """Rename a file to `NAME.unusable`, and the one of that name to `NAME.unusable-2`, which replaces the one before.

    So damage that comes again and again takes no more of the disk than two checkpoints.

    Raises:
        OSError: it cannot be renamed.
    """
    last = path.with_name(path.name + UNUSABLE)
    if last.exists():
        os.replace(last, path.with_name(f"{path.name}{UNUSABLE}-2"))
    os.replace(path, last)


def _age(state: Mapping[str, Any]) -> int:
    """Number of epochs in a state that is mirrored."""
    return len(state["epochs"])


def _header(payload: bytes | memoryview) -> bytes:
    return _header_of(hashlib.sha256(payload).hexdigest())


def _header_of(digest: str) -> bytes:
    return _MAGIC + digest.encode() + b"\n"


def _decode(content: BinaryIO) -> dict[str, Any]:
    """Identity and state in a file's content, of which nothing is kept in memory before its checksum is known.

    Raises:
        OSError: it cannot be read.
        ValueError: the content is not whole; with the reason.
    """
    header = content.readline(_HEADER_BYTES)
    if not header.startswith(_MAGIC):
        raise ValueError("not a checkpoint of this format")
    digest = hashlib.sha256()  # not `file_digest`, which takes a BytesIO from its beginning
    while piece := content.read(PIECE_BYTES):
        digest.update(piece)
    if header != _header_of(digest.hexdigest()):
        raise ValueError("its checksum is wrong")
    content.seek(len(header))
    payload = content.read()
    try:
        record = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except Exception as error:  # whose checksum is right and whose content is not may raise anything
        raise ValueError(f"torch cannot read it: {type(error).__name__}") from error
    if not isinstance(record, dict) or record.keys() != {"identity", "state"}:
        raise ValueError("it holds something else")
    return record


@contextmanager
def _one_line_error(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        refused = CheckpointError(
            f"a checkpoint must be written to {directory}, but that failed ({error.strerror or error}); "
            "make room or make it writable, then resume: the checkpoints before are intact"
        )
        raise unwritable(refused, error) from error
