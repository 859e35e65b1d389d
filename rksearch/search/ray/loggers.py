"""Ray's own logger callbacks at work on the trainings of a run, and callbacks of the user's.

Tune has a trial for each task: it may hold several seeds, ends at each pause, and lies in a directory that goes with
the session. A logger here sees trainings instead: one for each architecture and seed, whose steps are epochs, whichever
task or session they were in, and whose files lie in `work/logs`. Each logger works in a thread of its own beside the
driver, so that a slow one (Weights & Biases starts two processes for each training) delays neither the run nor another
logger. One that fails is left out from then on, and the run continues.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import math
import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.experiment import Trial
from ray.tune.logger import LoggerCallback
from ray.tune.result import TRAINING_ITERATION

from rksearch.errors import ANY_FAULT, RunAborted, RunError, in_one_line
from rksearch.results.codec import from_plain
from rksearch.results.files import file_name
from rksearch.results.records import TrialSpec
from rksearch.search.beside import Beside
from rksearch.search.ray.reports import OUTCOME, TRAINED, description, own_numbers
from rksearch.search.tasks import Task

FINISH_S = 90.0
"""Longest wait for each thing that a logger has yet to write at the end of a session, in seconds."""

UPLOAD_S = 60
"""Longest wait of Weights & Biases for its uploads, the last of these things, in seconds."""

LEAVING_S = 5.0
"""Longest wait for all of it where a signal, a death of Ray's or the end of a batch job leaves no more, in seconds."""


class LoggedTraining:
    """A training in the place of Tune's trial: what Ray's loggers ask of one.

    Args:
        spec: the training.
        run: the run's name.
        directory: directory of the logger's files.
        began: start of the run's first session, which tells it from others of its name.
        stretch: number of times that the training was started before; None where a logger takes them for one.
    """

    checkpoint = None

    def __init__(self, spec: TrialSpec, run: str, directory: Path, began: str, stretch: int | None = None) -> None:
        self.experiment_dir_name = run
        self.trial_id = hashlib.sha256(f"{run} {began} {spec.id}".encode()).hexdigest()[:16]
        self.local_path = str(directory / file_name(spec.id))
        self.config = dict(description(spec))
        self.evaluated_params = dict(self.config)
        self._spec = spec
        self._stretch = stretch

    def init_local_path(self) -> None:
        """Make its directory."""
        Path(self.local_path).mkdir(parents=True, exist_ok=True)

    def __str__(self) -> str:
        return self._spec.id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LoggedTraining) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def _key(self) -> tuple[str, int | None]:
        return self._spec.id, self._stretch


