"""Random faults in number: injected one after the other, kept as they end, so that the command resumes, and reported.

`faults.jsonl` holds the conditions and the undisturbed run in its first line, and an injection in each other one, each
line with a checksum as in a ledger; an injection whose line is damaged is made again. A later call runs undisturbed
once more, since it may be on another machine, whose numbers differ in their last bits; where they do, another line of
conditions precedes its injections. The table of `faults.md` is made from it.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from rksearch.bench.faults.disturbing import BUSY, MOST_BUSY, Disturbed, Numbers, disturb, numbers_in
from rksearch.bench.faults.kinds import KINDS, draw, drawn
from rksearch.bench.faults.small_run import SPACE, SmallRun
from rksearch.errors import RunAborted, RunError
from rksearch.ordinary import write_atomically
from rksearch.results.codec import from_plain, to_plain
from rksearch.results.environment import Environment, current_environment
from rksearch.results.files import begins_with, require_free
from rksearch.results.lines import intact, sealed

FILE = "faults.jsonl"
REPORT = "faults.md"
TITLE = "# Faults injected into runs"

UNDISTURBED = "undisturbed"
"""Run that is left alone, beneath the runs of injections."""

UNDISTURBED_S = 600.0
"""Longest time of the undisturbed run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultConditions:
    """What all injections of a directory have in common that were made on one machine.

    Attributes:
        seed: of kinds, moments and of what a fault chooses by itself.
        kinds: kinds of faults to choose from; empty for all.
        span_s: duration of the undisturbed run.
        undisturbed: numbers of each of its trainings.
        environment: where that run was made.
    """

    seed: int
    kinds: tuple[str, ...]
    span_s: float
    undisturbed: dict[str, Numbers]
    environment: Environment


def inject_faults(
    directory: Path, *, count: int, seed: int, kinds: Sequence[str], data_dir: Path, show: Callable[[str], None]
) -> list[Disturbed]:
    """Inject faults that a directory does not hold yet, and write its report.

    Args:
        directory: of the results; one of an earlier call goes on.
        count: number of faults in all.
        seed, kinds: see `FaultConditions`.
        data_dir: where data sets lie.
        show: shows a line about each.

    Returns:
        What came of each fault, the first one first.

    Raises:
        RunError: the directory holds faults of another seed or of other kinds.
        TakenError: it holds files that no injection wrote.
        RunAborted: an undisturbed run does not finish.
    """
    draw(0, seed, 1.0, kinds)
    path = directory / FILE
    records, damaged = _records(path)
    _require_own(directory, begun=bool(records))
    directory.mkdir(parents=True, exist_ok=True)
    if damaged:
        show(f"damaged lines of {path}, whose injections are made again: {', '.join(map(str, damaged))}")
    known = [from_plain(FaultConditions, record) for record in records if "undisturbed" in record]
    ended = [from_plain(Disturbed, record) for record in records if "undisturbed" not in record]
    if known and (known[0].seed, known[0].kinds) != (seed, tuple(kinds)):
        raise RunError(
            f"injections go on with their own seed and kinds, but {path} has seed {known[0].seed} and "
            f"{', '.join(known[0].kinds) or 'all kinds'}; give these, or another --out"
        )
    by_number = _by_number(ended, len(ended) + len(damaged), seed, kinds)
    if not known or any(i not in by_number for i in range(count)):
        here = _conditions(directory, seed, kinds, data_dir)
        if not known or here.undisturbed != known[-1].undisturbed:
            _append(path, to_plain(here))
            known.append(here)
    conditions = known[-1]
    here_now = current_environment()
    code = here_now.code if here_now.commit else None

    def found() -> list[Disturbed]:
        return [by_number[i] for i in sorted(by_number)]

    for i in range(count):
        if i not in by_number:
            fault = drawn(i, seed, span_s(conditions, ended), conditions.kinds)
            small = SmallRun.of_a_space(directory / "work" / f"run-{i}", data_dir)
            shutil.rmtree(small.directory, ignore_errors=True)  # of a call that was interrupted
            one = replace(disturb(small, fault, conditions.undisturbed), commit=code)
            _append(path, to_plain(one))
            ended.append(one)
            by_number[i] = one
            write_atomically(directory / REPORT, report_text(known, found()).encode())
            if one.problem is None:
                shutil.rmtree(small.directory, ignore_errors=True)
        show(f"{i + 1}/{count} {outcome_text(by_number[i])}")
    write_atomically(directory / REPORT, report_text(known, found()).encode())
    return found()


