"""Trials: one architecture, one recipe, one seed, trained to the end and, when asked, read against the test set."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from rksearch.arch import parse
from rksearch.data.batches import DeviceImages, TrainImages
from rksearch.data.facts import Dataset, dataset
from rksearch.data.images import load_data
from rksearch.data.pictures import Stored
from rksearch.data.streaming import StreamedImages
from rksearch.errors import RunError, TrialFailed, unwritable
from rksearch.models import build
from rksearch.results.codec import to_plain
from rksearch.results.files import file_lock, file_name, write_traceback
from rksearch.results.recipes import concerning
from rksearch.results.records import Epoch, TestResult, TrialResult, TrialSpec
from rksearch.results.storage_address import beneath
from rksearch.training.checkpoint import CheckpointStore
from rksearch.training.engine.device import resolve_device, resolve_precision
from rksearch.training.execution import Execution, trial_dir
from rksearch.training.inputs import picture_reader
from rksearch.training.lifecycle import OnEpoch, Training, train
from rksearch.training.mirror import Mirror, require_storage
from rksearch.training.pulse import OnPart, unobserved
from rksearch.training.trainer import as_trial_failure, evaluate, final_weights

LOCK_WAIT_S = 60.0
"""Seconds to wait for another process in the same trial: the worker of a killed driver may live for a moment."""


def run_trial(
    spec: TrialSpec,
    execution: Execution,
    on_epoch: Callable[[Epoch], None] | None = None,
    *,
    until: int | None = None,
) -> TrialResult:
    """Train `spec` to its end, from its last checkpoint when there is one; a finished trial returns at once.

    A fault of the network itself (a loss that is not finite, too little memory, an exception while it is built or
    trained) makes a failed result, with the traceback in `error.txt` of the trial's directory.

    Args:
        spec: the trial.
        execution: where and with what resources.
        on_epoch: called after every newly trained epoch, once its checkpoint is safe. Its exceptions pass through.
        until: epoch after which to pause; None to train to the end. A trial that is paused, by this or by
            `execution.deadline_s`, has the status `paused`, and the next call resumes it.

    Raises:
        RksearchError: the fault is not the network's: every trial would meet it, or a repetition may succeed. Bad
            names, no data, no such device, a full disk, a trial that another process is running.
    """
    (result,) = run_trials([spec], execution, on_epoch and (lambda _, epoch: on_epoch(epoch)), until=until)
    return result


def run_trials(
    specs: Sequence[TrialSpec],
    execution: Execution,
    on_epoch: OnEpoch | None = None,
    *,
    until: int | None = None,
    on_part: OnPart = unobserved,
) -> list[TrialResult]:
    """Train several seeds of one architecture, as one program where they fit in memory together; see `run_trial`.

    `on_part` is called whenever a part of the work begins. Each has the result that `run_trial` finds, and its own
    checkpoints; one may fail without the others.

    Raises:
        RksearchError: as `run_trial`.
        ValueError: the trials differ in more than their seeds.
    """
    if any(replace(spec, replicate=specs[0].replicate) != specs[0] for spec in specs):
        raise ValueError("trials that are trained together must differ in their seeds alone")
    with _opened(specs, execution, on_part) as trainings:
        train(trainings, execution, on_epoch, until, on_part)
        return [_result(training) for training in trainings]


def test_trial(
    spec: TrialSpec,
    execution: Execution,
    on_part: OnPart = unobserved,  # noqa: PT028
    *,
    only_finished: bool = False,  # noqa: PT028
) -> TestResult:
    """Read the test set once, with the weights of the last epoch; trains first when the trial is not finished.

    No deadline counts here: reading the test set is the last step of a trial.

    Args:
        spec: the trial.
        execution: where and with what resources.
        on_part: called when a part of the work begins.
        only_finished: whether to refuse a trial that is not finished here, instead of training it: where its result is
            recorded already, another training's reading would be recorded as its own.

    Raises:
        TrialFailed: the training failed.
        RunError: there is no checkpoint of its end, and `only_finished`.
        RksearchError: as `run_trial`.
    """
    with _opened([spec], execution, on_part) as (training,):
        if only_finished and training.result is None:
            raise _unreadable([spec], Path(execution.work_dir), execution.storage)
        train([training], replace(execution, deadline_s=None), on_part=on_part)
        on_part("test")
        result = _result(training)
        if result.status != "complete":
            raise TrialFailed(str(result.failure), f"{spec.id} cannot be tested: {result.message}")
        facts = dataset(spec.dataset)
        device = resolve_device(execution.device)
        precision = resolve_precision(execution.precision, device)
        with as_trial_failure("reading the test set"), _test_images(spec, execution, facts, device) as test:
            model = build(parse(spec.arch), facts)
            model.load_state_dict(training.weights)
            model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            found = evaluate(model, test, precision, mirrored=spec.recipe.flip_averaging)
    return TestResult(
        test_error_pct=found.error_pct,
        test_loss=found.loss,
        test_images=len(test) - len(test.unreadable),
        balanced_test_error_pct=found.balanced_error_pct,
        top5_test_error_pct=found.top5_error_pct,
        test_confusion=found.confusion,
        unreadable=test.unreadable or None,
    )


@contextmanager
def _test_images(spec: TrialSpec, execution: Execution, facts: Dataset, device: torch.device) -> Iterator[TrainImages]:
    """The test images, on the device or streamed to it."""
    images = load_data(facts, Path(execution.data_dir), download=execution.download)
    if not isinstance(images, Stored):
        yield DeviceImages(images.test_images, images.test_labels, facts, device)
        return
    with closing(picture_reader(images.test, facts, spec.recipe, device, execution.threads)) as reader:
        yield StreamedImages(reader, torch.arange(len(images.test)), facts, device)


def finished_weights(spec: TrialSpec, work_dir: Path, storage: str | None = None) -> Mapping[str, Any]:
    """State of the network after the last epoch of a finished trial; nothing is written, nor locked.

    Args:
        spec: the trial.
        work_dir: the directory in which trials have theirs.
        storage: URI or path of the mirror of their checkpoints; None without one.

    Raises:
        RunError: there is no checkpoint of its end.
        StorageError: the storage cannot be read.
    """
    state = _end(spec, work_dir, storage)
    if state is None:
        raise RunError(
            f"a finished trial's checkpoint must lie in {trial_dir(work_dir, spec.id)}, but there is none; "
            "train it there, or export where the run was made"
        )
    return final_weights(state)


def require_finished(specs: Sequence[TrialSpec], work_dir: Path, storage: str | None = None) -> None:
    """Make sure that the test set can be read with trials that have finished; nothing is locked, nor written here.

    Args:
        specs, work_dir: as for `finished_weights`.
        storage: URI or path of the mirror of their checkpoints, which is asked for those that are not here.

    Raises:
        RunError: there is no checkpoint of the end of one.
        StorageError: the storage does not answer, or cannot be written or read.
    """
    missing = [spec for spec in specs if _end(spec, work_dir, None) is None]
    if missing and storage is not None:
        require_storage(storage)
        missing = [spec for spec in missing if _end(spec, work_dir, storage) is None]
    if missing:
        raise _unreadable(missing, work_dir, storage)


def _unreadable(missing: Sequence[TrialSpec], work_dir: Path, storage: str | None) -> RunError:
    """The reason why the test set cannot be read with trials that have finished."""
    names = missing[0].id + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
    where = f"{trial_dir(work_dir, missing[0].id)}{', nor in the storage' if storage else ''}"
    again = "" if any(spec.has_own_seeds for spec in missing) else ", or train again with --fresh"
    return RunError(
        f"the test set is read with the checkpoints of finished trainings, but that of {names} is not on this "
        f"machine in {where}; put it back (in a cluster, where all machines reach it){again}"
    )


def _end(spec: TrialSpec, work_dir: Path, storage: str | None) -> Mapping[str, Any] | None:
    """State after the last epoch of a finished trial, here or in the storage; None where there is none."""
    execution = Execution(work_dir=str(work_dir), data_dir="", storage=storage)
    store = _checkpoints(spec, execution, trial_dir(work_dir, spec.id), read_only=True)
    return next((saved.state for saved in store.newest_first() if "result" in saved.state), None)


def own_dir(parent: Path, spec: TrialSpec) -> Path:
    """Work directory for this training alone, named by everything that was asked of it: other settings have another."""
    asked = json.dumps(_identity(spec), sort_keys=True)
    return parent / f"{file_name(spec.id)}-{hashlib.sha256(asked.encode()).hexdigest()[:8]}"


def note_fault(specs: Sequence[TrialSpec], execution: Execution, error: BaseException) -> None:
    """Keep the traceback of an exception in `error.txt` of each trial, as far as the disk allows."""
    for spec in specs:
        with suppress(OSError):
            write_traceback(trial_dir(Path(execution.work_dir), spec.id) / "error.txt", error)


@contextmanager
def _opened(specs: Sequence[TrialSpec], execution: Execution, on_part: OnPart) -> Iterator[list[Training]]:
    """Trainings of the trials, whose directories are locked for this process."""
    with ExitStack() as stack:
        trainings = []
        for spec in specs:
            directory = stack.enter_context(_locked(spec, execution))
            checkpoints = _checkpoints(spec, execution, directory)
            trainings.append(Training(spec, execution, directory, checkpoints, on_part))
        yield trainings


@contextmanager
def _locked(spec: TrialSpec, execution: Execution) -> Iterator[Path]:
    """Directory of the trial, locked for this process."""
    directory = trial_dir(Path(execution.work_dir), spec.id)
    lock = directory / "lock"
    busy = RunError(
        f"trial {spec.id} is being run by another process, which has held {lock} for over {LOCK_WAIT_S:.0f} s; "
        "wait for that process or end it"
    )

    def unusable(error: OSError) -> RunError:
        rule = f"the work directory must be writable, but {error.filename or directory} is not ({error.strerror})"
        return unwritable(RunError(f"{rule}; choose another one"), error)

    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unusable(error) from error
    with file_lock(lock, wait_s=LOCK_WAIT_S, busy=busy, unusable=unusable):
        yield directory


def _identity(spec: TrialSpec) -> dict[str, Any]:
    """Values that a checkpoint shares with its trial: all but the role, and terms of the recipe without effect on it.

    Roles whose trainings have seeds or images of their own are distinguished by the id.
    """
    spec = replace(spec, recipe=concerning(spec.arch, spec.recipe))
    same = {key: value for key, value in to_plain(spec).items() if key != "role"}
    return {**same, "id": spec.id} if spec.has_own_seeds else same


def _checkpoints(spec: TrialSpec, execution: Execution, directory: Path, *, read_only: bool = False) -> CheckpointStore:
    """Checkpoints of a trial, here and in the storage."""
    mirror = Mirror(beneath(execution.storage, "trials", file_name(spec.id))) if execution.storage else None
    return CheckpointStore(directory, _identity(spec), mirror, read_only=read_only)


def _result(training: Training) -> TrialResult:
    assert training.result is not None
    return training.result
