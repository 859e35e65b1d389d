"""Keeps every slot busy where trials are shorter than a worker takes to start.

Tune by itself asks for one worker at a time, and gives a worker that has become free to the trial that has waited
longest: the one whose own worker is about to be there, and is thrown away then. A worker takes seconds to start, so
with shorter trials all slots but one would stay empty for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler

from rksearch.results.codec import from_plain
from rksearch.search.ray.tune import Unpickled
from rksearch.search.tasks import Task

AT_ONCE = 16
"""How many workers may be starting at the same time."""


class FullSlots(Unpickled, FIFOScheduler):
    """First come, first served; but a free worker goes to a trial for which no other one is starting.

    Args:
        slots: how many usual trials fit at once, now.
        slots_of: how many of these a task takes.
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
        """The trial that a worker which is free now, if there is one, should take."""
        waiting = [(trial, wants) for trial, wants in self._live.values() if trial.status == Trial.PENDING]
        running = sum(takes for trial, takes in self._live.values() if trial.status != Trial.PENDING)
        return chosen(waiting, slots=self._slots(), running=running)


def chosen(waiting: Sequence[tuple[Trial, int]], *, slots: int, running: int) -> Trial | None:
    """Of the trials that wait, in their order, the first one that gets its slots only when others become free.

    A free worker holds a slot itself; workers may be starting in those that are left, for those that came first.

    Args:
        waiting: trials, and how many slots each wants.
        slots: how many there are.
        running: how many of them are taken by trials.
    """
    left = slots - running - 1
    for trial, wants in waiting:
        left -= wants
        if left < 0:
            return trial
    return waiting[-1][0] if waiting else None
