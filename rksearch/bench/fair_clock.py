"""A clock for time limits of other processes that leaves out the time for which they wait for a CPU."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

from rksearch.training.pulse import run_delay_s

GREATEST_SHARE = 0.9
"""Largest share of the time that counts as waiting: a limit is reached after ten times its length at the latest."""

LONGEST_LOOK_S = 5.0
"""Longest time between two looks that counts: this process was suspended, as the others may have been."""


class FairClock:
    """Seconds that processes had since the clock was made, on a machine that also does other work.

    Linux counts for each thread how long it was ready to run and had no CPU (`run_delay` in `/proc/PID/schedstat`).
    Where the system does not tell, all time counts.

    Args:
        processes: gives the processes that live now.
        clock: a clock in seconds.
        waited: for each process, the seconds that each of its threads has waited so far.
    """

    def __init__(
        self,
        processes: Callable[[], Iterable[int]],
        *,
        clock: Callable[[], float] = time.monotonic,
        waited: Callable[[int], dict[str, float]] | None = None,
    ) -> None:
        self._processes, self._clock, self._waited = processes, clock, waited or waited_s
        self._spent_s = 0.0
        self._looked_at_s = clock()
        self._seen = self._look()

    def spent_s(self) -> float:
        """Seconds so far; a limit is to be looked at about once a second."""
        now_s, seen = self._clock(), self._look()
        passed_s = min(now_s - self._looked_at_s, LONGEST_LOOK_S)
        lost_s = sum(max(0.0, seconds - self._seen.get(name, 0.0)) for name, seconds in seen.items())
        self._spent_s += passed_s - min(lost_s, GREATEST_SHARE * passed_s)
        self._looked_at_s, self._seen = now_s, seen
        return self._spent_s

    def _look(self) -> dict[str, float]:
        return {name: seconds for pid in self._processes() for name, seconds in self._waited(pid).items()}


def waited_s(pid: int) -> dict[str, float]:
    """Seconds that each thread of a process was ready to run and had no CPU; empty where the system does not tell."""
    found = {}
    for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        seconds = run_delay_s(path)
        if seconds is not None:
            found[f"{pid}/{path.parent.name}"] = seconds
    return found
