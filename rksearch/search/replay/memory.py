"""A ledger in memory: what a replayed run writes and reads, without a disk and without copies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rksearch.ledger import History
from rksearch.records import TrialResult, TrialSpec


class MemoryLedger:
    """Keeps what `rksearch.ledger.Ledger` would write, for one run that nobody else reads.

    The history that it gives is a view: it grows with the next record.
    """

    def __init__(self) -> None:
        self._trials: dict[str, tuple[TrialSpec, TrialResult]] = {}
        self._paused: dict[str, tuple[TrialSpec, TrialResult]] = {}
        self._retried: dict[str, str] = {}
        self._wall_time_s: dict[str, float] = {}
        self._started: dict[str, None] = {}
        self._tests: list[dict[str, Any]] = []

    def write_start(self, trial: str) -> None:
        """A trial was handed to a worker."""
        self._started[trial] = None

    def write_pause(
        self, spec: TrialSpec, result: TrialResult, *, wall_time_s: float, cpus: float = 0.0, gpus: float = 0.0
    ) -> None:
        """A trial has paused and may go on."""
        self._paused[spec.id] = (spec, result)
        self._wall_time_s[spec.id] = self._wall_time_s.get(spec.id, 0.0) + wall_time_s

    def write_trial(
        self, spec: TrialSpec, result: TrialResult, *, wall_time_s: float, cpus: float = 0.0, gpus: float = 0.0
    ) -> None:
        """A finished trial; final."""
        self._paused.pop(spec.id, None)
        self._trials[spec.id] = (spec, result)
        self._wall_time_s[spec.id] = self._wall_time_s.get(spec.id, 0.0) + wall_time_s

    def write_retry(self, trial: str, reason: str) -> None:
        """A trial that will be tried once more."""
        self._retried[trial] = reason

    def write_test(self, spec: TrialSpec, result: Mapping[str, Any]) -> None:
        """A reading of the test set."""
        self._tests.append({"trial": spec.id, "arch": spec.arch, "replicate": spec.replicate, "result": dict(result)})

    def follow(self) -> MemoryLedger:
        """Itself: it always knows everything."""
        return self

    def refresh(self) -> History:
        """Everything that was written."""
        return History(
            trials=self._trials,
            paused=self._paused,
            retried=self._retried,
            wall_time_s=self._wall_time_s,
            started=tuple(self._started),
            tests=tuple(self._tests),
            state="running",
        )