class TrainingLogger:
    """One of Ray's logger callbacks, given the trainings of a run.

    Args:
        name: its name for `--log`.
        callback: the callback.
        run: the run's name.
        directory: directory of its files.
        began: start of the run's first session.
        note: shows a line to the user.
        separate: whether the callback takes what follows a pause for another trial.
    """

    def __init__(
        self,
        name: str,
        callback: LoggerCallback,
        *,
        run: str,
        directory: Path,
        began: str,
        note: Callable[[str], None],
        separate: bool = False,
    ) -> None:
        self.name = name
        self._callback = callback
        self._run, self._directory, self._began = run, directory, began
        self._note = note
        self._separate = separate
        self._stretches: dict[str, int] = {}
        self._began_s: dict[str, int] = {}
        self._off = False

    def set_up(self) -> None:
        """Begin.

        Raises:
            Exception: of the library behind it, when it cannot.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        self._callback.setup()

    def start(self, spec: TrialSpec) -> None:
        """A worker has taken a training."""
        self._stretches[spec.id] = self._stretches.get(spec.id, -1) + 1
        if int(time.time()) == self._began_s.get(spec.id):
            time.sleep(1)  # tensorboardX names files by the second: the second one would replace the first
        self._began_s[spec.id] = int(time.time())
        training = self._training(spec)
        self._call(training.init_local_path)
        self._call(self._callback.log_trial_start, training)

    def epoch(self, spec: TrialSpec, numbers: dict[str, Any]) -> None:
        """A training has finished an epoch."""
        step = int(numbers["epoch"])
        finite = {k: v for k, v in numbers.items() if not isinstance(v, float) or math.isfinite(v)}
        self._call(self._callback.log_trial_result, step, self._training(spec), {**finite, TRAINING_ITERATION: step})

    def end(self, spec: TrialSpec, failed: bool) -> None:
        """A training has ended or paused."""
        self._call(self._callback.log_trial_end, self._training(spec), failed=failed)

    def close(self) -> None:
        """Finish."""
        self._call(self._callback.on_experiment_end, [])

    def _training(self, spec: TrialSpec) -> LoggedTraining:
        stretch = self._stretches.get(spec.id, 0) if self._separate else None
        return LoggedTraining(spec, self._run, self._directory, self._began, stretch)

    def _call(self, method: Callable[..., Any], *args: Any, **options: Any) -> None:
        if self._off:
            return
        try:
            method(*args, **options)
        except Exception as error:  # noqa: BLE001 - of any of the libraries
            self._off = True
            self._note(f"--log {self.name} has failed and is left out from now on: {in_one_line(error)}")


def make_loggers(
    names: Sequence[str], *, run: str, directory: Path, began: str, note: Callable[[str], None]
) -> list[TrainingLogger]:
    """The loggers of these names, set up.

    Args:
        names: see `rksearch.search.loggers`; their packages are installed.
        run: the run's name.
        directory: directory in which each has its own.
        began: start of the run's first session.
        note: shows a line to the user.

    Raises:
        RunAborted: one cannot begin.
    """
    found = []
    for name in dict.fromkeys(names):
        try:
            callback = _callback(name, run, directory / name)
            logger = TrainingLogger(
                name,
                callback,
                run=run,
                directory=directory / name,
                began=began,
                note=note,
                separate=name == "wandb",
            )
            logger.set_up()
        except Exception as error:
            raise RunAborted(
                f"--log {name} must be able to begin, but it fails with {in_one_line(error)}; mend that, or give "
                "--log csv in its place"
            ) from error
        found.append(logger)
    return found


def _callback(name: str, run: str, directory: Path) -> LoggerCallback:
    match name:
        case "tensorboard":
            from ray.tune.logger import TBXLoggerCallback

            return TBXLoggerCallback()
        case "csv":
            from ray.tune.logger import CSVLoggerCallback

            return CSVLoggerCallback()
        case "mlflow":
            os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")  # it tells of every table that it makes
            from ray.air.integrations.mlflow import MLflowLoggerCallback

            address = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{directory}.db"
            return MLflowLoggerCallback(tracking_uri=address, experiment_name=run, tags={"run": run})
        case "wandb":
            from ray.air.integrations.wandb import WandbLoggerCallback

            project = os.environ.get("WANDB_PROJECT_NAME") or os.environ.get("WANDB_PROJECT") or "rksearch"
            return WandbLoggerCallback(project=project, group=run, upload_timeout=UPLOAD_S, resume="allow")
    raise RunError(f"--log must name a logger, but got {name!r}")


class TrainingLog(tune.Callback):
    """Passes what Tune tells of its trials on to loggers of trainings.

    Args:
        loggers: the loggers.
        note: shows a line to the user.
        is_replaced: whether the worker of the trial with this id has died, and another one resumes the task.
    """

    def __init__(
        self,
        loggers: Sequence[TrainingLogger],
        note: Callable[[str], None],
        is_replaced: Callable[[str], bool] = lambda trial_id: False,
    ) -> None:
        self._note = note
        self._is_replaced = is_replaced
        self._loggers = [(logger, Beside(f"log {logger.name}")) for logger in loggers]
        self._open: dict[str, list[TrialSpec]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its parts for a later restore, which is not how a run resumes

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A worker has taken a task."""
        task = from_plain(Task, trial.config["task"])
        if task.action != "train":
            return
        self._open[trial.trial_id] = [each.trial for each in task.each()]
        for spec in self._open[trial.trial_id]:
            self._each("start", spec)

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """A worker has finished an epoch, or a task."""
        if OUTCOME in result:
            results = json.loads(result[OUTCOME]).get("results")
            failed = [item.get("status") == "failed" for item in results] if results else itertools.repeat(True)
            self._end(trial, failed)
        elif TRAINED in result:
            for spec in self._open.get(trial.trial_id, ()):
                if spec.id == result[TRAINED]:
                    self._each("epoch", spec, own_numbers(result))

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A task has ended, or Tune is being stopped."""
        self._end(trial, itertools.repeat(False))

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A task's worker died."""
        self._end(trial, itertools.repeat(not self._is_replaced(trial.trial_id)))

    def close(self, *, leaving: bool = False) -> None:
        """Let the loggers finish: for as long as they do, or for a moment when the session is `leaving`."""
        self._each("close")
        for _, beside in self._loggers:
            beside.end()  # all at once
        until = time.monotonic() + LEAVING_S
        for logger, beside in self._loggers:
            wait_s = max(0.0, until - time.monotonic()) if leaving else FINISH_S
            if not beside.close(wait_s, patient=not leaving):
                self._note(f"--log {logger.name}: not everything could be written in time, and the rest is left out")

    def _end(self, trial: Trial, failed: Iterable[bool]) -> None:
        for spec, own in zip(self._open.pop(trial.trial_id, ()), failed, strict=False):
            self._each("end", spec, own)

    def _each(self, method: str, *args: Any) -> None:
        """Let each logger's thread call a method of it."""
        for logger, beside in self._loggers:
            beside.do(functools.partial(getattr(logger, method), *args))


