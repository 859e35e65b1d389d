"""Checkpoints that survive a crash at any moment: the newest one, and the one before it as a fallback.

A file is one header line with the SHA-256 of the rest, and the rest is what `torch.save` wrote. It is written beside
the old one, forced to the disk and put in place by a rename, so a reader sees the old or the new one, never a mixture.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rksearch.errors import CheckpointError
from rksearch.files import sync_directory

logger = logging.getLogger(__name__)

NEWEST = "checkpoint.pt"
PREVIOUS = "previous.pt"
_MAGIC = b"rksearch checkpoint 1 "


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """A checkpoint that was read whole: its file name and what had been saved."""

    file: str
    state: dict[str, Any]


class CheckpointStore:
    """The checkpoints of one trial. Whoever uses it must hold the trial's lock.

    What cannot be used is renamed to `*.unusable` and noted in `notes.txt` beside it and in the log, never deleted.

    Args:
        directory: an existing directory that is the trial's alone.
        identity: says whose checkpoints these are; those of another identity are not used. Plain values for JSON.
    """

    def __init__(self, directory: Path, identity: Mapping[str, Any]) -> None:
        self._directory = directory
        self._identity = json.dumps(identity, sort_keys=True)

    def save(self, state: Mapping[str, Any]) -> None:
        """Make `state` (plain values and tensors) the newest checkpoint and the newest one the previous.

        Raises:
            CheckpointError: it could not be written, because the disk is full, for one; the old ones are untouched.
        """
        buffer = io.BytesIO()
        torch.save({"identity": self._identity, "state": dict(state)}, buffer)
        payload = buffer.getbuffer()
        newest = self._directory / NEWEST
        temporary = self._directory / (NEWEST + ".tmp")
        with _one_line_error(self._directory):
            try:
                with temporary.open("wb") as handle:
                    handle.write(_header(payload))
                    handle.write(payload)
                    handle.flush()
                    os.fsync(handle.fileno())
            except OSError:
                temporary.unlink(missing_ok=True)
                raise
            if newest.exists():
                os.replace(newest, self._directory / PREVIOUS)
            os.replace(temporary, newest)
            sync_directory(self._directory)

    def newest_first(self) -> Iterator[Saved]:
        """Every checkpoint that is whole and of this identity. The others are set aside."""
        for file in (NEWEST, PREVIOUS):
            try:
                content = (self._directory / file).read_bytes()
            except FileNotFoundError:
                continue
            except OSError as error:
                self.reject(file, f"cannot be read ({error.strerror})")
                continue
            try:
                record = _decode(content)
            except ValueError as error:
                self.reject(file, f"is damaged ({error})")
                continue
            if record["identity"] != self._identity:
                self.reject(file, "belongs to another trial or recipe")
                continue
            yield Saved(file=file, state=record["state"])

    def reject(self, file: str, reason: str) -> None:
        """Set aside the checkpoint `file`, because of which nothing may be lost or overwritten, and say so.

        Raises:
            CheckpointError: it cannot be renamed.
        """
        path = self._directory / file
        note = f"{path} {reason}; it is set aside and an earlier state, or none, is used instead"
        logger.warning(note)
        with _one_line_error(self._directory):
            os.replace(path, path.with_name(file + ".unusable"))
            with (self._directory / "notes.txt").open("a", encoding="utf-8") as notes:
                notes.write(note + "\n")


def _header(payload: bytes | memoryview) -> bytes:
    return _MAGIC + hashlib.sha256(payload).hexdigest().encode() + b"\n"


def _decode(content: bytes) -> dict[str, Any]:
    """What `save` had put into a file of this content.

    Raises:
        ValueError: it is not whole; says why.
    """
    header, newline, _ = content.partition(b"\n")
    payload = memoryview(content)[len(header) + len(newline) :]
    if not header.startswith(_MAGIC):
        raise ValueError("not a checkpoint of this format")
    if header + newline != _header(payload):
        raise ValueError("its checksum is wrong")
    try:
        record = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
        raise ValueError(f"torch cannot read it: {type(error).__name__}") from error
    if not isinstance(record, dict) or record.keys() != {"identity", "state"}:
        raise ValueError("it holds something else")
    return record


@contextmanager
def _one_line_error(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            f"a checkpoint must be written to {directory}, but that failed ({error.strerror or error}); "
            "make room or make it writable, then resume: the checkpoints before are intact"
        ) from error
