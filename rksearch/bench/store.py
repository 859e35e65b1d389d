"""Results of a comparison on disk: one line of JSON each, written as it ends, so that the comparison can be resumed.

The first line of the file holds the conditions, each other one a result and the commit of the code that made it. Every
line ends with a checksum, as those of a ledger do. A line that was torn or damaged is dropped: what it held is made
again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

import msgspec
from filelock import FileLock, Timeout

from rksearch.errors import RunError
from rksearch.ordinary import force
from rksearch.results.codec import from_plain, to_plain
from rksearch.results.environment import is_measurement
from rksearch.results.files import begins_with, require_free
from rksearch.results.lines import intact, sealed

FIRST = b'{"conditions":'
"""Beginning of the first line."""

Key = TypeVar("Key", bound=Hashable)
StoredEntry = TypeVar("StoredEntry")


class Store(Generic[Key, StoredEntry]):
    """The results in one file, which is locked against other processes in a `with` block and read at its start.

    Args:
        path: the file; its directory is made if need be.
        name: key of a result in its line.
        kind: type of the results, a dataclass.
        key: what tells one result from another.
        conditions: what all results have in common, as plain values.
        commit: commit of the code that works now.

    Attributes:
        results: by key, all that the file holds.
        commits: of all results of the file.
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
        self._path, self._name, self._kind, self._key = path, name, kind, key
        self._conditions, self._commit = conditions, commit
        self._lock = FileLock(path.with_suffix(".lock"))
        self.results: dict[Key, StoredEntry] = {}
        self.commits: set[str] = set()

    def __enter__(self) -> Self:
        """Lock and read the file.

        Raises:
            RunError: another process writes there, or the file holds results of other conditions.
            TakenError: the file holds something else.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(blocking=False)
        except Timeout:
            raise RunError(
                f"one process at a time may write into {self._path}, but another one does; wait for it or take another "
                "--out"
            ) from None
        try:
            self._read()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, *raised: object) -> None:
        """Release the file."""
        self._lock.release()

    def _read(self) -> None:
        lines = list(_lines(self._path)) if self._path.exists() else []
        if not lines:
            if not begins_with(self._path, FIRST):  # torn when its first line was written
                require_free([self._path], "the results of a comparison")
            self._path.write_bytes(_line({"conditions": self._conditions}))
            return
        _check(lines[0].get("conditions"), self._conditions, self._path)
        for record in lines[1:]:
            result = from_plain(self._kind, record[self._name])
            self.results[self._key(result)] = result
            self.commits.add(record["commit"])
        _cut_torn_end(self._path)

    def add(self, result: StoredEntry) -> None:
        """Write a result durably."""
        with self._path.open("ab") as file:
            file.write(_line({"commit": self._commit, self._name: to_plain(result)}))
            file.flush()
            force(file.fileno())
        self.results[self._key(result)] = result
        self.commits.add(self._commit)


def require_own_page(directory: Path, title: str, numbers: str, names: Iterable[str]) -> None:
    """Make sure that the page of a comparison and what belongs to it replace only those of an earlier one.

    Args:
        directory: the directory, which need not exist.
        title: first line of the page, `README.md`.
        numbers: name of the JSON file; where it is a measurement, the other files are of an earlier comparison.
        names: names of the other files.

    Raises:
        TakenError: a file of these names is something else.
    """
    if not begins_with(directory / "README.md", title.encode()):
        require_free([directory / "README.md"], "the page of a comparison")
    if not is_measurement(directory / numbers):
        require_free((directory / name for name in (numbers, *names)), "a file of a comparison")


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