def _by_number(ended: Sequence[Disturbed], numbers: int, seed: int, kinds: Sequence[str]) -> dict[int, Disturbed]:
    """What came of faults, by their numbers: where a line was damaged, they are not in order."""
    records = {(one.fault.kind, one.fault.seed): one for one in ended}
    found: dict[int, Disturbed] = {}
    # A torn or damaged line leaves out a number, and no more numbers than lines were ever given.
    for i in range(numbers):
        fault = drawn(i, seed, 1.0, kinds)
        if (one := records.get((fault.kind, fault.seed))) is not None:
            found[i] = one
    return found


def _require_own(directory: Path, *, begun: bool) -> None:
    """Make sure that what injections replace and remove in a directory is of earlier ones.

    Args:
        directory: the directory, which need not exist.
        begun: whether it holds a record of an injection.

    Raises:
        TakenError: it is not.
    """
    if not begins_with(directory / REPORT, TITLE.encode()):
        require_free([directory / REPORT], "the report of injections")
    if begun:
        return
    if not begins_with(directory / FILE, b'{"seed":'):  # the first line, torn
        require_free([directory / FILE], "the record of injections")
    work = directory / "work"
    empty = work.is_dir() and not any(work.iterdir())
    if not empty and not begins_with(work / f"{UNDISTURBED}.yaml", SPACE.encode()):
        require_free([work], "the runs of injections")


def span_s(conditions: FaultConditions, found: Sequence[Disturbed]) -> float:
    """Seconds in which the moment of the next fault lies: what the last run took that one session finished.

    A machine that does other work may be several times slower or faster than it was when the undisturbed run was made.
    """
    for one in reversed(found):
        if one.went_on and one.fault.moment_s is not None:
            return one.session_s
    return conditions.span_s


def _conditions(directory: Path, seed: int, kinds: Sequence[str], data_dir: Path) -> FaultConditions:
    small = SmallRun.of_a_space(directory / "work" / UNDISTURBED, data_dir)
    for _ in range(MOST_BUSY):
        shutil.rmtree(small.directory, ignore_errors=True)
        began_s = time.monotonic()
        session = small.start()
        try:
            over = session.ends_in_time(UNDISTURBED_S)
        finally:
            session.end_all()
        if BUSY not in session.errors:
            break
    history = small.history()
    if not over or history.state != "finished":
        raise RunAborted(f"the undisturbed run must finish, but it is {history.state}: {session.errors.strip()[-300:]}")
    return FaultConditions(
        seed=seed,
        kinds=tuple(kinds),
        span_s=round(time.monotonic() - began_s, 1),
        undisturbed=numbers_in(history),
        environment=current_environment(),
    )


def outcome_text(one: Disturbed) -> str:
    """An injection in a line: `raylet killed at 12.3 s: ended after 4.1 s, 2 sessions; ok`."""
    what = "went on" if one.went_on else f"ended after {one.ended_s:.1f} s"
    if not one.met:
        what = f"nothing to disturb, {what}"
    sessions = "1 session" if one.sessions == 1 else f"{one.sessions} sessions"
    return f"{one.fault.kind} at {one.fault.moment_s} s: {what}, {sessions}; {one.problem or 'ok'}"


