"""Pulse of a training: the part of its work that it is at, and for how long, to tell what is slow from what hangs."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rksearch.training.machine import machine_id

OnPart = Callable[[str], None]
"""Called when a part of a training's work begins: `load`, `build`, `prepare`, `step`, `validate`, `save`, ..."""

LONGEST_GAP_S = 4.0
"""Longest time between two beats that counts: a process that was suspended did nothing in the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """A training as it is now.

    Attributes:
        part: what it is at.
        lasted_s: seconds since that began in which its thread ran or slept by its own choice: not those in which the
            process was suspended or waited for a CPU.
        longest_s: the longest that this part has lasted before; None for the first time.
        pid, machine: its process, and the machine that it runs on; see `machine_id`.
    """

    part: str
    lasted_s: float
    longest_s: float | None
    pid: int
    machine: str


def unobserved(part: str) -> None:
    """Take no note of a part."""


class Pulse:
    """Made in the thread that trains, which calls `begin`; another thread calls `beat` every other second.

    Args:
        clock: seconds that only grow.
        waited_s: seconds that the training thread has waited for a CPU in all.
    """

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, waited_s: Callable[[], float] | None = None
    ) -> None:
        self._clock = clock
        self._waited_s = waited_s or _waiting(threading.get_native_id())
        self._part, self._since_s, self._serial = "start", clock(), 0
        self._longest: dict[str, float] = {}
        self._seen, self._lasted_s = -1, 0.0
        self._beat_at_s, self._waited_at_s = clock(), self._waited_s()

    def begin(self, part: str) -> None:
        """The part before has ended, and this one begins."""
        now = self._clock()
        lasted_s = now - self._since_s
        if lasted_s > self._longest.get(self._part, 0.0):
            self._longest[self._part] = lasted_s
        self._part, self._since_s = part, now
        self._serial += 1

    def beat(self) -> Beat:
        """The training as it is now."""
        now, waited_s, serial = self._clock(), self._waited_s(), self._serial
        passed_s = min(now - self._beat_at_s, LONGEST_GAP_S) - (waited_s - self._waited_at_s)
        if serial != self._seen:
            self._seen, self._lasted_s = serial, 0.0
            passed_s = min(passed_s, now - self._since_s)
        self._lasted_s += max(0.0, passed_s)
        self._beat_at_s, self._waited_at_s = now, waited_s
        return Beat(
            part=self._part,
            lasted_s=round(self._lasted_s, 3),
            longest_s=self._longest.get(self._part),
            pid=os.getpid(),
            machine=machine_id(),
        )


def _waiting(thread: int) -> Callable[[], float]:
    """Seconds that a thread of this process has waited for a CPU; 0 where the system does not say."""
    path = Path(f"/proc/self/task/{thread}/schedstat")
    return lambda: run_delay_s(path) or 0.0


def run_delay_s(schedstat: Path) -> float | None:
    """Seconds that a thread was ready to run and had no CPU, from its `schedstat`; None where that does not say."""
    try:
        # Nanoseconds on a CPU, nanoseconds waiting for one, number of slices (proc(5)).
        return int(schedstat.read_text(encoding="ascii").split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return None
