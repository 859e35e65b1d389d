"""A fault in a run: run, inject, resume until the run is finished, compare with the run left alone."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rksearch.bench.faults.kinds import KINDS, OF_THE_DRIVER_ITSELF, Fault
from rksearch.bench.faults.small_run import SmallRun, SmallRunCommand, command_line
from rksearch.results.history import History
from rksearch.results.records import TrialResult
from rksearch.search.ray.leftovers import end_processes

Numbers = tuple[tuple[float, ...], ...]
"""Losses and errors of each epoch of a training."""

ENDS_WITHIN_S = 150.0
"""Longest time that a command may take to end after a fault that it cannot survive, or to go on for good.

Time that its processes wait for a CPU is not counted, see `FairClock`.
"""

RESUMES = 3
"""Largest number of further sessions in which a run must be finished."""

BUSY = "when the machine is less busy"
"""Words of a session that could not start Ray in time: it does not count, and the run is resumed once more."""

MOST_BUSY = 20
"""Largest number of sessions that do not count."""


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
        commit: of the rksearch that was disturbed, as `Environment.code` says it; None where that is not known.
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
        line=placeless(session.last_line(), small.directory),
        ended_s=round(ended_s, 1),
        session_s=round(injected_s + ended_s - session.began_s, 1),
        sessions=sessions,
        problem=placeless("; ".join(problems), small.directory) or None,
    )


def placeless(words: str, directory: Path) -> str:
    """Words about a run by its name alone: records are published, and where it lay is nobody's business."""
    return words.replace(f"{directory.resolve().parent}/", "")


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
        found.append(f"{len(left)} processes were left behind: {command_line(left[0])[:80]}")
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
