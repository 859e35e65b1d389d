"""Where the time of a trial goes: seconds by part of its work."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rksearch.results.records import WorkTimes
from rksearch.training.pulse import OnPart, unobserved


class PartClock:
    """Sums the seconds of each part of a trial's work, from its start in this process on.

    Args:
        on_part: called when a part begins.
    """

    def __init__(self, on_part: OnPart = unobserved) -> None:
        self._on_part = on_part
        self._began_s, self._start = time.time(), time.monotonic()
        self._parts_s: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Add the block's seconds to a part."""
        self._on_part(name)
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - start)

    def add(self, name: str, seconds: float) -> None:
        """Add seconds to a part."""
        self._parts_s[name] = self._parts_s.get(name, 0.0) + seconds

    def times(self) -> WorkTimes:
        """The seconds up to now, in milliseconds' steps: a ledger holds thousands of them."""
        return WorkTimes(
            began_s=round(self._began_s, 3),
            ended_s=round(self._began_s + time.monotonic() - self._start, 3),  # the clock may have been set meanwhile
            parts_s={name: round(seconds, 3) for name, seconds in self._parts_s.items()},
        )
