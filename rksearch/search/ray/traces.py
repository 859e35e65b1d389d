"""Traces that a worker leaves in its trial's directory, and what they and Ray say of its death."""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rksearch.limits import memory_kills
from rksearch.training.machine import machine_id

CRASH = "crash.txt"
"""Python's own trace of a fatal signal; empty while there was none."""

WORKER = "worker.json"
"""Process and machine that work on the trial, and how many processes the system had killed for memory before."""

MEMORY_WORDS = ("running low on memory", "OutOfMemoryError")
"""Words by which Ray says that its memory monitor killed a worker; it names memory as a possible cause of any death."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """The end of a worker process.

    Attributes:
        kind: `out_of_memory`, `worker_died`, or `fault` where an exception came from outside of the training.
        message: the reason in one line.
    """

    kind: str
    message: str


@contextlib.contextmanager
def traces(directory: Path) -> Iterator[None]:
    """Leave traces of this process in a directory if it dies in the `with` block, as far as the disk allows."""
    crash, worker = directory / CRASH, directory / WORKER
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            directory.mkdir(parents=True, exist_ok=True)
            about = {"pid": os.getpid(), "machine": machine_id(), "memory_kills": memory_kills()}
            worker.write_text(json.dumps(about), encoding="utf-8")
            file = stack.enter_context(crash.open("w", encoding="utf-8"))
            faulthandler.enable(file, all_threads=False)
            stack.callback(_as_before)
        yield
    for path in (crash, worker):
        with contextlib.suppress(OSError):
            path.unlink()


def _as_before() -> None:
    """Write traces to standard error again, as Ray's workers do; without one (in a test, for one) nowhere."""
    faulthandler.disable()
    with contextlib.suppress(OSError, ValueError, AttributeError, RuntimeError):
        faulthandler.enable()


def death_of(said: str, directory: Path) -> Death:
    """Why a worker died.

    Args:
        said: what Ray says.
        directory: of its trial, where that is on a disk of this machine.
    """
    if crash := _read(directory / CRASH).strip():
        return Death(kind="worker_died", message=f"its worker process crashed: {_crash_text(crash, directory)}")
    if any(word in said for word in MEMORY_WORDS) or _killed_for_memory(directory):
        return Death(
            kind="out_of_memory",
            message="its worker process was killed because memory ran out; use fewer trials at a time "
            "(--max-concurrent), or a smaller batch or network",
        )
    if raised := raised_text(said):
        return Death(kind="fault", message=raised)
    if code := re.search(r"exit(?:ed)? (?:with )?(?:exit )?code[ =:]*(-?\d+)", said):
        return Death(kind="worker_died", message=f"its worker process exited with code {code[1]}")
    return Death(
        kind="worker_died",
        message="its worker process ended without a word: it was killed, or code of the training called os._exit",
    )


def raised_text(said: str) -> str | None:
    """The exception at the end of a traceback that Ray passes on, in one line; None where there is none."""
    if "Traceback (most recent call last)" not in said and "ray::" not in said:
        return None
    lines = [line.strip() for line in said.strip().splitlines()]
    found = [line for line in lines if re.match(r"[A-Za-z_][\w.]*(Error|Exception|Exit|Interrupt|NotFound)\b", line)]
    return found[-1][:300] if found else None


def _crash_text(crash: str, directory: Path) -> str:
    """`Segmentation fault at line 12 of plugin.py in forward (the trace is in work/trials/NAME/crash.txt)`."""
    first, *rest = crash.splitlines()
    what = first.removeprefix("Fatal Python error: ")
    at = next((line for line in rest if line.strip().startswith("File ")), "")
    place = re.match(r'\s*File "(.*)", line (\d+) in (.*)', at)
    where = f" at line {place[2]} of {Path(place[1]).name} in {place[3]}" if place else ""
    return f"{what}{where} (the trace is in work/trials/{directory.name}/{CRASH})"


def _killed_for_memory(directory: Path) -> bool:
    """Whether the system has killed processes for memory on this machine since the worker, on it too, began."""
    with contextlib.suppress(ValueError, TypeError, AttributeError):
        about = json.loads(_read(directory / WORKER))
        now = memory_kills()
        if about.get("machine") == machine_id() and now is not None and about.get("memory_kills") is not None:
            return now > int(about["memory_kills"])
    return False


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
