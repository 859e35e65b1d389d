"""The ledger: an append-only file of results that is the only truth on disk; everything else is derived or scratch.

`ledger.jsonl` holds one JSON object per line, UTF-8, in the order of events, with `event` and `time` (ISO 8601, UTC,
whole seconds). A record is durable when `append` returns. A process killed while writing leaves at most one torn last
line: reading skips and counts it, and the next append starts on a fresh line. Numbers that JSON cannot hold (NaN,
infinities) are written as null and read back as NaN in epochs.
"""

from __future__ import annotations

import copy
import fcntl
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from rksearch.errors import LedgerError, RksearchError
from rksearch.results.files import sync_directory
from rksearch.results.records import TrialResult, TrialSpec

FILE_NAME = "ledger.jsonl"
SCHEMA = 1

EndState = Literal["finished", "interrupted", "failed"]
State = Literal["empty", "running", "finished", "interrupted", "failed"]


def utc_now() -> str:
    """The present, as `2026-01-31T12:00:00Z`."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One launch of the driver.

    Attributes:
        start, last: times of its first and of its last record so far.
        environment: commit, versions and hardware.
        options: what the command line said.
    """

    start: str
    last: str
    environment: dict[str, Any]
    options: dict[str, Any]

    @property
    def duration_s(self) -> float:
        """Seconds from the first to the last record."""
        return (datetime.fromisoformat(self.last) - datetime.fromisoformat(self.start)).total_seconds()


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Everything a ledger says, in the order in which it was said.

    Attributes:
        run: the last `run` record: `space` and `plan`; None before it is written.
        sessions: launches of the driver.
        trials: finished trials by id: complete, failed or pruned. Of several records for one trial the first counts.
        paused: trials that have run some epochs and may go on, by id, with what they had when they paused last.
        retried: ids of trials that are given a second chance, with a whole device for themselves, and why.
        wall_time_s: by trial id, of a worker's time as the driver saw it, pauses left out.
        cpu_s, gpu_s: worker time of all trials times the CPUs and GPUs that were reserved for them.
        started: ids of trials ever started, in the order of their first start.
        running: ids started in the last session and not finished; empty once that session has ended.
        tests: readings of the test set: `trial`, `arch`, `replicate`, `result`.
        finished_after_test: ids of trials that finished after the test set had first been read.
        state: `empty` without a run, `running` until the last session says how it ended. A driver that was killed
            could not say so and still counts as running.
        message: what the last session said when it ended.
        last_time: time of the last record.
        damaged: lines that could not be read.
        repeated: records of trials that were already finished.
    """

    run: dict[str, Any] | None = None
    sessions: tuple[Session, ...] = ()
    trials: Mapping[str, tuple[TrialSpec, TrialResult]] = field(default_factory=dict)
    paused: Mapping[str, tuple[TrialSpec, TrialResult]] = field(default_factory=dict)
    retried: Mapping[str, str] = field(default_factory=dict)
    wall_time_s: Mapping[str, float] = field(default_factory=dict)
    cpu_s: float = 0.0
    gpu_s: float = 0.0
    started: tuple[str, ...] = ()
    running: tuple[str, ...] = ()
    tests: tuple[dict[str, Any], ...] = ()
    finished_after_test: tuple[str, ...] = ()
    state: State = "empty"
    message: str | None = None
    last_time: str | None = None
    damaged: int = 0
    repeated: int = 0

    @property
    def pruned(self) -> dict[str, tuple[TrialSpec, TrialResult]]:
        """The trials that racing stopped for good."""
        return {key: pair for key, pair in self.trials.items() if pair[1].status == "pruned"}

    @property
    def failed(self) -> dict[str, tuple[TrialSpec, TrialResult]]:
        """The finished trials that failed."""
        return {key: pair for key, pair in self.trials.items() if pair[1].status == "failed"}


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

    def write_run(self, *, name: str, space: Mapping[str, Any], plan: Mapping[str, Any]) -> None:
        """What is to be done, first of all, and again when it changes; `name` is the run's name in reports."""
        self.append("run", schema=SCHEMA, name=name, space=dict(space), plan=dict(plan))

    def write_session(self, *, environment: Mapping[str, Any], options: Mapping[str, Any]) -> None:
        """A launch of the driver."""
        self.append("session", environment=dict(environment), options=dict(options))

    def write_sharing(self, sharing: Mapping[str, Any]) -> None:
        """How many trials share a GPU in this session, and by what measurement."""
        self.append("sharing", **sharing)

    def write_start(self, trial: str) -> None:
        """The trial of this id was handed to a worker."""
        self.append("start", trial=trial)

    def write_pause(
        self, spec: TrialSpec, result: TrialResult, *, wall_time_s: float, cpus: float = 0.0, gpus: float = 0.0
    ) -> None:
        """A trial that has paused and may go on; arguments as for `write_trial`."""
        work = {"wall_time_s": wall_time_s, "cpus": cpus, "gpus": gpus}
        self.append("pause", trial=spec.id, spec=spec.to_json(), result=result.to_json(), **work)

    def write_retry(self, trial: str, reason: str) -> None:
        """A trial that failed for want of memory, or beside others for a dead worker; to be tried once more, alone."""
        self.append("retry", trial=trial, reason=reason)

    def write_trial(
        self, spec: TrialSpec, result: TrialResult, *, wall_time_s: float, cpus: float = 0.0, gpus: float = 0.0
    ) -> None:
        """A finished trial, complete, failed or pruned; final.

        Args:
            spec: what was asked.
            result: what was found.
            wall_time_s: since the trial last started, as the driver saw it; an equal share where several seeds were
                trained together.
            cpus, gpus: reserved for it in that time.

        Raises:
            LedgerError: a complete result lacks its epochs or counts, or the disk refuses.
        """
        if problem := _incomplete(spec, result):
            raise LedgerError(f"a complete trial must have {problem}, but {spec.id} has none; report this as a bug")
        work = {"wall_time_s": wall_time_s, "cpus": cpus, "gpus": gpus}
        self.append("trial", trial=spec.id, spec=spec.to_json(), result=result.to_json(), **work)

    def write_test(self, spec: TrialSpec, result: Mapping[str, Any]) -> None:
        """A reading of the test set: `test_error_pct`, `test_loss`, `test_images`."""
        self.append("test", trial=spec.id, arch=spec.arch, replicate=spec.replicate, result=dict(result))

    def write_end(self, state: EndState, message: str | None = None) -> None:
        """How the present session ended."""
        self.append("end", state=state, message=message)

    def append(self, event: str, **values: Any) -> None:
        """Write one record and wait until the disk has it.

        Raises:
            LedgerError: it cannot be written; the file is then as it was before.
        """
        record = _plain({"event": event, "time": self._clock(), **values})
        line = json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode() + b"\n"
        try:
            new = not self.path.exists()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with _locked(self.path) as descriptor:
                _append_whole(descriptor, line)
            if new:
                sync_directory(self.path.parent)
        except OSError as error:
            raise LedgerError(
                f"the ledger must be writable, but {self.path} is not ({error.strerror or error}); "
                "free some space or correct the permissions, then run the same command again"
            ) from error

    def read(self) -> History:
        """Everything that was recorded; a ledger that does not exist yet is empty.

        Raises:
            LedgerError: the file exists but cannot be read.
        """
        return self.follow().refresh()

    def follow(self) -> Follower:
        """A reader that, asked again, reads only what has been appended since."""
        return Follower(self.path)


