"""A scheduler that keeps every slot busy where trials are shorter than the start of a worker.

Tune's own scheduler starts one worker at a time, and gives a free worker to the trial that has waited longest: the one
whose own worker is about to be ready, and is then thrown away. A worker takes seconds to start, so with shorter trials
all slots but one would stay empty.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

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
    """

    def __init__(self, slots: Callable[[], int], slots_of: Callable[[Task], int]) -> None:
        super().__init__()
        self._slots = slots
        self._slots_of = slots_of
        self._live: dict[str, tuple[Trial, int]] = {}

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """A trial is new, or waits again because its worker died."""
        self._live[trial.trial_id] = trial, self._slots_of(from_plain(Task, trial.config["task"]))

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """A trial's worker died."""
        self._live.pop(trial.trial_id, None)

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """A trial has ended."""
        self._live.pop(trial.trial_id, None)

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        """A trial was stopped before it began."""
        self._live.pop(trial.trial_id, None)

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """The trial for a worker that is free now, if there is one."""
        waiting = [(trial, wants) for trial, wants in self._live.values() if trial.status == Trial.PENDING]
        running = sum(takes for trial, takes in self._live.values() if trial.status != Trial.PENDING)
        return chosen(waiting, slots=self._slots(), running=running)


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
