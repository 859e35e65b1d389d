"""Random injections of faults into small runs, each compared with the same run left alone.

An injection is a fault of some kind at some moment of a run. The run then goes on by itself, or it ends and is resumed
until it is finished. Whatever happens, in the end the ledger must hold the trainings of the undisturbed run, each once
and each with its numbers, bit for bit; a command that ends must do so in time, in one line, and leave no process.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rksearch.bench.fair_clock import FairClock
from rksearch.errors import RunError
from rksearch.results.history import History
from rksearch.results.ledger import FILE_NAME, Ledger
from rksearch.results.records import TrialResult
from rksearch.search.ray.leftovers import end_processes, processes_of, sessions_of

Numbers = tuple[tuple[float, ...], ...]
"""Losses and errors of each epoch of a training."""

ENDS_WITHIN_S = 150.0
"""Longest time that a command may take to end after a fault that it cannot survive, or to go on for good.

Time that its processes wait for a CPU is not counted, see `FairClock`.
"""

LEAVES_WITHIN_S = 60.0
"""Longest time for killed processes to be gone."""

RESUMES = 3
"""Largest number of further sessions in which a run must be finished."""

BUSY = "when the machine is less busy"
"""Words of a session that could not start Ray in time: it does not count, and the run is resumed once more."""

_INHERITED = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1)
"""Signals of which a run that ignores them at its start takes no notice: it was asked to, by `nohup` or a shell."""

MOST_BUSY = 20
"""Largest number of sessions that do not count."""

SPACE = """
description: all members of a tiny space, trained whatever their order
dataset: digits
families: [dense]
growth_rate: [4]
periods:
  - {m: [1, 2], s: [1], r: [1]}
  - {m: [1], s: [1, 2], r: [1]}
recipe: {name: short, epochs: 12, batch_size: 32}
train_images: 200
trials: 4
seeds: {search: 1, final: 2}
search: {racing: false, replicates: 0, sampler: random}
baselines: [ResNet-8]
"""

TWO_TRAININGS = """
description: a space of one network, beside a baseline
dataset: digits
families: [dense]
growth_rate: [4]
periods:
  - {m: [1], s: [1], r: [1]}
  - {m: [1], s: [1], r: [1]}
recipe: {name: short, epochs: 8, batch_size: 32}
train_images: 200
trials: 1
seeds: {search: 1, final: 1}
search: {racing: false, replicates: 0, sampler: random}
baselines: [ResNet-8]
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallRun:
    """A run that takes seconds, apart from the start of Ray.

    Attributes:
        directory: of the run.
        space: its space file.
        data_dir: where data sets lie.
        options: further options of its commands.
    """

    directory: Path
    space: Path
    data_dir: Path
    options: tuple[str, ...] = ()

    @classmethod
    def of_a_space(cls, directory: Path, data_dir: Path) -> SmallRun:
        """A run of all members of a space: the same trainings, in whatever order they end."""
        return cls._written(directory, data_dir, SPACE)

    @classmethod
    def of_two_trainings(cls, directory: Path, data_dir: Path) -> SmallRun:
        """A run of a baseline and then a candidate, by one worker: a second one imports as much again."""
        return cls._written(directory, data_dir, TWO_TRAININGS, "--max-concurrent", "1")

    @classmethod
    def _written(cls, directory: Path, data_dir: Path, text: str, *options: str) -> SmallRun:
        directory.parent.mkdir(parents=True, exist_ok=True)
        space = directory.with_suffix(".yaml")
        space.write_text(text, encoding="utf-8")
        return cls(directory=directory, space=space, data_dir=data_dir, options=options)

    def start(self) -> SmallRunCommand:
        """Begin the run."""
        return SmallRunCommand(self, "run", "--space", str(self.space), "--out", str(self.directory))

    def resume(self) -> SmallRunCommand:
        """Resume the run; where nothing was recorded yet, begin it again."""
        return SmallRunCommand(self, "resume", str(self.directory)) if self.history().run else self.start()

    def history(self) -> History:
        """What its ledger holds."""
        return Ledger(self.directory).read()

    def checkpoints(self) -> list[Path]:
        """Newest checkpoints of its trainings."""
        return sorted((self.directory / "work" / "trials").glob("*/checkpoint.pt"))


