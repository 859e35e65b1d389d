"""A scheduler that keeps every slot busy where trials are shorter than the start of a worker.

Tune's own scheduler starts one worker at a time, and gives a free worker to the trial that has waited longest: the one
whose own worker is about to be ready, and is then thrown away. A worker takes seconds to start, so with shorter trials
all slots but one would stay empty.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ray
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler

from rksearch.results.codec import from_plain
from rksearch.search.ray.tune import NotPicklable
from rksearch.search.tasks import Task

AT_ONCE = 16
"""Maximum number of workers that start at the same time."""


class FullSlots(NotPicklable, FIFOScheduler):
    """First in, first out, but a free worker goes to a trial for which no other one is starting.

    Args:
        slots: number of usual trials that fit at once, now.
        slots_of: number of slots that a task takes.
        died: called with Tune's id of a trial and Ray's message when a worker has died, before the searcher hears of
            it.
    """

    def __init__(
        self,
        slots: Callable[[], int],
        slots_of: Callable[[Task], int],
        died: Callable[[str, str], None] = lambda trial_id, said: None,
    ) -> None:
        super().__init__()
        self._died = died
        self._slots = slots
        self._slots_of = slots_of
        self._live: dict[str, tuple[Trial, int]] = {}

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """A trial is new, or waits again because its worker died."""
        self._live[trial.trial_id] = trial, self._slots_of(from_plain(Task, trial.config["task"]))

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """A trial's worker died."""
        self._live.pop(trial.trial_id, None)
        self._died(trial.trial_id, _last_error(trial))

    def end(self, trial_id: str) -> None:
        """End the worker of a trial, whatever it does; Tune then sees that it has died."""
        trial, _ = self._live[trial_id]
        if trial.temporary_state.ray_actor is not None:
            ray.kill(trial.temporary_state.ray_actor)

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """A trial has ended."""
        self._live.pop(trial.trial_id, None)

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        """A trial was stopped before it began."""
        self._live.pop(trial.trial_id, None)

    def end_all(self) -> None:
        """End every worker that has a trial."""
        for trial_id in list(self._live):
            self.end(trial_id)

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """The trial for a worker that is free now, if there is one."""
        waiting = [(trial, wants) for trial, wants in self._live.values() if trial.status == Trial.PENDING]
        running = sum(takes for trial, takes in self._live.values() if trial.status != Trial.PENDING)
        return chosen(waiting, slots=self._slots(), running=running)


def _last_error(trial: Trial) -> str:
    """Ray's message about the last death of a trial's worker; empty where there is none."""
    with contextlib.suppress(OSError, TypeError):  # Tune gives no path before the first
        return Path(trial.error_file).read_text(encoding="utf-8", errors="replace").rpartition("Failure # ")[2]
    return ""


def chosen(waiting: Sequence[tuple[Trial, int]], *, slots: int, running: int) -> Trial | None:
    """The first waiting trial that gets its slots only when others become free.

    A free worker holds a slot itself; workers may be starting in the slots that are left, for earlier trials.

    Args:
        waiting: trials in their order, each with the number of slots that it needs.
        slots: number of slots.
        running: number of slots that trials take.
    """
    left = slots - running - 1
    for trial, wants in waiting:
        left -= wants
        if left < 0:
            return trial
    return waiting[-1][0] if waiting else None
