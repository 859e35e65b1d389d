"""Ray Tune runs the tasks: the function that a worker executes, and the adapters between Tune and `RunState`.

Tune is a scheduler here and nothing else. Its own directory is scratch, and it never sees a checkpoint: a trial resumes
by itself from its own directory, so Tune may start it anew as often as it likes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Protocol

from ray import tune
from ray.tune.experiment import Trial
from ray.tune.search import Searcher

from rksearch.errors import RksearchError
from rksearch.results.codec import from_plain, to_plain
from rksearch.results.records import Epoch, TrialSpec
from rksearch.search.reservations import Reservations
from rksearch.search.run_state import RunState
from rksearch.search.tasks import Task
from rksearch.training.execution import Execution


class Work(Protocol):
    """What a worker does with a task; see `outcome_of`."""

    def __call__(
        self, task: Task, execution: Execution, on_epoch: Callable[[TrialSpec, Epoch], None] | None = None
    ) -> dict[str, Any]:
        """Do the task and say what came of it."""


def performer(work: Work) -> Callable[[Mapping[str, Any]], None]:
    """The function that Tune sends to the workers."""

    def perform(config: Mapping[str, Any]) -> None:
        _perform(config, work)

    return perform


def _perform(config: Mapping[str, Any], work: Work) -> None:
    """A worker's work on one task; reports each epoch, and at last the outcome as JSON under `outcome`."""
    task = from_plain(Task, config["task"])
    execution = Execution(**config["execution"])

    def on_epoch(trial: TrialSpec, epoch: Epoch) -> None:
        tune.report({"trained": trial.id, "epoch_json": json.dumps(asdict(epoch))})

    tune.report({"outcome": json.dumps(work(task, execution, on_epoch))})


def outcome_of(
    task: Task, execution: Execution, on_epoch: Callable[[TrialSpec, Epoch], None] | None = None
) -> dict[str, Any]:
    """Do the task.

    Returns:
        `results`, of each trial a `TrialResult` or `TestResult` as JSON, or `abort` with the reason when no task of
        this run can go on: a full disk, missing data, an impossible device.
    """
    from rksearch.training import trial  # here, not above: the driver does not need torch

    try:
        if task.action == "test":
            return {"results": [to_plain(trial.test_trial(task.trial, execution))]}
        specs = [task.trial, *task.beside]
        found = trial.run_trials(specs, execution, on_epoch, until=task.until)
        return {"results": [to_plain(result) for result in found]}
    except RksearchError as error:
        # Not the network's fault (that would be a failed result): every other task would meet it too.
        return {"abort": str(error)}


class Unpickled:
    """Lives in the driver alone. Tune pickles what it is given for a later restore, which is not how a run resumes."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class LedgerSearcher(Unpickled, Searcher):
    """Gives Tune the run's next task, and the run what became of it.

    Args:
        state: of the run.
        execution: where and with what means tasks are done.
        reservations: what each task takes.
        slots: how many usual trials fit at once, now. One more task may wait, so that a slot that becomes free is taken
            at once and a cluster that can grow knows that it should; more would be chosen without knowing what is found
            meanwhile.
    """

    def __init__(
        self,
        state: RunState,
        execution: Execution,
        reservations: Reservations,
        slots: Callable[[], int],
    ) -> None:
        super().__init__(metric=None, mode=None)
        self._reservations = reservations
        self._slots = slots
        self.state = state
        self.execution = asdict(execution)
        self.tasks: dict[str, Task] = {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next task as a Tune configuration; None to be asked again; FINISHED when all is done."""
        if sum(map(self._reservations.slots_of, self.tasks.values())) > self._slots():
            return None
        task = self.state.next()
        if task is None:
            return Searcher.FINISHED if self.state.done else None
        self.tasks[trial_id] = task
        memory_share = self._reservations.memory_share(task)
        return {"task": to_plain(task), "execution": {**self.execution, "memory_share": memory_share}}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """A trial ended: with an outcome, or because its worker died once too often."""
        trials = self.tasks.pop(trial_id).each()
        if result and "outcome" in result:
            outcome = json.loads(result["outcome"])
            found = [{"result": one} for one in outcome.get("results", ())]
            outcomes = found or [outcome] * len(trials)
        elif error:
            outcomes = [{"message": "its worker process died repeatedly; see its logs"}] * len(trials)
        else:
            return  # Tune is being interrupted: the task is simply not finished
        for each, one in zip(trials, outcomes, strict=True):
            self.state.on_end(each, one)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the ledger is the truth."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the ledger is the truth."""


class Progress(Unpickled, tune.Callback):
    """Tells the run's state of starts and epochs, and calls `refresh` whenever something may have changed."""

    def __init__(self, searcher: LedgerSearcher, refresh: Callable[[], None]) -> None:
        self._searcher = searcher
        self._refresh = refresh
        self._ended: list[Trial] = []

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A worker has taken a task."""
        if task := self._searcher.tasks.get(trial.trial_id):
            for each in task.each():
                self._searcher.state.on_start(each)

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """A worker has finished an epoch."""
        task = self._searcher.tasks.get(trial.trial_id)
        if task and "epoch_json" in result:
            # Deaths count only since the last epoch: a long trial may outlive any number of nodes, and one that kills
            # its worker at the same place again and again still ends.
            trial.run_metadata.num_failures = 0
            (each,) = [each for each in task.each() if each.trial.id == result["trained"]]
            self._searcher.state.on_epoch(each, Epoch(**json.loads(result["epoch_json"])))

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A task has ended, and Tune is about to stop its trial."""
        self._ended.append(trial)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A task's worker died once too often, and Tune is about to stop its trial."""
        self._ended.append(trial)

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Tune's loop has gone round."""
        for trial in [trial for trial in self._ended if trial.is_finished()]:
            forget(trial)
            self._ended.remove(trial)
        self._refresh()


def forget(trial: Trial) -> None:
    """Empty a trial that has ended: Tune keeps every one of them, with all that it has reported, until the run ends."""
    # Emptied, not replaced: Tune itself holds the configuration twice.
    trial.config.clear()
    trial.evaluated_params.clear()
    trial.metric_analysis.clear()
    trial.metric_n_steps.clear()
    trial.run_metadata.last_result = {}
    trial.invalidate_json_state()


def task_label(trial: Trial) -> str:
    """How Tune names a trial and its scratch directory."""
    return from_plain(Task, trial.config["task"]).id.replace(":", "-")
