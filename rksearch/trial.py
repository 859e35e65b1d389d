"""One trial: one architecture, one recipe, one seed, trained to its end and, when asked, read against the test set."""

from __future__ import annotations

import gc
import logging
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from rksearch.batches import EVAL_BATCH_SIZE, DeviceImages, TrainBatches, batch_bounds, full_batch_images
from rksearch.checkpoint import CheckpointStore
from rksearch.cost import cost
from rksearch.data import Images, Split, load_images, split
from rksearch.datasets import Dataset, dataset
from rksearch.device import Precision, free_memory_bytes, resolve_device, resolve_precision
from rksearch.engine.compiling import Choice, choose
from rksearch.engine.heap import freed_memory_kept
from rksearch.errors import RunError, TrialFailed
from rksearch.files import file_lock
from rksearch.latency import latency_ms, measure_latency
from rksearch.layout import layout
from rksearch.measure import witness
from rksearch.memory import MemoryPlan, plan_memory
from rksearch.models import build
from rksearch.models.recompute import recompute
from rksearch.records import OWN_SEEDS, Epoch, Execution, TestResult, TrialResult, TrialSpec
from rksearch.spec import ArchSpec, parse
from rksearch.storage import Mirror
from rksearch.train import Trainer, as_trial_failure, evaluate, seed_everything

logger = logging.getLogger(__name__)

LOCK_WAIT_S = 60.0
"""How long to wait for another process in the same trial: the worker of a killed driver may live for a moment."""


def run_trial(
    spec: TrialSpec,
    execution: Execution,
    on_epoch: Callable[[Epoch], None] | None = None,
    *,
    until: int | None = None,
) -> TrialResult:
    """Train `spec` to its end, from its last checkpoint when there is one; a finished trial returns at once.

    What goes wrong with the network itself (a loss that is not finite, too little memory, an exception while it is
    built or trained) makes a failed result, with the traceback in `error.txt` of the trial's directory.

    Args:
        spec: what to train.
        execution: where and with what means.
        on_epoch: called after every newly trained epoch, once its checkpoint is safe. What it raises goes through.
        until: epoch after which to pause; None to train to the end. A paused trial (this, or `execution.deadline_s` has
            passed) has the status `paused`, and the next call goes on from there.

    Raises:
        RksearchError: the fault is not the network's, so that every trial would meet it or a repetition may succeed:
            a bad name, no data, no such device, a full disk, a trial that another process is running.
    """
    with _locked(spec, execution) as directory:
        result, _ = _train(spec, execution, directory, on_epoch, until)
    if result.failure == "out_of_memory":
        _free_memory()
    return result


def test_trial(spec: TrialSpec, execution: Execution) -> TestResult:
    """Read the test set once, with the weights of the last epoch; trains first when the trial is not finished.

    No deadline counts here: a reading is the last thing that is done with a trial.

    Raises:
        TrialFailed: the training failed.
        RksearchError: as `run_trial`.
    """
    with _locked(spec, execution) as directory:
        result, weights = _train(spec, replace(execution, deadline_s=None), directory)
        if result.status != "complete":
            raise TrialFailed(str(result.failure), f"{spec.id} cannot be tested: {result.message}")
        facts = dataset(spec.dataset)
        device = resolve_device(execution.device)
        precision = resolve_precision(execution.precision, device)
        images = load_images(facts, Path(execution.data_dir), download=execution.download)
        with as_trial_failure("reading the test set"):
            model = build(parse(spec.arch), facts)
            model.load_state_dict(weights)
            model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            test = DeviceImages(images.test_images, images.test_labels, facts, device)
            loss, error_pct = evaluate(model, test, precision)
    return TestResult(test_error_pct=error_pct, test_loss=loss, test_images=len(test))


def finished_weights(spec: TrialSpec, work_dir: Path, storage: str | None = None) -> Mapping[str, Any]:
    """The state of the network after the last epoch of a finished trial.

    Args:
        spec: of the trial.
        work_dir: where trials have their directories.
        storage: where their checkpoints are mirrored, if anywhere.

    Raises:
        RunError: its checkpoint is not there.
        StorageError: the storage cannot be read.
    """
    missing = RunError(
        f"a finished trial's checkpoint must lie in {trial_dir(work_dir, spec.id)}, but there is none; "
        "train it there, or export where the run was made"
    )
    if not trial_dir(work_dir, spec.id).is_dir() and storage is None:
        raise missing
    execution = Execution(work_dir=str(work_dir), data_dir="", storage=storage)
    with _locked(spec, execution) as directory:
        for saved in _checkpoints(spec, execution, directory).newest_first():
            if "result" in saved.state:
                weights: Mapping[str, Any] = saved.state["model"]
                return weights
            break
    raise missing


