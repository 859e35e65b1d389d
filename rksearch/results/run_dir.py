"""The directory of a run: its parts, its ledger, and the lock that keeps a second driver out."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

from rksearch.errors import NO_ROOM, MissingPluginError, RksearchError, RunAborted, RunError, TakenError, unwritable
from rksearch.ordinary import expanded, is_text, open_ordinary, read_json, write_atomically
from rksearch.plain import is_path
from rksearch.results.codec import from_plain, to_json_bytes
from rksearch.results.differences import first_difference
from rksearch.results.events import EVENTS
from rksearch.results.files import file_lock, is_locked, require_free
from rksearch.results.history import History, RunRecord
from rksearch.results.ledger import FILE_NAME, Ledger
from rksearch.results.live import LiveProgress
from rksearch.results.own_files import DERIVED
from rksearch.results.plan import Plan
from rksearch.results.records import SHARED
from rksearch.results.storage_address import absolute_address, beneath

MISSING_SHOWN = 5
"""Maximum number of families and data sets that are not registered and that a message names."""

_KINDS = "|".join(EVENTS)
RECORD = re.compile(
    rf'^\{{ ?(?:"schema": ?\d+, ?"event": ?"|"event": ?"(?:{_KINDS})", ?"time": ?")'.encode(), re.MULTILINE
)
"""Beginning of every line of a ledger, of any version, also after a way through a program that spaces JSON."""

LEDGER_HEAD = 1_000_000
"""Bytes at the beginning of a ledger that are searched for such a line."""

LARGEST_NOTE = 10_000_000
"""Largest note of a session's progress, or of its places, that is read, in bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Absolute paths on this machine that a run depends on. They are scratch: nothing that is shared names them.

    Attributes:
        directory: directory beneath which the relative path of its data set lies: that of the space file.
        data_dir: directory of downloaded data sets in the last session.
        storage: address of the mirror of checkpoints; None without one.
    """

    directory: Path
    data_dir: Path
    storage: str | None = None


def stated_directory(directory: object, what: str = "a run directory") -> Path:
    """The directory that a caller states, which from Python may be anything.

    Raises:
        RunError: it is no path, empty, or holds a zero, which no path does.
    """
    if not is_path(directory):
        raise RunError(f"{what} must have a path that is not empty, but got {directory!r}; give a directory")
    return Path(directory)


class RunDir:
    """`ledger.jsonl` and what is derived from it, and `work/`, which is scratch: checkpoints, Tune's files, logs."""

    def __init__(self, path: Path) -> None:
        self.path = expanded(path, RunError).absolute()

    @property
    def work(self) -> Path:
        """Scratch that git should ignore; without it a run can still be reported, but its trials start over."""
        return self.path / "work"

    @property
    def tune(self) -> Path:
        """Tune's own files, of no use after a session."""
        return self.work / "tune"

    @property
    def logs(self) -> Path:
        """What loggers write (`--log`)."""
        return self.work / "logs"

    @property
    def has_ledger(self) -> bool:
        """Whether a run has been started here."""
        try:
            return (self.path / FILE_NAME).is_file()
        except OSError:  # the path is too long, for one
            return False

    def require_unused(self) -> None:
        """Make sure that a directory without a run holds none of the files that a run and its report would replace.

        Raises:
            TakenError: it holds one.
        """
        if self.has_ledger and self._ledger_is_own():
            return
        require_own(self.path)
        if not self._scratch_is_own():
            require_free([self.work], "the scratch of a run")

    def _ledger_is_own(self) -> bool:
        """Whether the ledger is one, however damaged, and no file of the user's that has its name.

        Raises:
            TakenError: it is such a file.
        """
        path = self.path / FILE_NAME
        try:
            with open_ordinary(path, sys.maxsize) as file:
                head = file.read(LEDGER_HEAD)
        except OSError:
            return True  # the reader of the ledger will say what is wrong with it
        found = RECORD.search(head) is not None
        if head and not found and not os.path.exists(self._lock):  # every driver leaves it
            require_free([path], "the ledger of a run")
        return found

    def _scratch_is_own(self) -> bool:
        """Whether `work` is that of a run that has recorded nothing yet, or holds nothing."""
        if os.path.exists(self._lock):  # every driver leaves it
            return True
        try:
            return all(entry.name == ".gitignore" for entry in os.scandir(self.work))
        except NotADirectoryError:
            return False
        except OSError:
            return True  # it is not there, or the driver will say what is wrong with it

    @contextmanager
    def driver(self) -> Iterator[None]:
        """Hold the lock of the only driver of this run for the length of a `with` block.

        Raises:
            RunError: the directory cannot be written, or another driver is at work.
        """
        try:
            self.work.mkdir(parents=True, exist_ok=True)
            if not (self.work / ".gitignore").exists():
                (self.work / ".gitignore").write_text("*\n")
        except OSError as error:
            raise self._not_writable(error) from None
        if not is_text(str(self.path)):
            raise RunError(
                f"a run directory must have a path of UTF-8, but got {str(self.path)!r}; choose another --out"
            )
        busy = RunError(f"one driver at a time may work on a run, but another one is at work on {self.path}")
        with file_lock(self._lock, wait_s=0, busy=busy, unusable=self._not_writable):
            yield

    def _not_writable(self, error: OSError) -> RksearchError:
        rule = f"the run directory must be writable, but {error.filename or self.path} is not ({error.strerror})"
        if error.errno in NO_ROOM:
            return unwritable(RunAborted(f"{rule}; make room, or choose another --out"), error)
        return RunError(f"{rule}; choose another --out, or copy the directory and resume the copy")

    def note_places(self, places: Places) -> None:
        """Note the paths for later sessions, which may begin in any working directory; the driver alone may.

        Raises:
            RunError: the directory cannot be written.
        """
        values = {"directory": str(places.directory), "data_dir": str(places.data_dir), "storage": places.storage}
        try:
            write_atomically(self._places, (json.dumps(values, indent=2) + "\n").encode())
        except OSError as error:
            rule = f"the run directory must be writable, but {self._places} is not ({error.strerror})"
            raise unwritable(RunError(f"{rule}; make room or make it writable"), error) from None

    def places(self) -> Places | None:
        """The paths of the last session, which may be gone by now; None where they are not noted."""
        values = read_json(self._places, LARGEST_NOTE)
        try:
            storage = values.get("storage")
            if not isinstance(storage, str | None):
                return None
            return Places(directory=Path(values["directory"]), data_dir=Path(values["data_dir"]), storage=storage)
        except (KeyError, TypeError, AttributeError):
            return None  # the run came from another machine, or its scratch was removed or damaged

    def directories(self) -> list[Path]:
        """Directories beneath which the relative path of its images may lie, the likeliest first.

        That of the space file comes first, then those that have moved with the run.
        """
        noted, here = self.places(), Path(os.path.realpath(self.path))
        beside = [here, *here.parents[:2], Path.cwd()]
        return list(dict.fromkeys([*([noted.directory] if noted else []), *beside]))

    def data_dirs(self, typed: Path | None) -> list[Path]:
        """Directories in which data sets may lie, the likeliest first; `typed` is what the user wrote in the past.

        That which was meant in the last session comes first, then what is meant relative to the run.
        """
        noted = self.places()
        # Not expanded: the user that it names may be one of another machine.
        relative = typed is not None and not typed.is_absolute() and not str(typed).startswith("~")
        here = Path(os.path.realpath(self.path))
        beside = [base / typed for base in (here, here.parent)] if typed is not None and relative else []
        return list(dict.fromkeys([*([noted.data_dir] if noted else []), *beside]))

    def storage(self, typed: str | None) -> str | None:
        """Address of the mirror of checkpoints; `typed` is what the user wrote in the past, None for no mirror."""
        noted = self.places()
        if typed is None:
            return None
        return noted.storage if noted is not None and noted.storage is not None else absolute_address(typed)

    @property
    def _places(self) -> Path:
        return self.work / "places.json"

    def note_progress(self, progress: LiveProgress) -> None:
        """Note the progress of the session, in place of the last note; the driver alone may.

        Raises:
            OSError: it cannot be written.
        """
        write_atomically(self._progress, to_json_bytes(progress))

    def forget_progress(self) -> None:
        """Remove the note of a session that ends."""
        with suppress(OSError):  # an old note is recognised by the lock that nobody holds
            self._progress.unlink(missing_ok=True)

    def progress(self) -> LiveProgress | None:
        """The noted progress of the session under way; None where there is none that can be read."""
        try:
            return from_plain(LiveProgress, read_json(self._progress, LARGEST_NOTE))
        except ValueError:  # none was noted, or another version noted it
            return None

    @property
    def _progress(self) -> Path:
        return self.work / "progress.json"

    @property
    def driven(self) -> bool:
        """Whether a driver is at work on this run now, on this machine."""
        return is_locked(self._lock)

    @property
    def _lock(self) -> Path:
        return self.work / "driver.lock"

    def clear_tune(self) -> None:
        """Remove Tune's scratch of earlier sessions."""
        shutil.rmtree(self.tune, ignore_errors=True)


