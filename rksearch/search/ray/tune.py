"""The trainable that Ray Tune runs in a worker, and the adapters between Tune and `RunState`.

Tune only schedules. Its directory is scratch, and it never sees a checkpoint: a trial resumes by itself from its own
directory, so Tune may start it again at any time.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from ray import tune
from ray.tune.experiment import Trial
from ray.tune.search import Searcher
from ray.tune.trainable import Trainable, wrap_function

from rksearch.errors import ANY_FAULT, RksearchError, in_one_line
from rksearch.results.codec import from_plain, to_plain
from rksearch.results.files import file_name
from rksearch.results.records import Epoch, TrialSpec
from rksearch.search.ray.extensions import Extensions
from rksearch.search.ray.oversight import Oversight
from rksearch.search.ray.pulses import beating
from rksearch.search.ray.reports import OUTCOME, Reporter, class_name, description, epoch_of
from rksearch.search.ray.traces import Death, death_of, traces
from rksearch.search.reservations import Reservations
from rksearch.search.run_state import RunState
from rksearch.search.stopping import StopRequest
from rksearch.search.tasks import Task
from rksearch.training.execution import Execution, trial_dir
from rksearch.training.pulse import OnPart, Pulse, unobserved

P = ParamSpec("P")
R = TypeVar("R")


class TaskFunction(Protocol):
    """A worker's function for a task; see `do_task`."""

    def __call__(
        self,
        task: Task,
        execution: Execution,
        on_epoch: Callable[[TrialSpec, Epoch], None] | None = None,
        on_part: OnPart = unobserved,
    ) -> dict[str, Any]:
        """Do the task and return its outcome."""


def trainable(
    work: TaskFunction, run: str, reserve: Callable[[Mapping[str, Any]], Mapping[str, float]]
) -> type[Trainable]:
    """The class that Tune sends to the workers: it reports each epoch, and at last the outcome as JSON.

    Args:
        work: a worker's function for a task.
        run: the run's name, which Ray shows for each actor: actors are used again by one trial after the other.
        reserve: what a trial reserves, by its configuration.
    """

    extensions = Extensions.here()

    def run_task(config: Mapping[str, Any]) -> None:
        extensions.register()
        task = from_plain(Task, config["task"])
        execution = from_plain(Execution, config["execution"])
        reporter, pulse = Reporter(run, execution), Pulse()
        with beating(config["pulse"], pulse), traces(trial_dir(Path(execution.work_dir), task.trial.id)):
            outcome = work(task, execution, reporter.on_epoch, pulse.begin)
        reporter.end(json.dumps(outcome))

    named: type[Trainable] = tune.with_resources(wrap_function(run_task, name=class_name(run)), reserve)
    named.__name__ = named.__qualname__ = class_name(run)
    return named


def do_task(
    task: Task,
    execution: Execution,
    on_epoch: Callable[[TrialSpec, Epoch], None] | None = None,
    on_part: OnPart = unobserved,
) -> dict[str, Any]:
    """Train the trials of the task, or read the test set with its trial.

    Returns:
        `results`, the `TrialResult` or `TestResult` of each trial as JSON; or `abort` with the reason, and its
        `exit_code`, when no task of this run can succeed: a full disk, missing data, an impossible device; or a
        `failure` of kind `fault` with an exception that came from outside of building and training the network as its
        `message`. Each with `notes` for the user, where a checkpoint could not be used.
    """
    with _checkpoint_notes() as notes:
        outcome = _outcome(task, execution, on_epoch, on_part)
    return {**outcome, "notes": notes} if notes else outcome


def _outcome(
    task: Task, execution: Execution, on_epoch: Callable[[TrialSpec, Epoch], None] | None, on_part: OnPart
) -> dict[str, Any]:
    """The outcome of a task, whatever happens."""
    from rksearch.training import trial  # here, not above: the driver does not need torch

    try:
        if task.action == "test":
            return {"results": [to_plain(trial.test_trial(task.trial, execution, on_part, only_finished=True))]}
        found = trial.run_trials(specs_of(task), execution, on_epoch, until=task.until, on_part=on_part)
        return {"results": [to_plain(result) for result in found]}
    except RksearchError as error:
        # Not the network's fault, which would be a failed result: every other task would meet it too.
        return {"abort": str(error), "exit_code": error.exit_code}
    except (OSError, ImportError) as error:
        # The worker's machine: its disk, its files, its packages.
        return {"abort": f"{task.trial.id} could not be worked on: {in_one_line(error)}; mend the cause, then resume"}
    except ANY_FAULT as error:  # one that reaches Tune would kill the worker
        trial.note_fault(specs_of(task), execution, error)
        return {"failure": "fault", "message": in_one_line(error)}


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


