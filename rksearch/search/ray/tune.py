"""The trainable that Ray Tune runs in a worker, and the adapters between Tune and `RunState`.

Tune only schedules. Its directory is scratch, and it never sees a checkpoint: a trial resumes by itself from its own
directory, so Tune may start it again at any time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ray import tune
from ray.tune.experiment import Trial
from ray.tune.search import Searcher

from rksearch.errors import RksearchError
from rksearch.results.codec import from_plain, to_plain
from rksearch.results.records import Epoch, TrialSpec
from rksearch.search.ray.extensions import Extensions
from rksearch.search.reservations import Reservations
from rksearch.search.run_state import RunState
from rksearch.search.tasks import Task
from rksearch.training.execution import Execution


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochReport:
    """What a worker reports to Tune after an epoch.

    Attributes:
        trained: id of the trial.
        epochs: the epoch, in a list because codecs know the numbers of `epochs` that may be NaN.
    """

    trained: str
    epochs: tuple[Epoch, ...]


class TaskFunction(Protocol):
    """A worker's function for a task; see `do_task`."""

    def __call__(
        self, task: Task, execution: Execution, on_epoch: Callable[[TrialSpec, Epoch], None] | None = None
    ) -> dict[str, Any]:
        """Do the task and return its outcome."""


def trainable(work: TaskFunction) -> Callable[[Mapping[str, Any]], None]:
    """The function that Tune sends to the workers: it reports each epoch, and at last the outcome as JSON."""

    extensions = Extensions.here()

    def run_task(config: Mapping[str, Any]) -> None:
        extensions.register()
        task = from_plain(Task, config["task"])
        execution = from_plain(Execution, config["execution"])

        def on_epoch(trial: TrialSpec, epoch: Epoch) -> None:
            tune.report(to_plain(EpochReport(trained=trial.id, epochs=(epoch,))))

        tune.report({"outcome": json.dumps(work(task, execution, on_epoch))})

    return run_task


def do_task(
    task: Task, execution: Execution, on_epoch: Callable[[TrialSpec, Epoch], None] | None = None
) -> dict[str, Any]:
    """Train the trials of the task, or read the test set with its trial.

    Returns:
        `results`, the `TrialResult` or `TestResult` of each trial as JSON; or `abort` with the reason when no task of
        this run can succeed: a full disk, missing data, an impossible device.
    """
    from rksearch.training import trial  # here, not above: the driver does not need torch

    try:
        if task.action == "test":
            return {"results": [to_plain(trial.test_trial(task.trial, execution))]}
        specs = [task.trial, *task.beside]
        found = trial.run_trials(specs, execution, on_epoch, until=task.until)
        return {"results": [to_plain(result) for result in found]}
    except RksearchError as error:
        # Not the network's fault, which would be a failed result: every other task would meet it too.
        return {"abort": str(error)}


class NotPicklable:
    """An object that lives in the driver alone and is pickled as an empty one.

    Tune pickles its parts for a later restore, which is not how a run resumes.
    """

    def __getstate__(self) -> dict[str, Any]:
        return {}


class LedgerSearcher(NotPicklable, Searcher):
    """Gives Tune the run's next task, and the run each task's outcome.

    Args:
        state: state of the run.
        execution: where and with what resources tasks are done.
        reservations: what each task takes.
        slots: number of usual trials that fit at once, now. One more task may wait, so that a free slot is taken soon
            and a cluster that can grow sees demand; more would be chosen without the results that come meanwhile.
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
        self.execution = to_plain(execution)
        self.tasks: dict[str, Task] = {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next task as a Tune configuration; None to be called again; FINISHED when all is done."""
        if sum(map(self._reservations.slots_of, self.tasks.values())) > self._slots():
            return None
        task = self.state.next()
        if task is None:
            return Searcher.FINISHED if self.state.done else None
        self.tasks[trial_id] = task
        memory_share = self._reservations.memory_share(task)
        return {"task": to_plain(task), "execution": {**self.execution, "memory_share": memory_share}}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """A task ended: with an outcome, or because its worker died too often."""
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
        """Save nothing: the ledger is the truth."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing: the ledger is the truth."""


class StateCallback(NotPicklable, tune.Callback):
    """Passes starts and epochs to the run's state, and calls `refresh` after each turn of Tune's loop."""

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
        if task and "epochs" in result:
            # Deaths count only since the last epoch: a long trial may outlive any number of nodes, and one that kills
            # its worker at the same place again and again still ends.
            trial.run_metadata.num_failures = 0
            report = from_plain(EpochReport, result)
            (each,) = [each for each in task.each() if each.trial.id == report.trained]
            (epoch,) = report.epochs
            self._searcher.state.on_epoch(each, epoch)

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A task has ended, and Tune is about to stop its trial."""
        self._ended.append(trial)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A task's worker died too often, and Tune is about to stop its trial."""
        self._ended.append(trial)

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Tune's loop has made a turn."""
        for trial in [trial for trial in self._ended if trial.is_finished()]:
            forget(trial)
            self._ended.remove(trial)
        self._refresh()


def forget(trial: Trial) -> None:
    """Empty a trial that has ended: Tune keeps each one, with all that it has reported, until the run ends."""
    # Emptied, not replaced: Tune itself holds the configuration twice.
    trial.config.clear()
    trial.evaluated_params.clear()
    trial.metric_analysis.clear()
    trial.metric_n_steps.clear()
    trial.run_metadata.last_result = {}
    trial.invalidate_json_state()


def task_label(trial: Trial) -> str:
    """Tune's name for a trial and its scratch directory."""
    return from_plain(Task, trial.config["task"]).id.replace(":", "-")