class Follower:
    """Reads a ledger that grows; see `Ledger.follow`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._reader = _Reader()

    def refresh(self) -> History:
        """Everything that has been recorded by now.

        Raises:
            LedgerError: the file exists but cannot be read.
        """
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                content = file.read()
        except FileNotFoundError:
            content = b""
        except OSError as error:
            raise LedgerError(
                f"the ledger must be readable, but {self._path} is not ({error.strerror}); correct its permissions"
            ) from error
        whole, newline, tail = content.rpartition(b"\n")
        self._offset += len(whole) + len(newline)
        for line in whole.split(b"\n"):
            if line.strip():
                self._reader.take(line)
        if not tail.strip():
            return self._reader.history()
        # A last line without its end may be whole, torn, or still being written: read it, but not for good.
        reader = copy.deepcopy(self._reader)
        reader.take(tail)
        return reader.history()


class _Reader:
    """Folds records, line by line, into a `History`."""

    def __init__(self) -> None:
        self.run: dict[str, Any] | None = None
        self.sessions: list[Session] = []
        self.trials: dict[str, tuple[TrialSpec, TrialResult]] = {}
        self.paused: dict[str, tuple[TrialSpec, TrialResult]] = {}
        self.retried: dict[str, str] = {}
        self.wall_time_s: dict[str, float] = {}
        self.cpu_s = 0.0
        self.gpu_s = 0.0
        self.started: dict[str, None] = {}
        self.running: dict[str, None] = {}
        self.tests: list[dict[str, Any]] = []
        self.after_test: list[str] = []
        self.end: tuple[EndState, str | None] | None = None
        self.last_time: str | None = None
        self.damaged = 0
        self.repeated = 0

    def take(self, line: bytes) -> None:
        """Read one line; a damaged one changes nothing but the count."""
        try:
            record = json.loads(line)
            time = str(record["time"])
            datetime.fromisoformat(time)
            getattr(self, f"_on_{record['event']}", self._on_other)(record)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, RksearchError):
            # Counted rather than raised: one bad line must not hide the good ones.
            self.damaged += 1
            return
        self.last_time = time
        if self.sessions:
            current = self.sessions[-1]
            self.sessions[-1] = Session(
                start=current.start, last=time, environment=current.environment, options=current.options
            )

    def history(self) -> History:
        """What was read so far."""
        open_state: State = "running" if self.run or self.sessions or self.started else "empty"
        return History(
            run=self.run,
            sessions=tuple(self.sessions),
            trials=dict(self.trials),
            paused=dict(self.paused),
            retried=dict(self.retried),
            wall_time_s=dict(self.wall_time_s),
            cpu_s=self.cpu_s,
            gpu_s=self.gpu_s,
            started=tuple(self.started),
            running=() if self.end else tuple(self.running),
            tests=tuple(self.tests),
            finished_after_test=tuple(self.after_test),
            state=self.end[0] if self.end else open_state,
            message=self.end[1] if self.end else None,
            last_time=self.last_time,
            damaged=self.damaged,
            repeated=self.repeated,
        )

    def _on_run(self, record: dict[str, Any]) -> None:
        if not isinstance(record["space"], dict) or not isinstance(record["plan"], dict):
            raise TypeError("space and plan must be objects")
        # A resumed run may have raised its number of candidates: the last plan counts.
        self.run = record

    def _on_session(self, record: dict[str, Any]) -> None:
        time, environment, options = record["time"], dict(record["environment"]), dict(record["options"])
        self.sessions.append(Session(start=time, last=time, environment=environment, options=options))
        self.running = {}
        self.end = None

    def _on_start(self, record: dict[str, Any]) -> None:
        trial = str(record["trial"])
        self.started[trial] = None
        if trial not in self.trials:
            self.running[trial] = None

    def _on_trial(self, record: dict[str, Any]) -> None:
        spec, result = _read_trial(record)
        if _incomplete(spec, result):
            raise ValueError("a complete trial without epochs or counts")
        if spec.id in self.trials:
            self.repeated += 1
            return
        self._count(spec.id, record)
        self.trials[spec.id] = (spec, result)
        self.paused.pop(spec.id, None)
        if self.tests:
            self.after_test.append(spec.id)

    def _on_pause(self, record: dict[str, Any]) -> None:
        spec, result = _read_trial(record)
        if result.status != "paused":
            raise ValueError("a pause of a trial that is not paused")
        if spec.id in self.trials:
            self.repeated += 1
            return
        self._count(spec.id, record)
        known = self.paused.get(spec.id)
        # A worker that did not find the checkpoint, or was stopped before it read it, does not take epochs back.
        if known is None or len(result.epochs) >= len(known[1].epochs):
            self.paused[spec.id] = (spec, result)

    def _on_retry(self, record: dict[str, Any]) -> None:
        self.retried[str(record["trial"])] = str(record["reason"])
        self.running.pop(str(record["trial"]), None)

    def _count(self, trial: str, record: Mapping[str, Any]) -> None:
        seconds = float(record["wall_time_s"])
        # Ledgers of version 0.1 did not say what was reserved.
        cpus, gpus = float(record.get("cpus", 0.0)), float(record.get("gpus", 0.0))
        self.wall_time_s[trial] = self.wall_time_s.get(trial, 0.0) + seconds
        self.cpu_s += seconds * cpus
        self.gpu_s += seconds * gpus
        self.running.pop(trial, None)

    def _on_test(self, record: dict[str, Any]) -> None:
        float(record["result"]["test_error_pct"])
        str(record["trial"])
        self.tests.append(record)

    def _on_end(self, record: dict[str, Any]) -> None:
        if record["state"] not in ("finished", "interrupted", "failed"):
            raise ValueError(f"unknown end {record['state']!r}")
        self.end = (record["state"], record["message"])

    def _on_other(self, record: dict[str, Any]) -> None:
        """An event of a later version: it stays in the file and means nothing here."""


def _read_trial(record: Mapping[str, Any]) -> tuple[TrialSpec, TrialResult]:
    epochs = [{key: math.nan if v is None else v for key, v in e.items()} for e in record["result"]["epochs"]]
    result = TrialResult.from_json({**record["result"], "epochs": epochs})
    return TrialSpec.from_json(record["spec"]), result


def _incomplete(spec: TrialSpec, result: TrialResult) -> str | None:
    """What a result that calls itself complete lacks."""
    if result.status not in ("complete", "failed", "pruned"):
        return "a known status"
    if result.status != "complete":
        return None
    # A final training has no validation images left.
    if not result.epochs or (spec.role != "final" and not math.isfinite(result.epochs[-1].val_error_pct)):
        return "a finite validation error"
    counts = (result.params, result.params_paper, result.macs, result.fvcore_flops)
    return "all counts" if any(c is None for c in counts) else None


def _plain(value: Any) -> Any:
    """The value with non-finite floats replaced by None and tuples by lists, as JSON has them."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """A descriptor of the file, made if missing, that this process alone may write to."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
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
        os.fsync(descriptor)
    except OSError:
        os.ftruncate(descriptor, size)
        raise