class WorkEnds(Exception):
    """Tune's loop ends here, and what runs is left unfinished."""


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
        except ANY_FAULT as error:  # raised again by raise_abort
            self.abort = error
            return None

    functools.update_wrapper(guarded, method)
    return guarded


class LedgerSearcher(NotPicklable, Searcher):
    """Gives Tune the run's next task, and the run each task's outcome.

    An exception in one of its methods ends the run: it is kept in `abort`, and raised where Tune lets it pass.

    Attributes:
        leaving: whether the session ends before its work does, so that workers which end now have not failed.

    A worker that dies is replaced here and not by Tune, which knows no reasons: `restarts` says how often on end,
    without a further epoch. One that hangs is replaced once.

    Args:
        state: state of the run.
        execution: where and with what resources tasks are done.
        reservations: what each task takes.
        slots: number of usual trials that fit at once, now. One more task may wait, so that a free slot is taken soon
            and a cluster that can grow sees demand; more would be chosen without the results that come meanwhile.
        note: shows a worker's note to the user.
        restarts: how often a task whose worker died is given to another one, which resumes from its last epoch.
    """

    def __init__(
        self,
        state: RunState,
        execution: Execution,
        reservations: Reservations,
        slots: Callable[[], int],
        note: Callable[[str], None] = lambda text: None,
        restarts: int = 2,
    ) -> None:
        super().__init__(metric=None, mode=None)
        self._restarts = restarts
        self._again: list[Task] = []
        self._deaths: dict[str, int] = {}
        self._hung: set[str] = set()
        self._replaced: set[str] = set()
        self._ended_by: dict[str, Death] = {}
        self._reservations = reservations
        self._slots = slots
        self._note = note
        self.state = state
        self.execution = to_plain(execution)
        self.tasks: dict[str, Task] = {}
        self.abort: BaseException | None = None
        self.leaving = False

    def raise_abort(self) -> None:
        """Raise the exception that ended the run, if there is one."""
        if self.abort is not None:
            raise self.abort

    def end(self, reason: Exception) -> None:
        """Let the run end by this exception, unless another one has ended it before."""
        self.abort = self.abort or reason

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next task as a Tune configuration; None to be called again; FINISHED when all is done or must stop."""
        found = self._suggest(trial_id)
        # Where nothing runs, Tune would ask again for ten minutes after None.
        return found if self.abort is None else Searcher.FINISHED

    @_guarded
    def _suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        room = self._room()
        if room <= 0 or (self._again and self.tasks and len(self._again[0].each()) > room):
            return None
        task = self._again.pop(0) if self._again else self.state.next(room)
        if task is None:
            return Searcher.FINISHED if self.state.done else None
        self.tasks[trial_id] = task
        memory_share = self._reservations.memory_share(task)
        execution = {**self.execution, "memory_share": memory_share}
        return {**description(task.trial), "task": to_plain(task), "execution": execution, "pulse": trial_id}

    def _room(self) -> int:
        """Most trials that the next task may have; where the user limits their number, none waits beyond it."""
        if sum(map(self._reservations.slots_of, self.tasks.values())) > self._slots():
            return 0
        limit = self._reservations.limit
        if limit is None:
            return sys.maxsize
        return limit - sum(len(task.each()) for task in self.tasks.values())

    @_guarded
    def on_start(self, trial_id: str) -> None:
        """A worker has taken a task."""
        if task := self.tasks.get(trial_id):
            for each in task.each():
                self.state.on_start(each)

    @_guarded
    def on_epoch(self, trial_id: str, trained: str, epoch: Epoch) -> None:
        """A worker has finished an epoch of the training of this id."""
        (each,) = [each for each in self.tasks[trial_id].each() if each.trial.id == trained]
        # Deaths count only since the last epoch: a long trial may outlive any number of nodes, and one that kills its
        # worker at the same place again and again still ends.
        self._deaths.pop(self.tasks[trial_id].id, None)
        self.state.on_epoch(each, epoch)

    def on_death(self, trial_id: str, death: Death) -> None:
        """Take note of the reason for which a task's worker has died, or is about to be ended; the first one counts."""
        self._ended_by.setdefault(trial_id, death)

    @_guarded
    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """A task ended: with an outcome, or because its worker died too often."""
        task = self.tasks.pop(trial_id, None)
        if task is None:
            return  # Tune reports the same end twice where stopping its trial fails
        death = self._ended_by.pop(trial_id, None)
        trials = task.each()
        if result and OUTCOME in result:
            outcome = json.loads(result[OUTCOME])
            for text in outcome.pop("notes", ()):
                self._note(text)
            found = [{"result": one} for one in outcome.get("results", ())]
            outcomes = found or [outcome] * len(trials)
        elif error and not self.leaving:
            death = death or death_of("", self.directory_of(task))
            if self._is_tried_again(task, death):
                self._replaced.add(trial_id)
                return
            outcomes = [{"failure": death.kind, "message": death.message}] * len(trials)
        else:
            return  # Tune is being interrupted: the task is simply not finished
        for each, one in zip(trials, outcomes, strict=True):
            self.state.on_end(each, one)

    def _is_tried_again(self, task: Task, death: Death) -> bool:
        """Whether a task whose worker died is given to another one, which resumes from the task's last epoch."""
        if death.kind == "hung":
            tried_again = task.id not in self._hung
            self._hung.add(task.id)
        else:
            count = self._deaths[task.id] = self._deaths.get(task.id, 0) + 1
            tried_again = death.kind == "worker_died" and count <= self._restarts
        if not tried_again:
            self._deaths.pop(task.id, None)
            return False
        self._note(f"{task.trial.id} is resumed from its last epoch: {death.message}")
        self._again.append(task)
        return True

    def is_replaced(self, trial_id: str) -> bool:
        """Whether the worker of this trial of Tune's died, and its task has been given to another one."""
        return trial_id in self._replaced

    def directory_of(self, task: Task) -> Path:
        """Directory of a task's trial."""
        return trial_dir(Path(self.execution["work_dir"]), task.trial.id)

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: the ledger is the truth."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing: the ledger is the truth."""


