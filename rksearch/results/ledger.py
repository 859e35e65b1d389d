"""The ledger: an append-only file of events that is the only truth on disk; everything else is derived or scratch.

`ledger.jsonl` holds one JSON object per line, UTF-8, in the order of events (`rksearch.results.events`), with `event`
and `time` (ISO 8601, UTC, whole seconds) and a checksum (`rksearch.results.lines`). A record is durable when `append`
returns. A process killed while writing leaves at most one torn last line: reading lists it as damage, and the next
append starts on a fresh line. Numbers that JSON cannot hold (NaN, infinities) are written as null and read back as NaN
in epochs.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from rksearch.errors import LedgerError, unwritable, without_credentials
from rksearch.ordinary import force, open_ordinary
from rksearch.results.checks import incomplete
from rksearch.results.data_record import DataRecord
from rksearch.results.environment import Environment
from rksearch.results.events import (
    EndState,
    Event,
    Forecast,
    Option,
    RunPlanned,
    SessionEnded,
    SessionStarted,
    SharingMeasured,
    SlotsCounted,
    TaskStarted,
    TestSetRead,
    TrialEnded,
    TrialPaused,
    TrialReopened,
    TrialRetried,
    TrialStarted,
)
from rksearch.results.files import sync_directory, take_lock
from rksearch.results.history import History, HistoryReader
from rksearch.results.lines import written
from rksearch.results.plan import Plan
from rksearch.results.records import TestResult, TrialResult, TrialSpec
from rksearch.results.uncollected import uncollected
from rksearch.space.summary import SpaceSummary

FILE_NAME = "ledger.jsonl"

MOST_BYTES = 8 * 2**30
"""Largest ledger that is read; a record of a training has some kilobytes."""

LONGEST_LINE = 64 * 2**20
"""Longest record, in bytes; a longer line is damage."""

SHOWN_OF_LONG_LINE = 100
"""Bytes that are kept of a line that is longer."""


def utc_now() -> str:
    """The present, as `2026-01-31T12:00:00Z`."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Ledger:
    """Writes and reads the ledger of one run directory.

    Appending from several processes is safe on a local file system: each append holds the file's lock.

    Args:
        run_dir: the run directory; made by the first append where it is missing.
        clock: gives the `time` of each record.
    """

    def __init__(self, run_dir: Path, *, clock: Callable[[], str] = utc_now) -> None:
        self.path = Path(run_dir) / FILE_NAME
        self._clock = clock

    def write_run(self, *, name: str, space: SpaceSummary, plan: Plan, data: DataRecord | None = None) -> None:
        """Record the plan: first of all, and again when it changes; `name` is the run's name in reports."""
        self.append(RunPlanned(name=name, space=space, plan=plan, data=data))

    def write_session(
        self, *, environment: Environment, options: Mapping[str, Option], forecast: Forecast | None = None
    ) -> None:
        """Record a launch of the driver."""
        self.append(SessionStarted(environment=environment, options=dict(options), forecast=forecast))

    def write_sharing(self, sharing: SharingMeasured) -> None:
        """Record how many trials share a GPU in this session, and the measurement behind it."""
        self.append(sharing)

    def write_task(self, task: TaskStarted) -> None:
        """Record a task of a deterministic run, before the starts of its trials."""
        self.append(task)

    def write_slots(self, counted: SlotsCounted) -> None:
        """Record how many trials run at a time in this session."""
        self.append(counted)

    def write_reopened(self, trial: str) -> None:
        """Record that the failed trial of this id is to be tried again."""
        self.append(TrialReopened(trial=trial))

    def write_start(self, trial: str) -> None:
        """Record that the trial of this id was handed to a worker."""
        self.append(TrialStarted(trial=trial))

    def write_pause(
        self, spec: TrialSpec, result: TrialResult, *, wall_time_s: float, cpus: float = 0.0, gpus: float = 0.0
    ) -> None:
        """Record a trial that has paused and may continue; arguments as for `write_trial`."""
        self.append(TrialPaused(trial=spec.id, spec=spec, result=result, wall_time_s=wall_time_s, cpus=cpus, gpus=gpus))

    def write_retry(self, trial: str, reason: str) -> None:
        """Record a trial that is retried once, alone; see `TrialRetried`."""
        self.append(TrialRetried(trial=trial, reason=reason))

    def write_trial(
        self, spec: TrialSpec, result: TrialResult, *, wall_time_s: float, cpus: float = 0.0, gpus: float = 0.0
    ) -> None:
        """Record a finished trial, complete, failed or pruned; final.

        Args:
            spec, result: the trial and its result.
            wall_time_s: time since the trial last started, as the driver saw it; an equal share where several seeds
                were trained together.
            cpus, gpus: numbers reserved for it in that time.

        Raises:
            LedgerError: a complete result lacks its epochs or counts, or the disk refuses.
        """
        if problem := incomplete(spec, result):
            raise LedgerError(f"{problem[1]} in {problem[0]} of {spec.id}; report this as a bug")
        self.append(TrialEnded(trial=spec.id, spec=spec, result=result, wall_time_s=wall_time_s, cpus=cpus, gpus=gpus))

    def write_test(self, spec: TrialSpec, result: TestResult) -> None:
        """Record a reading of the test set."""
        self.append(TestSetRead(trial=spec.id, arch=spec.arch, replicate=spec.replicate, result=result))

    def write_end(self, state: EndState, message: str | None = None, *, budget: str | None = None) -> None:
        """Record how the present session ended; `budget` is the budget of time that interrupted it, in words.

        Passwords and tokens in addresses of the message are hidden: the ledger and reports are shown to others.
        """
        shown = None if message is None else without_credentials(message)
        self.append(SessionEnded(state=state, message=shown, budget=budget))

    def append(self, event: Event) -> None:
        """Write one record and wait until the disk has it.

        Raises:
            LedgerError: it cannot be written; the file is then as it was before.
        """
        line = written(event, self._clock())
        try:
            new = not self.path.exists()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with _locked(self.path) as descriptor:
                _append_whole(descriptor, line)
            if new:
                sync_directory(self.path.parent)
        except OSError as error:
            refused = LedgerError(
                f"the ledger must be writable, but {self.path} is not ({error.strerror or error}); "
                "free some space or correct the permissions, then run the same command again"
            )
            raise unwritable(refused, error) from error

    def read(self) -> History:
        """Everything that was recorded; a ledger that does not exist yet is empty.

        Raises:
            LedgerError: the file exists but cannot be read.
        """
        return self.follow().refresh()

    def follow(self) -> Follower:
        """A reader whose every refresh reads only the lines appended since the last."""
        return Follower(self.path)