def read_run(run_dir: str | Path) -> History:
    """The history of the run in a directory.

    Raises:
        RunError: no run has been started there.
        LedgerError: the ledger cannot be read.
    """
    found = RunDir(stated_directory(run_dir))
    require_ledger(found)
    return Ledger(found.path).read()


def require_ledger(run_dir: RunDir) -> None:
    """Make sure that a run was started in a directory.

    Raises:
        RunError: none was.
    """
    if not run_dir.has_ledger:
        try:
            (run_dir.path / FILE_NAME).stat()
        except PermissionError as error:
            raise RunError(
                f"a run directory must be readable, but {run_dir.path} is not ({error.strerror}); correct its "
                "permissions"
            ) from None
        except OSError:
            pass  # what is wrong with it is no other thing than that the file is not there
        raise RunError(
            f"a run directory holds {FILE_NAME}, but {run_dir.path} has none; give the --out of an earlier run"
        )


def require_plan(history: History, run_dir: Path) -> RunRecord:
    """The plan of a run.

    Raises:
        RunError: the record of the plan is damaged. The command that started the run records it again, and keeps
            every finished training.
    """
    if history.run is not None:
        return history.run
    damage = f" ({history.damage[0]})" if history.damage else ""
    command = next((" ".join(s.environment.command) for s in history.sessions if s.environment.command), None)
    raise RunError(
        f"a ledger must hold the plan of its run, but {run_dir / FILE_NAME} has none{damage}; give the command that "
        f"started the run again, with --out {run_dir}: it keeps the {len(history.trials)} finished trainings"
        + (f" (it was: {command})" if command else "")
    )