class StateCallback(NotPicklable, tune.Callback):
    """Passes starts and epochs to the searcher, and calls `refresh` after each turn of Tune's loop.

    It also ends Tune's loop when the run must stop: an exception in `on_step_end` is the one that Tune passes on.

    Args:
        searcher: the searcher.
        refresh: shows what has changed.
        oversight: looks at the tasks under way.
        stop: the user's wish to end the session.
        end_workers: ends every worker that is at work.
    """

    def __init__(
        self,
        searcher: LedgerSearcher,
        refresh: Callable[[], None],
        oversight: Oversight | None = None,
        stop: StopRequest | None = None,
        end_workers: Callable[[], None] = lambda: None,
    ) -> None:
        self._searcher = searcher
        self._end_workers = end_workers
        self._refresh = refresh
        self._oversight = oversight
        self._stop = stop
        self._ended: list[Trial] = []

    def setup(self, *args: Any, **info: Any) -> None:
        """Tune has set handlers of its own for signals."""
        if self._stop is not None:
            self._stop.take_back()

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A worker has taken a task."""
        self._searcher.on_start(trial.trial_id)
        if self._oversight is not None:
            self._oversight.began(trial.trial_id)

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """A worker has finished an epoch."""
        if trial.trial_id in self._searcher.tasks and (found := epoch_of(result)) is not None:
            self._searcher.on_epoch(trial.trial_id, *found)

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
            WorkEnds: the user wants the session to end, or its time is up.
        """
        self._searcher.raise_abort()
        if self._oversight is not None:
            self._oversight.look()
        if self._must_end():
            self._searcher.leaving = True
            self._end_workers()  # Tune would ask them, and wait for the epochs that they are in
            raise WorkEnds
        for trial in [trial for trial in self._ended if trial.is_finished()]:
            forget(trial)
            self._ended.remove(trial)
        self._refresh()

    def _must_end(self) -> bool:
        """Whether the user wants the session to end, or its time is up."""
        asked = self._stop is not None and self._stop.asked
        return asked or (self._oversight is not None and self._oversight.is_over())


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