class Follower:
    """Reads a ledger that grows; see `Ledger.follow`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._reader = HistoryReader()

    def refresh(self) -> History:
        """Everything that has been recorded by now.

        Raises:
            LedgerError: the file exists but cannot be read.
        """
        tail = b""
        try:
            with open_ordinary(self._path, MOST_BYTES) as file, uncollected():
                file.seek(self._offset)
                for line, size in _lines(file):
                    if line.endswith(b"\n"):
                        self._offset += size
                        self._reader.take(line[:-1])
                    else:
                        tail = line
        except FileNotFoundError:
            pass  # nothing is recorded yet
        except OSError as error:
            raise LedgerError(
                f"the ledger must be readable, but {self._path} is not ({error.strerror}); correct its permissions, or "
                "put the ledger back"
            ) from error
        reader = self._reader
        if tail.strip():
            # A last line without its end may be whole, torn, or still being written: read it, but not for good.
            reader = copy.deepcopy(self._reader)
            reader.take(tail)
        return reader.history()


def _lines(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """The lines of a file, each with its line feed and its size; of one that is too long for a record, the beginning.

    The last one has no line feed where the file does not end with one.
    """
    while line := file.readline(LONGEST_LINE):
        size, last = len(line), line
        while not last.endswith(b"\n") and (rest := file.readline(LONGEST_LINE)):
            size, last = size + len(rest), rest
        if size > len(line):
            line = line[:SHOWN_OF_LONG_LINE] + (b"\n" if last.endswith(b"\n") else b"")
        yield line, size


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """A descriptor of the file, made if missing, that this process alone may write to."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        take_lock(descriptor, wait=True)
        yield descriptor
    finally:
        os.close(descriptor)


def _append_whole(descriptor: int, line: bytes) -> None:
    """Append the line durably, on a fresh line; or leave the file as it was and raise OSError."""
    size = os.fstat(descriptor).st_size
    torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
    data = b"\n" + line if torn else line
    try:
        written = os.write(descriptor, data)
        if written < len(data):
            raise OSError(None, f"only {written} of {len(data)} bytes fit on the disk")
        force(descriptor)
    except OSError:
        os.ftruncate(descriptor, size)
        raise
