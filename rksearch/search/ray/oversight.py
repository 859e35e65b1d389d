"""Oversight of the trainings under way: of those that hang, that take too long, and of the end of the session."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rksearch.search.hanging import hanging
from rksearch.search.ray.traces import Death
from rksearch.search.run_state import RunState
from rksearch.search.tasks import Task
from rksearch.training.machine import machine_id
from rksearch.training.pulse import Beat

LOOK_S = 2.0
"""Seconds between two looks; a driver that was suspended has waited for its workers no longer than that."""

GRACE_S = 40.0
"""Seconds that a training has, after the session's time is up, to end the epoch that it is in, unless its epochs are
longer."""

EPOCHS = 1.3
"""The same as a multiple of its last epoch's time."""

LONGEST_GRACE_S = 120.0
"""The longest of these, where a batch job ends."""


@dataclass(slots=True)
class _Watched:
    """What is known of a task under way: seconds since its last new beat, and since it began."""

    beat: Beat | None = None
    silent_s: float = 0.0
    worked_s: float = 0.0


class Oversight:
    """Looks at the tasks that have a worker, and ends what must be ended.

    Args:
        state: state of the run.
        tasks: tasks by Tune's id of their trials.
        end: ends the worker of a trial, with the reason.
        last_beat: see `rksearch.search.ray.pulses.last_beat`.
        trial_hours: longest time of one training, of all its sessions together; None for no limit.
        clock, time: seconds that only grow, and seconds since 1970.
    """

    def __init__(
        self,
        state: RunState,
        tasks: Mapping[str, Task],
        end: Callable[[str, Death], None],
        last_beat: Callable[[str], Beat | None],
        *,
        trial_hours: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._state, self._tasks, self._end, self._last_beat = state, tasks, end, last_beat
        self._limit_s = None if trial_hours is None else 3600 * trial_hours
        self._clock, self._now = clock, now
        self._looked_at_s = clock()
        self._seen: dict[str, _Watched] = {}

    def began(self, trial_id: str) -> None:
        """A worker has taken a task."""
        self._seen[trial_id] = _Watched()

    def look(self) -> None:
        """Look at each task, if it is time."""
        passed_s = self._clock() - self._looked_at_s
        if passed_s < LOOK_S:
            return
        self._looked_at_s += passed_s
        for trial_id in [trial_id for trial_id in self._seen if trial_id not in self._tasks]:
            del self._seen[trial_id]
        for trial_id, seen in list(self._seen.items()):
            self._look_at(trial_id, seen, min(passed_s, 2 * LOOK_S))

    def is_over(self) -> bool:
        """Whether the session's time is up and every task has had its grace: what still runs is left unfinished."""
        until_s = self._state.budget.session_until_s
        if until_s is None or self._now() < until_s or not self._tasks:
            return False
        grace_s = max(map(self._grace_s, self._tasks.values()))
        if self._state.budget.job_until_s is not None:
            grace_s = min(grace_s, LONGEST_GRACE_S)
        return self._now() >= until_s + grace_s

    def _look_at(self, trial_id: str, seen: _Watched, passed_s: float) -> None:
        beat = self._last_beat(trial_id)
        if beat is not None and is_suspended(beat):
            return  # by the user, who has not ended it
        seen.worked_s += passed_s
        seen.silent_s = seen.silent_s + passed_s if beat == seen.beat else 0.0
        seen.beat = beat
        death = self._too_long(trial_id, seen.worked_s)
        if death is None and (reason := hanging(beat, seen.silent_s)):
            death = Death(kind="hung", message=f"it hangs: {reason}")
        if death is not None:
            del self._seen[trial_id]
            self._end(trial_id, death)
            if beat is not None and beat.machine == machine_id():
                with contextlib.suppress(OSError):
                    os.kill(beat.pid, signal.SIGKILL)  # Ray asks; a process that hangs may not hear

    def _too_long(self, trial_id: str, worked_s: float) -> Death | None:
        if self._limit_s is None or self._tasks[trial_id].action != "train":
            return None  # a reading of the test set is no part of its training's time
        times = self._state.history.wall_time_s
        before_s = max(times.get(each.trial.id, 0.0) for each in self._tasks[trial_id].each())
        if worked_s + before_s <= self._limit_s:
            return None
        return Death(
            kind="time_limit",
            message=f"its training takes longer than --trial-hours {self._limit_s / 3600:g}; give more, "
            "and resume with --retry-failed",
        )

    def _grace_s(self, task: Task) -> float:
        epochs = [self._state.progress.get(each.id) for each in task.each()]
        return max(GRACE_S, *(EPOCHS * epoch.train_time_s for epoch in epochs if epoch is not None), 0.0)


def is_suspended(beat: Beat) -> bool:
    """Whether the process of a beat is on this machine and stopped (SIGSTOP, a debugger)."""
    if beat.machine != machine_id():
        return False
    try:
        stat = Path(f"/proc/{beat.pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] in ("T", "t")