@contextlib.contextmanager
def _answered() -> Iterator[None]:
    """Let processes that begin in a `with` block answer signals which this one ignores, as a background job does."""
    ignored = [number for number in _INHERITED if signal.getsignal(number) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, lambda *_: None)  # a new program answers it as by default
    try:
        yield
    finally:
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)


class SmallRunCommand:
    """A command under way, in a process group of its own.

    Attributes:
        process: its driver.
        began_s: when it began, by the monotonic clock.
        errors: what it has written to standard error, once it has ended.
    """

    def __init__(self, small: SmallRun, *words: str) -> None:
        self.errors = ""
        self._over = False
        self.began_s = time.monotonic()
        with _answered():
            self.process = subprocess.Popen(  # noqa: S603 - this Python, with a command of ours
                [
                    sys.executable,
                    "-m",
                    "rksearch",
                    *words,
                    *small.options,
                    "--data-dir",
                    str(small.data_dir),
                    "--device",
                    "cpu",
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The driver."""
        return self.process.pid

    def ends_in_time(self, limit_s: float) -> bool:
        """Whether the command ends within the limit, not counting time that it waits for a CPU; waits for it."""
        clock = FairClock(lambda: [self.pid, *descendants(self.pid)])
        while clock.spent_s() < limit_s:
            if self.ends(1.0):
                return True
        return self._over

    def ends(self, within_s: float) -> bool:
        """Whether the command ends within some seconds; waits for it."""
        if self._over:
            return True
        try:
            _, self.errors = self.process.communicate(timeout=within_s)
        except subprocess.TimeoutExpired:
            return False
        self._over = True
        return True

    def last_line(self) -> str:
        """The last line that it wrote as an error; empty for none, or while it runs."""
        lines = self.errors.strip().splitlines()
        return lines[-1] if lines else ""

    def below(self, name: str) -> list[int]:
        """Processes below the driver whose command line holds a name."""
        return [pid for pid in descendants(self.pid) if name in _command_line(pid)]

    def left(self) -> list[int]:
        """Processes of its Ray that live on, given some seconds to end."""
        sessions = sessions_of(self.pid)
        deadline = time.monotonic() + LEAVES_WITHIN_S
        while (found := processes_of(sessions)) and time.monotonic() < deadline:
            time.sleep(0.2)
        return found

    def end_all(self) -> None:
        """Kill what is left of it."""
        pids = [*descendants(self.pid), self.pid]
        end_processes(pids)
        self.ends(10)
        end_processes(self.left())


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A fault, and when it happens.

    Attributes:
        kind: one of `KINDS`.
        moment_s: seconds after the start of the command, or the first moment after them at which there is a process of
            the kind; None for the moment at which a first checkpoint is there.
        seed: of its own choices: the process, the byte.
    """

    kind: str
    moment_s: float | None
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Disturbed:
    """What came of a fault.

    Attributes:
        fault: the fault.
        met: whether there was anything to disturb at that moment.
        went_on: whether the same session finished the run.
        line: the last line that the disturbed session wrote as an error; empty for none.
        ended_s: seconds from the fault to the end of the disturbed session.
        session_s: seconds of the disturbed session in all.
        sessions: number of sessions until the run was finished.
        problem: what should not have happened; None where all is well.
        commit: of the rksearch that was disturbed; None where that is not known.
    """

    fault: Fault
    met: bool
    went_on: bool
    line: str
    ended_s: float
    session_s: float
    sessions: int
    problem: str | None
    commit: str | None = None


Inject = Callable[[SmallRun, SmallRunCommand, random.Random], bool]
"""Does the damage; returns whether there was anything to damage."""


def disturb(small: SmallRun, fault: Fault, undisturbed: Mapping[str, Numbers]) -> Disturbed:
    """Run, inject, and resume until the run is finished; then compare.

    Args:
        small: a run whose directory does not exist yet.
        fault: what happens to it.
        undisturbed: numbers of each training of the same run left alone; empty not to compare.
    """
    session = small.start()
    try:
        return _disturbed(small, session, fault, undisturbed)
    finally:
        session.end_all()


def _disturbed(
    small: SmallRun, session: SmallRunCommand, fault: Fault, undisturbed: Mapping[str, Numbers]
) -> Disturbed:
    over = _waited(small, session, fault.moment_s)
    injected_s = time.monotonic()
    met = not over and KINDS[fault.kind](small, session, random.Random(fault.seed))
    problems: list[str] = []
    if not over and not session.ends_in_time(ENDS_WITHIN_S):
        problems.append(f"the session did not end within {ENDS_WITHIN_S:.0f} s")
        session.end_all()
    ended_s = time.monotonic() - injected_s
    problems += _manners(session, killed=fault.kind in OF_THE_DRIVER_ITSELF and met)
    sessions, last = _finished(small, session, problems)
    history = small.history()
    if history.state != "finished":
        problems.append(f"the run is {history.state} after {sessions} sessions: {history.message or last}")
    elif undisturbed and (differs := differences(undisturbed, history)):
        problems.append(differs)
    return Disturbed(
        fault=fault,
        met=met,
        went_on=session.process.returncode == 0,
        line=session.last_line(),
        ended_s=round(ended_s, 1),
        session_s=round(injected_s + ended_s - session.began_s, 1),
        sessions=sessions,
        problem="; ".join(problems) or None,
    )


def _finished(small: SmallRun, session: SmallRunCommand, problems: list[str]) -> tuple[int, str]:
    """Resume a run until it is finished, or has had its number of sessions.

    Returns:
        The number of sessions that count, and the last line of errors of the last one.
    """
    sessions, busy = 1, 0
    while small.history().state != "finished" and sessions <= RESUMES:
        session = small.resume()
        try:
            if not session.ends_in_time(2 * ENDS_WITHIN_S):
                problems.append("a resumed session did not end")
                break
            problems += _manners(session, killed=False)
        finally:
            session.end_all()
        if BUSY in session.errors and busy < MOST_BUSY:
            busy += 1
        else:
            sessions += 1
    return sessions, session.last_line()


def _waited(small: SmallRun, session: SmallRunCommand, moment_s: float | None) -> bool:
    """Wait for the moment of a fault; returns whether the command has ended before."""
    if moment_s is not None:
        return session.ends(moment_s)
    deadline = time.monotonic() + 2 * ENDS_WITHIN_S
    while not small.checkpoints() and time.monotonic() < deadline:
        if session.ends(0.1):
            return True
    return False


def _manners(session: SmallRunCommand, *, killed: bool) -> list[str]:
    """What a command did that it should not: more than a line of errors, a traceback, processes left behind."""
    found = []
    lines = session.errors.strip().splitlines()
    if len(lines) > 1 and not killed:
        found.append(f"{len(lines)} lines of errors, the first one {lines[0][:200]!r}")
    if left := session.left():
        found.append(f"{len(left)} processes were left behind: {_command_line(left[0])[:80]}")
        end_processes(left)
    return found


def numbers_of(result: TrialResult) -> Numbers:
    """Losses and errors of each epoch."""
    return tuple((e.train_loss, e.train_error_pct, e.val_loss, e.val_error_pct) for e in result.epochs)


def numbers_in(history: History) -> dict[str, Numbers]:
    """Numbers of each complete training."""
    return {key: numbers_of(result) for key, (_, result) in history.trials.items() if result.status == "complete"}


def differences(undisturbed: Mapping[str, Numbers], history: History) -> str | None:
    """How a run differs from the undisturbed one, in a line; None where it does not."""
    found = numbers_in(history)
    parts = {
        "lost": sorted(undisturbed.keys() - found.keys()),
        "not in the undisturbed run": sorted(found.keys() - undisturbed.keys()),
        "changed": sorted(key for key in found.keys() & undisturbed.keys() if found[key] != undisturbed[key]),
    }
    texts = [f"{len(names)} trainings are {what}: {', '.join(names[:3])}" for what, names in parts.items() if names]
    if history.repeated:
        texts.append(f"{history.repeated} trainings were recorded twice")
    return "; ".join(texts) or None


# -- the faults


def _signal_driver(*numbers: signal.Signals, group: bool = False, apart_s: float = 0.05) -> Inject:
    def inject(small: SmallRun, session: SmallRunCommand, rng: random.Random) -> bool:
        for i, number in enumerate(numbers):
            if i:
                time.sleep(apart_s)
            with contextlib.suppress(ProcessLookupError):
                (os.killpg if group else os.kill)(session.pid, number)
        return True

    return inject


def _signal_below(of: Callable[[SmallRun], str], *numbers: signal.Signals, apart_s: float = 3.0) -> Inject:
    """Send signals to one of the processes whose command line holds a name, as soon as there is one."""

    def inject(small: SmallRun, session: SmallRunCommand, rng: random.Random) -> bool:
        while not (found := session.below(of(small))):
            if session.ends(0.2):
                return False
        chosen = rng.choice(found)
        for i, number in enumerate(numbers):
            if i:
                time.sleep(apart_s)
            with contextlib.suppress(ProcessLookupError):
                os.kill(chosen, number)
        return True

    return inject


def _named(name: str) -> Callable[[SmallRun], str]:
    return lambda small: name


def _worker(small: SmallRun) -> str:
    """Ray shows an actor by the name of its run."""
    from rksearch.search.ray.reports import class_name

    return f"ray::{class_name(small.directory.name)}"


def _after_a_kill(damage: Callable[[SmallRun, random.Random], bool]) -> Inject:
    """The driver is killed, as by a power cut, and what it wrote last is damaged."""

    def inject(small: SmallRun, session: SmallRunCommand, rng: random.Random) -> bool:
        session.end_all()
        return damage(small, rng)

    return inject


def _cut_checkpoint(small: SmallRun, rng: random.Random) -> bool:
    for path in _some(small.checkpoints(), rng):
        os.truncate(path, rng.randrange(path.stat().st_size))
        return True
    return False


def _flip_checkpoint(small: SmallRun, rng: random.Random) -> bool:
    for path in _some(small.checkpoints(), rng):
        content = bytearray(path.read_bytes())
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(content)
        return True
    return False


def _remove_checkpoints(small: SmallRun, rng: random.Random) -> bool:
    for path in _some(small.checkpoints(), rng):
        for file in path.parent.glob("*.pt"):
            file.unlink()
        return True
    return False


def _cut_ledger(small: SmallRun, rng: random.Random) -> bool:
    """The last line was not written whole."""
    path = small.directory / FILE_NAME
    if not path.exists() or path.read_bytes().count(b"\n") < 3:
        return False
    content = path.read_bytes()
    begin = content.rstrip(b"\n").rfind(b"\n") + 1
    os.truncate(path, rng.randrange(begin, len(content)))
    return True


def _flip_ledger(small: SmallRun, rng: random.Random) -> bool:
    """One bit of what was written after the plan and the first session."""
    path = small.directory / FILE_NAME
    content = bytearray(path.read_bytes()) if path.exists() else bytearray()
    lines = bytes(content).split(b"\n")
    begin = sum(len(line) + 1 for line in lines[:3])
    if begin >= len(content) - 1:
        return False
    content[rng.randrange(begin, len(content) - 1)] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
    return True


def _some(paths: Sequence[Path], rng: random.Random) -> list[Path]:
    return [rng.choice(paths)] if paths else []


_STOP, _CONT = signal.SIGSTOP, signal.SIGCONT

KINDS: dict[str, Inject] = {
    "driver killed": _signal_driver(signal.SIGKILL),
    "driver SIGTERM": _signal_driver(signal.SIGTERM),
    "driver SIGINT": _signal_driver(signal.SIGINT),
    "driver SIGINT twice": _signal_driver(signal.SIGINT, signal.SIGINT),
    "driver SIGHUP": _signal_driver(signal.SIGHUP),
    "driver SIGUSR1": _signal_driver(signal.SIGUSR1),
    "driver SIGQUIT": _signal_driver(signal.SIGQUIT),
    "driver suspended": _signal_driver(_STOP, _CONT, apart_s=5.0),
    "all processes SIGTERM": _signal_driver(signal.SIGTERM, group=True),
    "all processes SIGINT": _signal_driver(signal.SIGINT, group=True),
    "all processes suspended": _signal_driver(_STOP, _CONT, group=True, apart_s=5.0),
    "all processes killed": _signal_driver(signal.SIGKILL, group=True),
    "worker killed": _signal_below(_worker, signal.SIGKILL),
    "worker crashed": _signal_below(_worker, signal.SIGSEGV),
    "worker suspended": _signal_below(_worker, _STOP, _CONT),
    "idle worker killed": _signal_below(_named("ray::IDLE"), signal.SIGKILL),
    "raylet killed": _signal_below(_named("raylet/raylet"), signal.SIGKILL),
    "raylet suspended": _signal_below(_named("raylet/raylet"), _STOP, _CONT),
    "GCS killed": _signal_below(_named("gcs/gcs_server"), signal.SIGKILL),
    "GCS suspended": _signal_below(_named("gcs/gcs_server"), _STOP, _CONT),
    "agent killed": _signal_below(_named("ray::DashboardAgent"), signal.SIGKILL),
    "environment agent killed": _signal_below(_named("ray::RuntimeEnvAgent"), signal.SIGKILL),
    "dashboard killed": _signal_below(_named("dashboard/dashboard.py"), signal.SIGKILL),
    "log monitor killed": _signal_below(_named("log_monitor.py"), signal.SIGKILL),
    "study writer killed": _signal_below(_named("rksearch.search.samplers.study_file"), signal.SIGKILL),
    "any process killed": _signal_below(_named(""), signal.SIGKILL),
    "any process suspended": _signal_below(_named(""), _STOP, _CONT),
    "checkpoint cut": _after_a_kill(_cut_checkpoint),
    "checkpoint bit flipped": _after_a_kill(_flip_checkpoint),
    "checkpoints removed": _after_a_kill(_remove_checkpoints),
    "ledger cut": _after_a_kill(_cut_ledger),
    "ledger bit flipped": _after_a_kill(_flip_ledger),
}
"""Every kind of fault by its name."""

OF_THE_DRIVER_ITSELF = {kind for kind in KINDS if kind.endswith(("driver killed", "processes killed"))} | {
    "driver SIGQUIT",
    "checkpoint cut",
    "checkpoint bit flipped",
    "checkpoints removed",
    "ledger cut",
    "ledger bit flipped",
}
"""Kinds by which the driver has no say in what is written last."""


def draw(count: int, seed: int, span_s: float, kinds: Sequence[str] = ()) -> list[Fault]:
    """Faults of random kinds at random moments; the first ones are the same whatever their number.

    Args:
        count: number of faults.
        seed: of the choice.
        span_s: duration of the undisturbed run, in which moments lie.
        kinds: kinds to choose from; empty for all.

    Raises:
        RunError: there is no such kind.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise RunError(f"a fault must be one of {', '.join(KINDS)}, but got {kind!r}; choose one of them")
    return [drawn(i, seed, span_s, kinds) for i in range(count)]


def drawn(i: int, seed: int, span_s: float, kinds: Sequence[str] = ()) -> Fault:
    """The fault of a number; see `draw`. Every kind comes once before one comes again."""
    names = list(kinds) or list(KINDS)
    order = random.Random(f"{seed}/{i // len(names)}").sample(names, len(names))
    rng = random.Random(f"{seed}/{i}")
    moment_s = round(rng.uniform(0.0, span_s), 2)
    return Fault(kind=order[i % len(names)], moment_s=moment_s, seed=rng.randrange(2**32))


# -- processes


def descendants(pid: int) -> list[int]:
    """All processes below one; none where the system does not list them."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            stat = (entry / "stat").read_text(encoding="ascii", errors="replace")
            children.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found[1:]


def _command_line(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""
