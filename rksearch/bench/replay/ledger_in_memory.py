"""A ledger in memory for replayed runs, without a disk and without copies."""

from __future__ import annotations

from pathlib import Path

from rksearch.results.events import Event, TrialEnded, TrialPaused, TrialRetried, TrialStarted
from rksearch.results.history import History
from rksearch.results.ledger import Follower, Ledger
from rksearch.results.records import TrialResult, TrialSpec


class MemoryLedger(Ledger):
    """Keeps the records of trials; a search reads no others.

    The history that it gives is a view: it grows with the next record.
    """

    def __init__(self) -> None:
        super().__init__(Path())
        self._trials: dict[str, tuple[TrialSpec, TrialResult]] = {}
        self._paused: dict[str, tuple[TrialSpec, TrialResult]] = {}
        self._retried: dict[str, str] = {}
        self._wall_time_s: dict[str, float] = {}
        self._started: dict[str, None] = {}

    def append(self, event: Event) -> None:
        """Keep one record."""
        match event:
            case TrialStarted():
                self._started[event.trial] = None
            case TrialRetried():
                self._retried[event.trial] = event.reason
            case TrialPaused() | TrialEnded():
                key = event.trial
                self._paused.pop(key, None)
                kept = self._paused if isinstance(event, TrialPaused) else self._trials
                kept[key] = (event.spec, event.result)
                self._wall_time_s[key] = self._wall_time_s.get(key, 0.0) + event.wall_time_s

    def follow(self) -> Follower:
        """A reader that knows every record at once."""
        return _View(self)

    def read(self) -> History:
        """Everything that was kept."""
        return History(
            trials=self._trials,
            paused=self._paused,
            retried=self._retried,
            wall_time_s=self._wall_time_s,
            started=tuple(self._started),
            state="running",
        )


class _View(Follower):
    def __init__(self, ledger: MemoryLedger) -> None:
        super().__init__(ledger.path)
        self._ledger = ledger

    def refresh(self) -> History:
        return self._ledger.read()