def trial_dir(work_dir: Path, trial_id: str) -> Path:
    """Where a trial keeps its checkpoints, notes and errors."""
    return work_dir / "trials" / trial_id


@contextmanager
def _locked(spec: TrialSpec, execution: Execution) -> Iterator[Path]:
    """The trial's directory, for this process alone."""
    directory = trial_dir(Path(execution.work_dir), spec.id)
    lock = directory / "lock"
    busy = RunError(
        f"trial {spec.id} is being run by another process, which has held {lock} for over {LOCK_WAIT_S:.0f} s; "
        "wait for that process or end it"
    )
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock.touch()
    except OSError as error:
        raise RunError(
            f"the work directory must be writable, but {directory} is not ({error.strerror}); choose another one"
        ) from error
    with file_lock(lock, wait_s=LOCK_WAIT_S, busy=busy):
        yield directory


def _identity(spec: TrialSpec) -> dict[str, Any]:
    """What a checkpoint must share with a trial to be its own: all but the reason for which it is trained.

    The id tells trainings apart that differ in their seeds or images by their role.
    """
    same = {key: value for key, value in spec.to_json().items() if key != "role"}
    return {**same, "id": spec.id} if spec.role in OWN_SEEDS else same


def _checkpoints(spec: TrialSpec, execution: Execution, directory: Path) -> CheckpointStore:
    """The checkpoints of a trial, here and in the storage."""
    mirror = Mirror(f"{execution.storage}/trials/{spec.id}") if execution.storage else None
    return CheckpointStore(directory, _identity(spec), mirror)


def _train(
    spec: TrialSpec,
    execution: Execution,
    directory: Path,
    on_epoch: Callable[[Epoch], None] | None = None,
    until: int | None = None,
) -> tuple[TrialResult, Mapping[str, Any]]:
    """The result, and the weights that stand behind it (none after a failure)."""
    torch.set_num_threads(execution.threads)
    store = _checkpoints(spec, execution, directory)
    for saved in store.newest_first():
        if "result" in saved.state:
            return TrialResult.from_json(saved.state["result"]), saved.state["model"]
        break
    arch, facts = parse(spec.arch), dataset(spec.dataset)
    counts = cost(arch, facts)
    device = resolve_device(execution.device)
    precision = resolve_precision(execution.precision, device)
    images = load_images(facts, Path(execution.data_dir), download=execution.download)
    parts = _split(spec, facts, images)
    known: dict[str, Any] = {
        **counts._asdict(),
        "device": _device_name(device),
        "precision": precision,
        "threads": execution.threads,
        "images": {"train": len(parts.train), "val": len(parts.val)},
        "split": parts.digest[:16],
    }
    bounds = batch_bounds(len(parts.train), spec.recipe.batch_size)
    choice = choose(
        execution.compile,
        layout(arch, facts),
        device,
        images=spec.recipe.epochs * full_batch_images(bounds),
        threads=execution.threads,
    )
    trainer: Trainer | None = None
    try:
        with as_trial_failure("building the network"):
            seed_everything(spec.seed)
            known["witness"] = witness(build(arch, facts), facts, counts)
        available = execution.memory_bytes
        if available is None:
            available = free_memory_bytes(device, share=execution.memory_share)
        count = len(parts.train) + len(parts.val)
        plan = plan_memory(
            arch, facts, spec.recipe, precision, available, eval_batch_size=EVAL_BATCH_SIZE, images=count
        )
        known["memory"] = plan.to_json()
        if plan.recompute:
            choice = Choice(compiled=False, reason="not compiled: its activations are recomputed to fit in memory")
        trainer = _resume(
            store, lambda: _new_trainer(spec, arch, facts, images, parts, device, precision, plan, choice)
        )
        known |= {"compiled": trainer.choice.compiled, "compile_reason": trainer.choice.reason}
        logger.info("%s is %s", spec.id, trainer.choice.reason)
        with freed_memory_kept(device):
            while not trainer.done:
                if _must_pause(len(trainer.epochs), until, execution.deadline_s):
                    return TrialResult(status="paused", epochs=tuple(trainer.epochs), **known), {}
                if execution.latency and len(trainer.epochs) == spec.recipe.epochs - 1:
                    known["latency_ms"] = _latency(spec, execution)
                epoch = trainer.run_epoch()
                store.save(_checkpoint(trainer, known))
                if on_epoch is not None:
                    on_epoch(epoch)
    except TrialFailed as failure:
        _write_traceback(directory)
        return _failed(failure.kind, str(failure), trainer, known), {}
    return _completed(trainer, known), trainer.model.state_dict()


