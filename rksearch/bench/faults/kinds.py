"""The kinds of faults, and their random choice."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rksearch.bench.faults.small_run import SmallRun, SmallRunCommand
from rksearch.errors import RunError
from rksearch.results.ledger import FILE_NAME


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


Inject = Callable[[SmallRun, SmallRunCommand, random.Random], bool]
"""Does the damage; returns whether there was anything to damage."""


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
