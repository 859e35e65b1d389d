"""The record that a training outside of a run leaves beside its checkpoints."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from rksearch.errors import RksearchError, RunError, unwritable
from rksearch.ordinary import read_ordinary, write_atomically
from rksearch.results.codec import from_plain, to_plain
from rksearch.results.data_record import DataRecord
from rksearch.results.environment import Environment
from rksearch.results.records import TestResult, TrialResult, TrialSpec

TRAINING_FILE = "training.json"
"""Name of the file that holds the record."""

LARGEST_RECORD_BYTES = 100_000_000
"""Largest record that is read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRecord:
    """A finished training: what was asked, what came out, with which code and on which images.

    Attributes:
        spec: the training.
        result: its curve, counts and device.
        environment: code, versions and hardware of the session that ended it.
        data: facts about its data set.
        test: the last reading of the test set; None before there is one.
    """

    spec: TrialSpec
    result: TrialResult
    environment: Environment
    data: DataRecord
    test: TestResult | None = None

    def write(self, directory: Path) -> None:
        """Write it into the directory of the training.

        Raises:
            RunError: it cannot be written.
        """
        path = directory / TRAINING_FILE
        try:
            write_atomically(path, (json.dumps(to_plain(self), indent=2) + "\n").encode())
        except OSError as error:
            refused = RunError(
                f"the record of a training must be written to {path}, but that failed ({error.strerror}); make room or "
                "make it writable, then give the command again: the training is kept"
            )
            raise unwritable(refused, error) from error


def read_training(directory: Path) -> TrainingRecord | None:
    """The record in the directory of a training; None where there is none.

    Raises:
        RunError: it is damaged.
    """
    path = directory / TRAINING_FILE
    try:
        content = read_ordinary(path, LARGEST_RECORD_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise RunError(f"the record of a training must be readable, but {path} is not ({error.strerror})") from error
    try:
        return from_plain(TrainingRecord, json.loads(content))
    except (ValueError, RecursionError, msgspec.ValidationError, RksearchError) as error:
        reason = " ".join(str(error).split())[:200]
        raise RunError(
            f"{path} must hold the record of a training, but it is damaged ({reason}); give the command that trained "
            "it again: it writes the record, and keeps the training"
        ) from error


def trainings_in(parent: Path) -> Iterator[tuple[Path, TrainingRecord]]:
    """Directories of finished trainings in `parent`, and their records, by name.

    Raises:
        RunError: a record is damaged.
    """
    for path in sorted(parent.glob(f"*/{TRAINING_FILE}")):
        record = read_training(path.parent)
        if record is not None:
            yield path.parent, record
