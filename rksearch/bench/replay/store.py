"""Replays on disk: one line of JSON each, written as it ends, so that a comparison can be resumed.

The first line of `work/replays.jsonl` holds the conditions, each other one a replay and the commit it was played with.
Every line ends with a checksum, as those of a ledger do. A line that was torn or damaged is dropped and its replay is
played again: the same turn gives the same replay.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from filelock import FileLock, Timeout

import rksearch
from rksearch.bench.replay.judging import Replay
from rksearch.bench.replay.replays import Conditions, Turn
from rksearch.errors import RunError
from rksearch.results.codec import from_plain, to_plain
from rksearch.results.lines import intact, sealed

FILE = "work/replays.jsonl"
"""Within the directory of the comparison; git ignores `work`, for the replays are megabytes and can be played again."""

FORMAT = 1


class ReplayStore:
    """The replays of one directory; use `opened`.

    Args:
        path: the file.
        conditions: what all replays have in common.
        commit: commit of the code that plays now.

    Attributes:
        replays: by turn, all that the file holds.
        commits: of all replays of the file.

    Raises:
        RunError: the file holds replays of other conditions.
    """

    def __init__(self, path: Path, conditions: Conditions, *, commit: str) -> None:
        self._path = path
        self._commit = commit
        self.replays: dict[Turn, Replay] = {}
        self.commits: set[str] = set()
        own = conditions_record(conditions)
        lines = list(_lines(path)) if path.exists() else []
        if lines:
            _check(lines[0].get("conditions"), own, path)
        for record in lines[1:]:
            replay = from_plain(Replay, record["replay"])
            self.replays[Turn(replay.repetition, replay.strategy, replay.start)] = replay
            self.commits.add(record["commit"])
        if lines:
            _cut_torn_end(path)
        else:
            path.write_bytes(_line({"conditions": own}))

    def add(self, replay: Replay) -> None:
        """Write a replay durably."""
        with self._path.open("ab") as file:
            file.write(_line({"commit": self._commit, "replay": to_plain(replay)}))
            file.flush()
            os.fsync(file.fileno())
        self.replays[Turn(replay.repetition, replay.strategy, replay.start)] = replay
        self.commits.add(self._commit)


@contextmanager
def opened(directory: Path, conditions: Conditions, *, commit: str) -> Iterator[ReplayStore]:
    """The store of a directory, which is made if need be, locked against another process.

    Raises:
        RunError: another process plays there, or the directory holds replays of other conditions.
    """
    path = directory / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_suffix(".lock"))
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise RunError(
            f"one process at a time may play into a directory, but another one plays into {directory}; wait for it or "
            "take another --out"
        ) from None
    try:
        yield ReplayStore(path, conditions, commit=commit)
    finally:
        lock.release()


def conditions_record(conditions: Conditions) -> dict[str, Any]:
    """Everything that a replay depends on besides its turn, as plain values."""
    table = conditions.table
    return {
        "format": FORMAT,
        "rksearch": rksearch.__version__,
        "table": table.name,
        "table_digest": table.digest,
        "handed_out": table.handed_out,
        "slots": conditions.slots,
        "budget_epochs": conditions.budget_epochs,
        "racing": to_plain(conditions.racing),
    }


def _check(found: Any, own: Mapping[str, Any], path: Path) -> None:
    """Refuse conditions that are not our own."""
    before = found if isinstance(found, dict) else {}
    for key in own.keys() | before.keys():
        if before.get(key) != own.get(key):
            raise RunError(
                f"a comparison is resumed with its own conditions, but {path} has {key} {before.get(key)!r}, not "
                f"{own.get(key)!r}; take another --out or delete that file"
            )


def _line(record: Mapping[str, Any]) -> bytes:
    return sealed(msgspec.json.encode(record))


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a file, without those of lines that are damaged."""
    for line in path.read_bytes().split(b"\n"):
        if intact(line):
            yield msgspec.json.decode(line)


def _cut_torn_end(path: Path) -> None:
    """Remove what follows the last line feed: the line that a killed process was writing."""
    content = path.read_bytes()
    if not content.endswith(b"\n"):
        os.truncate(path, content.rfind(b"\n") + 1)
