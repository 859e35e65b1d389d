"""The trainable that Ray Tune runs in a worker, and the adapters between Tune and `RunState`.

Tune only schedules. Its directory is scratch, and it never sees a checkpoint: a trial resumes by itself from its own
directory, so Tune may start it again at any time.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from ray import tune
from ray.tune.experiment import Trial
from ray.tune.search import Searcher

from rksearch.errors import RksearchError, in_one_line
from rksearch.results.codec import from_plain, to_plain
from rksearch.results.files import file_name
from rksearch.results.records import Epoch, TrialSpec
from rksearch.search.ray.extensions import Extensions
from rksearch.search.reservations import Reservations
from rksearch.search.run_state import RunState
from rksearch.search.tasks import Task
from rksearch.training.execution import Execution

P = ParamSpec("P")
R = TypeVar("R")


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
        `results`, the `TrialResult` or `TestResult` of each trial as JSON; or `abort` with the reason, and its
        `exit_code`, when no task of this run can succeed: a full disk, missing data, an impossible device; or `fault`
        with an exception that came from outside of building and training the network. Each with `notes` for the user,
        where a checkpoint could not be used.
    """
    with _checkpoint_notes() as notes:
        outcome = _outcome(task, execution, on_epoch)
    return {**outcome, "notes": notes} if notes else outcome


def _outcome(task: Task, execution: Execution, on_epoch: Callable[[TrialSpec, Epoch], None] | None) -> dict[str, Any]:
    """The outcome of a task, whatever happens."""
    from rksearch.training import trial  # here, not above: the driver does not need torch

    try:
        if task.action == "test":
            return {"results": [to_plain(trial.test_trial(task.trial, execution))]}
        found = trial.run_trials(specs_of(task), execution, on_epoch, until=task.until)
        return {"results": [to_plain(result) for result in found]}
    except RksearchError as error:
        # Not the network's fault, which would be a failed result: every other task would meet it too.
        return {"abort": str(error), "exit_code": error.exit_code}
    except (OSError, ImportError) as error:
        # The worker's machine: its disk, its files, its packages.
        return {"abort": f"{task.trial.id} could not be worked on: {in_one_line(error)}; mend the cause, then resume"}
    except Exception as error:  # noqa: BLE001 - an exception that reaches Tune would kill the worker, its reason lost
        trial.note_fault(specs_of(task), execution)
        return {"fault": in_one_line(error)}


@contextlib.contextmanager
def _checkpoint_notes() -> Iterator[list[str]]:
    """Warnings about checkpoints in a `with` block: a worker's log is not shown."""
    notes: list[str] = []
    logger = logging.getLogger("rksearch.training.checkpoint")

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            notes.append(record.getMessage())

    handler = Handler(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield notes
    finally:
        logger.removeHandler(handler)


def specs_of(task: Task) -> list[TrialSpec]:
    """Trials of a task."""
    return [task.trial, *task.beside]


class NotPicklable:
    """An object that lives in the driver alone and is pickled as an empty one.

    Tune pickles its parts for a later restore, which is not how a run resumes.
    """

    def __getstate__(self) -> dict[str, Any]:
        return {}


def _guarded(
    method: Callable[Concatenate[LedgerSearcher, P], R],
) -> Callable[Concatenate[LedgerSearcher, P], R | None]:
    """The method, whose first exception is kept for `LedgerSearcher.raise_abort`; after it, nothing more is done.

    Tune catches what its hooks raise, prints it and tries the trial again.
    """

    def guarded(self: LedgerSearcher, /, *args: P.args, **kwargs: P.kwargs) -> R | None:
        if self.abort is not None:
            return None
        try:
            return method(self, *args, **kwargs)
        except Exception as error:  # noqa: BLE001 - raised again by raise_abort
            self.abort = error
            return None

    functools.update_wrapper(guarded, method)
    return guarded


class LedgerSearcher(NotPicklable, Searcher):
    """Gives Tune the run's next task, and the run each task's outcome.

    An exception in one of its methods ends the run: it is kept in `abort`, and raised where Tune lets it pass.

    Args:
        state: state of the run.
        execution: where and with what resources tasks are done.
        reservations: what each task takes.
        slots: number of usual trials that fit at once, now. One more task may wait, so that a free slot is taken soon
            and a cluster that can grow sees demand; more would be chosen without the results that come meanwhile.
        note: shows a worker's note to the user.
    """

    def __init__(
        self,
        state: RunState,
        execution: Execution,
        reservations: Reservations,
        slots: Callable[[], int],
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        super().__init__(metric=None, mode=None)
        self._reservations = reservations
        self._slots = slots
        self._note = note
        self.state = state
        self.execution = to_plain(execution)
        self.tasks: dict[str, Task] = {}
        self.abort: Exception | None = None

    def raise_abort(self) -> None:
        """Raise the exception that ended the run, if there is one."""
        if self.abort is not None:
            raise self.abort

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next task as a Tune configuration; None to be called again; FINISHED when all is done or must stop."""
        found = self._suggest(trial_id)
        # Where nothing runs, Tune would ask again for ten minutes after None.
        return found if self.abort is None else Searcher.FINISHED

    @_guarded
    def _suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        if sum(map(self._reservations.slots_of, self.tasks.values())) > self._slots():
            return None
        task = self.state.next()
        if task is None:
            return Searcher.FINISHED if self.state.done else None
        self.tasks[trial_id] = task
        memory_share = self._reservations.memory_share(task)
        return {"task": to_plain(task), "execution": {**self.execution, "memory_share": memory_share}}

    @_guarded
    def on_start(self, trial_id: str) -> None:
        """A worker has taken a task."""
        if task := self.tasks.get(trial_id):
            for each in task.each():
                self.state.on_start(each)

    @_guarded
    def on_epoch(self, trial_id: str, report: EpochReport) -> None:
        """A worker has finished an epoch of a trial."""
        (each,) = [each for each in self.tasks[trial_id].each() if each.trial.id == report.trained]
        (epoch,) = report.epochs
        self.state.on_epoch(each, epoch)

    @_guarded
    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """A task ended: with an outcome, or because its worker died too often."""
        task = self.tasks.pop(trial_id, None)
        if task is None:
            return  # Tune reports the same end twice where stopping its trial fails
        trials = task.each()
        if result and "outcome" in result:
            outcome = json.loads(result["outcome"])
            for text in outcome.pop("notes", ()):
                self._note(text)
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
    """Passes starts and epochs to the searcher, and calls `refresh` after each turn of Tune's loop.

    It also ends Tune's loop when the run must stop: an exception in `on_step_end` is the one that Tune passes on.
    """

    def __init__(self, searcher: LedgerSearcher, refresh: Callable[[], None]) -> None:
        self._searcher = searcher
        self._refresh = refresh
        self._ended: list[Trial] = []

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A worker has taken a task."""
        self._searcher.on_start(trial.trial_id)

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """A worker has finished an epoch."""
        if trial.trial_id in self._searcher.tasks and "epochs" in result:
            # Deaths count only since the last epoch: a long trial may outlive any number of nodes, and one that kills
            # its worker at the same place again and again still ends.
            trial.run_metadata.num_failures = 0
            self._searcher.on_epoch(trial.trial_id, from_plain(EpochReport, result))

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A task has ended, and Tune is about to stop its trial."""
        self._ended.append(trial)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A task's worker died too often, and Tune is about to stop its trial."""
        self._ended.append(trial)

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Tune's loop has made a turn.

        Raises:
            Exception: that which ended the run.
        """
        self._searcher.raise_abort()
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
    return file_name(from_plain(Task, trial.config["task"]).id.replace(":", "-"))
