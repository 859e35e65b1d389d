"""The copy of a run's study in a SQLite file: an ordinary Optuna study, which optuna-dashboard opens.

`python -m rksearch.search.samplers.study_file FILE LEDGER` is a process beside the driver. It reads lines of JSON: the
study first, with all trials that there are, then trials that are new or have changed. The lines are the truth. A file
that is missing, damaged, locked, of another version or different is written again as a whole under another name, and
takes the place of the old one. When the lines end, the file takes the ledger's time of modification: both agree then.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import warnings
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy.pool import StaticPool

from rksearch.errors import in_one_line
from rksearch.search.samplers.attributes import TRIAL

LOCK_WAIT_S = 10.0
"""Longest wait for a lock that another program holds on the file, in seconds; then a new file takes its place."""

ATTEMPTS = 3
"""Number of times on end that the file may fail to be written before the process gives up."""

STUDY = "rksearch:study"
"""Attribute of the study that holds the line which began it: a study with another one is of another run or version."""

Row: TypeAlias = "dict[str, Any]"
"""A trial: `key` (the training's id), `state` (a name of `TrialState`), `params`, `values` or None, `attrs`, and
`began_s` and `ended_s`, seconds since 1970, where they are known."""


class StudyFile:
    """A study in a file, which is brought in line with rows.

    Args:
        path: the file.
        study: `name`, `objectives` and `attrs` of the study, and `dimensions`: the values of each parameter.
        lock_wait_s: longest wait for a lock on the file.

    Attributes:
        rebuilt: number of times that the file was written as a whole.
    """

    def __init__(self, path: Path, study: Mapping[str, Any], *, lock_wait_s: float = LOCK_WAIT_S) -> None:
        self._path = path
        self._study = study
        self._lock_wait_s = lock_wait_s
        self._distributions: dict[str, BaseDistribution] = {
            key: CategoricalDistribution(tuple(values)) for key, values in study["dimensions"].items()
        }
        self._rows: dict[str, Row] = {}
        self._storage: RDBStorage | None = None
        self._ids: dict[str, int] = {}
        self._inode: int | None = None
        self._failures = 0
        self.rebuilt = 0

    def put(self, rows: Iterable[Row]) -> None:
        """Write trials that are new or have changed, in the order in which they began.

        Raises:
            Exception: of SQLite or of the disk, when the file could not be written `ATTEMPTS` times on end.
        """
        changed = {row["key"]: row for row in rows}
        self._rows |= changed
        try:
            if self._storage is None:
                self._open()
                changed = self._rows
            if self._inode != _inode(self._path):
                raise FileNotFoundError("the file was removed or replaced")
            for row in changed.values():
                self._write(row)
            self._failures = 0
        except Exception:  # noqa: BLE001 - whatever is wrong with the file, a new one is right
            self._rebuild()

    def close(self) -> None:
        """Release the file."""
        if self._storage is not None:
            self._storage.remove_session()
            self._storage.engine.dispose()
            self._storage = None

    def _open(self) -> None:
        """Open the file, if it holds this study and none but these trials as they are or were.

        Raises:
            Exception: it does not, or cannot be read.
        """
        if not self._path.is_file():
            raise FileNotFoundError("there is no file yet")
        self._storage, self._inode = self._connected(self._path), _inode(self._path)
        (found,) = self._storage.get_all_studies()
        if found.study_name != self._study["name"] or found.user_attrs.get(STUDY) != dict(self._study):
            raise ValueError("it holds another study")
        trials = self._storage.get_all_trials(found._study_id, deepcopy=False)
        for trial, row in zip(trials, [*self._rows.values(), *[{}] * len(trials)], strict=False):
            if not _earlier(trial, row):
                raise ValueError(f"trial {trial.number} differs")
        self._study_id = found._study_id
        self._ids = {trial.user_attrs[TRIAL]: trial._trial_id for trial in trials}

    def _rebuild(self) -> None:
        """Write a new file with all rows in the place of the old one.

        Raises:
            Exception: it cannot be written, for the `ATTEMPTS`th time on end.
        """
        self.close()
        new = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        try:
            _remove(new)
            self._storage = self._connected(new, durable=False)
            study = optuna.create_study(
                storage=self._storage,
                study_name=self._study["name"],
                directions=["minimize"] * len(self._study["objectives"]),
            )
            study.set_metric_names(list(self._study["objectives"]))
            for key, value in {**self._study["attrs"], STUDY: dict(self._study)}.items():
                study.set_user_attr(key, value)
            self._study_id, self._ids = study._study_id, {}
            for row in self._rows.values():
                self._write(row)
            self.close()
            for suffix in ("-journal", "-wal", "-shm"):  # of the old file; SQLite would play them into the new one
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
            new.replace(self._path)
            self._storage, self._inode = self._connected(self._path), _inode(self._path)
        except Exception:
            self.close()
            with suppress(OSError):
                _remove(new)
            self._failures += 1
            if self._failures >= ATTEMPTS:
                raise
            return
        self._failures = 0
        self.rebuilt += 1

    def _connected(self, path: Path, *, durable: bool = True) -> RDBStorage:
        """A storage over one connection to a file, which a URL could not name whatever its path."""
        connection = sqlite3.connect(path, timeout=self._lock_wait_s, check_same_thread=False)
        if not durable:
            connection.execute("PRAGMA synchronous = OFF")  # a file that is torn by a crash is written again
        try:
            return RDBStorage("sqlite://", engine_kwargs={"creator": lambda: connection, "poolclass": StaticPool})
        except Exception:
            connection.close()
            raise

    def _write(self, row: Row) -> None:
        assert self._storage is not None
        if row["key"] not in self._ids:
            self._ids[row["key"]] = self._storage.create_new_trial(self._study_id, self._trial(row))
            return
        number = self._ids[row["key"]]
        known = self._storage.get_trial(number)
        if known.state.is_finished():
            if not _earlier(known, row):
                raise ValueError(f"{row['key']} has changed")
            return
        for key, value in row["attrs"].items():
            if known.user_attrs.get(key) != value:
                self._storage.set_trial_user_attr(number, key, value)
        if row["state"] != TrialState.RUNNING.name:
            self._storage.set_trial_state_values(number, TrialState[row["state"]], row["values"])

    def _trial(self, row: Row) -> FrozenTrial:
        params = row["params"]
        trial = create_trial(
            state=TrialState[row["state"]],
            params=params,
            distributions={key: self._distributions[key] for key in params},
            values=row["values"],
            user_attrs=row["attrs"],
        )
        if row.get("began_s") is not None:
            trial.datetime_start = datetime.fromtimestamp(row["began_s"])
            if trial.state.is_finished():
                trial.datetime_complete = datetime.fromtimestamp(row["ended_s"])
        return trial


def _earlier(trial: FrozenTrial, row: Row) -> bool:
    """Whether a trial is a row as it is, or as it was while it ran."""
    same = bool(trial.user_attrs.get(TRIAL) == row.get("key") and trial.params == row.get("params"))
    if not same or trial.state == TrialState.RUNNING:
        return same
    return bool(trial.state.name == row["state"] and (trial.values or None) == (row["values"] or None))


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except OSError:
        return None


def _remove(path: Path) -> None:
    for suffix in ("", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def main() -> None:
    """Keep the file that the command line names in line with what comes on standard input, until that ends."""
    os.nice(19)
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    begun = sys.stdin.buffer.readline()
    if not begun:
        return
    first = json.loads(begun)
    file = StudyFile(Path(sys.argv[1]), first["study"])
    try:
        file.put(first["rows"])
        for line in sys.stdin.buffer:
            file.put([json.loads(line)])
        file.close()
        modified_ns = Path(sys.argv[2]).stat().st_mtime_ns
        os.utime(sys.argv[1], ns=(modified_ns, modified_ns))
    except Exception as error:  # noqa: BLE001 - the last line of this process, which the driver shows
        print(in_one_line(error), file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