def _latency(spec: TrialSpec, execution: Execution) -> dict[str, Any]:
    found = measure_latency(
        spec.arch,
        spec.dataset,
        device=execution.device,
        precision=execution.precision,
        threads=execution.threads,
    )
    return latency_ms(found)


def _must_pause(epochs: int, until: int | None, deadline_s: float | None) -> bool:
    return (until is not None and epochs >= until) or (deadline_s is not None and time.time() >= deadline_s)


def _checkpoint(trainer: Trainer, known: Mapping[str, Any]) -> dict[str, Any]:
    """The state of a training, with its result when it is done."""
    state = trainer.state_dict()
    return {**state, "result": _completed(trainer, known).to_json()} if trainer.done else state


def _completed(trainer: Trainer, known: Mapping[str, Any]) -> TrialResult:
    return TrialResult(status="complete", epochs=tuple(trainer.epochs), **known)


def _failed(kind: str, message: str, trainer: Trainer | None, known: Mapping[str, Any]) -> TrialResult:
    epochs = tuple(trainer.epochs) if trainer else ()
    return TrialResult(status="failed", failure=kind, message=message, epochs=epochs, **known)


def _write_traceback(directory: Path) -> None:
    """Keep the traceback of the exception being handled in `error.txt`."""
    path = directory / "error.txt"
    try:
        path.write_text(traceback.format_exc(), encoding="utf-8")
    except OSError as error:
        raise RunError(
            f"a traceback must be written to {path}, but that failed ({error.strerror}); make room or make it writable"
        ) from error


def _split(spec: TrialSpec, facts: Dataset, images: Images) -> Split:
    """The images to train on and to validate on: all of them to train on in a final training."""
    parts = split(facts, images, spec.train_images)
    if spec.role != "final":
        return parts
    return replace(parts, train=torch.cat([parts.train, parts.val]), val=parts.val[:0])


def _new_trainer(
    spec: TrialSpec,
    arch: ArchSpec,
    facts: Dataset,
    images: Images,
    parts: Split,
    device: torch.device,
    precision: Precision,
    plan: MemoryPlan,
    choice: Choice,
) -> Trainer:
    """A training at its very start, the same one for the same spec."""
    with as_trial_failure("preparing the training"):
        seed_everything(spec.seed)
        model = build(arch, facts)
        if plan.recompute:
            logger.info("%s recomputes activations to fit in memory", spec.id)
            recompute(model)
        train = DeviceImages(images.train_images[parts.train], images.train_labels[parts.train], facts, device)
        val = None
        if len(parts.val):
            val = DeviceImages(images.train_images[parts.val], images.train_labels[parts.val], facts, device)
        recipe = spec.recipe
        batches = TrainBatches(train, facts, batch_size=recipe.batch_size, augment=recipe.augment, seed=spec.seed)
        return Trainer(model, batches, val, recipe, precision, choice=choice)


def _resume(store: CheckpointStore, start: Callable[[], Trainer]) -> Trainer:
    """A trainer at the newest state that it accepts, else at the start."""
    for saved in store.newest_first():
        trainer = start()
        try:
            trainer.load_state_dict(saved.state)
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            reason = " ".join(str(error).split())[:200]
            store.reject(saved.file, f"does not fit the network ({type(error).__name__}: {reason})")
            continue
        logger.info("going on after epoch %d from %s", len(trainer.epochs), saved.file)
        return trainer
    return start()


def _free_memory() -> None:
    """Give back what a failed training held, so that the next one in this process has it."""
    gc.collect()  # exceptions and frames refer to each other
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
