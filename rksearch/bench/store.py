"""Results of a comparison on disk: one line of JSON each, written as it ends, so that the comparison can be resumed.

The first line of the file holds the conditions, each other one a result and the commit of the code that made it. Every
line ends with a checksum, as those of a ledger do. A line that was torn or damaged is dropped: what it held is made
again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec
from filelock import FileLock, Timeout

from rksearch.errors import RunError
from rksearch.results.codec import from_plain, to_plain
from rksearch.results.lines import intact, sealed

Key = TypeVar("Key", bound=Hashable)
StoredEntry = TypeVar("StoredEntry")


class Store(Generic[Key, StoredEntry]):
    """The results in one file; use `opened`.

    Args:
        path: the file.
        name: key of a result in its line.
        kind: type of the results, a dataclass.
        key: what tells one result from another.
        conditions: what all results have in common, as plain values.
        commit: commit of the code that works now.

    Attributes:
        results: by key, all that the file holds.
        commits: of all results of the file.

    Raises:
        RunError: the file holds results of other conditions.
    """

    def __init__(
        self,
        path: Path,
        name: str,
        kind: type[StoredEntry],
        key: Callable[[StoredEntry], Key],
        conditions: Mapping[str, Any],
        *,
        commit: str,
    ) -> None:
        self._path, self._key, self._commit = path, key, commit
        self._name = name
        self.results: dict[Key, StoredEntry] = {}
        self.commits: set[str] = set()
        lines = list(_lines(path)) if path.exists() else []
        if lines:
            _check(lines[0].get("conditions"), conditions, path)
        for record in lines[1:]:
            result = from_plain(kind, record[self._name])
            self.results[key(result)] = result
            self.commits.add(record["commit"])
        if lines:
            _cut_torn_end(path)
        else:
            path.write_bytes(_line({"conditions": conditions}))

    def add(self, result: StoredEntry) -> None:
        """Write a result durably."""
        with self._path.open("ab") as file:
            file.write(_line({"commit": self._commit, self._name: to_plain(result)}))
            file.flush()
            os.fsync(file.fileno())
        self.results[self._key(result)] = result
        self.commits.add(self._commit)


@contextmanager
def opened(
    path: Path,
    name: str,
    kind: type[StoredEntry],
    key: Callable[[StoredEntry], Key],
    conditions: Mapping[str, Any],
    *,
    commit: str,
) -> Iterator[Store[Key, StoredEntry]]:
    """The store of a file, whose directory is made if need be, locked against another process.

    Raises:
        RunError: another process writes there, or the file holds results of other conditions.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_suffix(".lock"))
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise RunError(
            f"one process at a time may write into {path}, but another one does; wait for it or take another --out"
        ) from None
    try:
        yield Store(path, name, kind, key, conditions, commit=commit)
    finally:
        lock.release()


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