def require_registered(history: History, run_dir: Path) -> None:
    """Make sure that all that the plan of a run names is registered, so that the run can continue.

    Raises:
        MissingPluginError: something is not.
    """
    if history.missing:
        shown = ", ".join(map(str, history.missing[:MISSING_SHOWN]))
        more = ", ..." if len(history.missing) > MISSING_SHOWN else ""
        raise MissingPluginError(
            f"the families and data sets of a run must be registered to continue it, but {run_dir / FILE_NAME} names "
            f"{shown}{more}"
        )


def require_same_trials(history: History, plan: Plan, run_dir: Path) -> None:
    """Make sure that the trainings of a run whose plan is lost are those of another plan for it.

    Raises:
        RunError: a training has another data set, recipe or number of images.
    """
    for spec, _ in (*history.trials.values(), *history.paused.values()):
        for name in SHARED:
            if different := first_difference(getattr(spec, name), getattr(plan, name), name):
                raise RunError(
                    f"a run continues with the {name} of its trainings, but those of {run_dir} have "
                    f"{different.field} {different.before} and {different.now} was asked for; choose another --out, or "
                    "give the options with which the run began"
                )


def require_own(directory: Path) -> None:
    """Make sure that the files that a report would replace in a directory were written by a report, each by itself.

    Raises:
        TakenError: one was not.
    """
    require_free((directory / name for name, is_own in DERIVED.items() if not is_own(directory / name)), "a report")


def require_nothing_lost(directory: Path, history: History, ledger: Path) -> None:
    """Make sure that a ledger without any record does not replace a report that holds trainings.

    Such a ledger was damaged or exchanged (by a pointer of Git LFS, for one), and the report may be all that is left.

    Raises:
        RunError: it would.
    """
    if not history.is_blank:
        return
    table = directory / "trials.csv"
    try:
        with open_ordinary(table, sys.maxsize) as file:
            rows = sum(1 for _ in islice(file, 2)) - 1  # the first line names the columns
    except OSError:
        return
    if rows > 0:
        damage = f" ({history.damage[0]})" if history.damage else ""
        raise RunError(
            f"a report with trainings is replaced only from a ledger with records, but {ledger} has none{damage}, and "
            f"{table} holds trainings; put the ledger back, or write elsewhere with `rksearch report --to`"
        )


def require_no_other_run(directory: Path, history: History, what: str) -> None:
    """Make sure that a directory for something about a run is not that of another run, whose report would be replaced.

    Args:
        directory: the directory; a copy of the run's own is one of its own.
        history: the history of the run.
        what: what is to be written, with its article.

    Raises:
        TakenError: it is.
        LedgerError: the ledger in the directory cannot be read.
    """
    if RunDir(directory).has_ledger and _identity(read_run(directory)) != _identity(history):
        raise TakenError(
            f"{what} must not replace that of another run, but {directory} holds one ({FILE_NAME}); choose another "
            "directory"
        )


def _identity(history: History) -> tuple[str, str | None]:
    """What tells a run from others: its name, and when its first session began."""
    return history.name, history.sessions[0].start if history.sessions else None


def claim_free(parent: Path, name: str) -> Path:
    """Make `parent/name-1`, or the first of `-2`, `-3`, ... that does not exist: no other process gets the same.

    Raises:
        RunError: the directory cannot be made.
    """
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for n in count(1):
            with suppress(FileExistsError):
                (parent / f"{name}-{n}").mkdir()
                return parent / f"{name}-{n}"
    except OSError as error:
        rule = f"a run directory must be made in {parent.absolute()}, but that failed ({error.strerror})"
        raise unwritable(RunError(f"{rule}; choose --out"), error) from None
    raise AssertionError("unreachable")


def mirror_address(history: History, storage: str | None) -> str | None:
    """This run's own directory in a storage, the same in all its sessions; None without a storage."""
    if storage is None or history.run is None or not history.sessions:
        return None
    began = history.sessions[0].start.replace("-", "").replace(":", "")
    return beneath(storage, f"{history.run.name}-{began}")