def report_text(known: Sequence[FaultConditions], found: Sequence[Disturbed]) -> str:
    """The report in Markdown: a table of kinds, one of what should not have happened, and how to repeat it.

    Args:
        known: conditions of each machine, at least one.
        found: what came of each fault.
    """
    bad = [(i, one) for i, one in enumerate(found) if one.problem is not None]
    met = [one for one in found if one.met]
    conditions, env = known[0], known[0].environment
    commits = list(dict.fromkeys(_code(one, env) for one in found))
    kinds = f" {' '.join(f'--kind {kind!r}' for kind in conditions.kinds)}" if conditions.kinds else ""
    lines = [
        TITLE,
        "",
        f"{len(found)} faults were drawn with seed {conditions.seed}; {len(met)} met something to disturb. "
        f"{len(found) - len(bad)} of the {len(found)} runs ended with the {len(conditions.undisturbed)} trainings of "
        "the undisturbed run, each once and each with its numbers bit for bit, in time, and left no process behind; "
        f"{len(bad)} did not.",
        "",
        "A fault comes at a random moment between the command and the end of a run that is left alone "
        f"({conditions.span_s:.0f} s the first time). A session that ends by it is resumed until the run is finished.",
        "",
        "| fault | injected | met | went on | ended, longest | sessions, most | not as it should be |",
        "|---|---:|---:|---:|---:|---:|---:|",
        *_kind_rows(found),
        "",
    ]
    if bad:
        lines += ["## Not as it should be", ""]
        lines += [f"- {i}: {outcome_text(one)}" for i, one in bad]
        lines += [""]
    machines = ", then ".join(dict.fromkeys(_machine(own.environment) for own in known))
    lines += [
        "## To repeat it",
        "",
        "```bash",
        f"rksearch selftest --faults {len(found)} --seed {conditions.seed}{kinds} --out DIRECTORY",
        "```",
        "",
        f"rksearch {env.rksearch}, commits {', '.join(commits)}; {machines}.",
        f"Each injection, with its moment, seed and outcome, is a line of `{FILE}`.",
        "",
    ]
    return "\n".join(lines)


def _code(one: Disturbed, env: Environment) -> str:
    """The code that was disturbed, in words; that of the conditions where the injection says no other."""
    if one.commit in (None, env.commit):
        return env.code if env.commit else "unknown"
    return one.commit or "unknown"


def _machine(env: Environment) -> str:
    versions = f"Python {env.python}, torch {env.version('torch')}, ray {env.version('ray')}"
    return f"{versions}; {env.cpu_count} CPUs ({env.cpu}), {env.os}"


def _kind_rows(found: Sequence[Disturbed]) -> Iterator[str]:
    for kind in KINDS:
        mine = [one for one in found if one.fault.kind == kind]
        if not mine:
            continue
        ended = [one.ended_s for one in mine if one.met and not one.went_on]
        cells = (
            kind,
            len(mine),
            sum(one.met for one in mine),
            sum(one.went_on for one in mine if one.met),
            f"{max(ended):.0f} s" if ended else "",
            max(one.sessions for one in mine),
            sum(one.problem is not None for one in mine),
        )
        yield f"| {' | '.join(map(str, cells))} |"


def _append(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record durably."""
    content = path.read_bytes() if path.exists() else b""
    if content and not content.endswith(b"\n"):
        os.truncate(path, content.rfind(b"\n") + 1)  # a line that a killed process was writing
    with path.open("ab") as file:
        file.write(sealed(msgspec.json.encode(record)))
        file.flush()
        os.fsync(file.fileno())


def _records(path: Path) -> tuple[list[dict[str, Any]], list[int]]:
    """The records of a file, and the numbers of its damaged lines; what follows the last line feed is neither."""
    records, damaged = [], []
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    for number, line in enumerate(lines, 1):
        record = msgspec.json.decode(line) if intact(line) else {}
        if "undisturbed" in record or "fault" in record:
            records.append({key: value for key, value in record.items() if key != "crc"})
        else:
            damaged.append(number)
    return records, damaged