HOOKS = frozenset(name for name in vars(tune.Callback) if name == "setup" or name.startswith("on_"))
"""Names of the methods by which Tune calls a callback."""


class UserCallbacks(tune.Callback):
    """Callbacks of the user's; an exception in one of them ends the run, with its name in the reason.

    Args:
        callbacks: the callbacks; they are not restored when a run resumes.
        abort: takes the reason for which the run must end.
    """

    def __init__(self, callbacks: Sequence[tune.Callback], abort: Callable[[Exception], None]) -> None:
        self._callbacks = callbacks
        self._abort = abort
        self._trials: list[Trial] = []
        self._open = False

    def close(self) -> None:
        """Call `on_experiment_end` where Tune has not: it leaves that out when a session ends before its work."""
        if self._open:
            self._call("on_experiment_end", trials=self._trials)

    def __getattribute__(self, name: str) -> Any:
        if name in HOOKS:
            return functools.partial(object.__getattribute__(self, "_call"), name)
        return super().__getattribute__(name)

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def _call(self, hook: str, *args: Any, **info: Any) -> None:
        self._open = hook != "on_experiment_end"
        self._trials = info.get("trials", self._trials)
        for callback in self._callbacks:
            try:
                getattr(callback, hook)(*args, **info)
            except ANY_FAULT as error:  # whatever the user's code raises
                self._abort(
                    RunAborted(
                        f"a callback must not raise, but {type(callback).__name__}.{hook} raised {in_one_line(error)}; "
                        "mend it, then resume the run"
                    )
                )


def require_callbacks(callbacks: Sequence[object]) -> None:
    """Make sure that the user's callbacks are Tune's.

    Raises:
        RunError: one is not.
    """
    for callback in callbacks:
        if not isinstance(callback, tune.Callback):
            raise RunError(
                f"callbacks must be instances of ray.tune.Callback, but got {type(callback).__name__}; derive it from "
                "that class"
            )
