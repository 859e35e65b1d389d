"""Trials of one architecture on their way through this process: begun or gone on with, epoch by epoch, to an end."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import torch

from rksearch.batches import EVAL_BATCH_SIZE, DeviceImages, TrainBatches, batch_bounds, full_batch_images
from rksearch.checkpoint import CheckpointStore
from rksearch.cost import Cost, cost
from rksearch.data import Images, Split, load_images, split
from rksearch.datasets import Dataset, dataset
from rksearch.device import Precision, free_memory_bytes, resolve_device, resolve_precision
from rksearch.engine.compiling import Choice, choose
from rksearch.engine.heap import freed_memory_kept
from rksearch.errors import RunError, TrialFailed
from rksearch.latency import latency_ms, measure_latency
from rksearch.layout import layout
from rksearch.measure import witness
from rksearch.memory import MemoryPlan, plan_memory
from rksearch.models import build
from rksearch.models.recompute import recompute
from rksearch.records import Epoch, Execution, TrialResult, TrialSpec
from rksearch.spec import RKCNN, ArchSpec, parse
from rksearch.together import Together, attempt
from rksearch.train import Trainer, as_trial_failure, seed_everything

logger = logging.getLogger(__name__)

OnEpoch = Callable[[TrialSpec, Epoch], None]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What trainings of one architecture have in common, whatever their seed.

    Attributes:
        arch, facts, counts: the network, the data set, and what the network costs.
        device, precision: where and how it is trained.
        images, parts: all images, and which of them it is trained and validated on.
        choice: whether the training steps are compiled.
        available_bytes: memory for all trainings that go on at once.
    """

    arch: ArchSpec
    facts: Dataset
    counts: Cost
    device: torch.device
    precision: Precision
    images: Images
    parts: Split
    choice: Choice
    available_bytes: int

    @classmethod
    def of(cls, spec: TrialSpec, execution: Execution) -> Setting:
        """The setting of a trial.

        Raises:
            RksearchError: a bad name, no data, no such device.
        """
        arch, facts = parse(spec.arch), dataset(spec.dataset)
        counts = cost(arch, facts)
        device = resolve_device(execution.device)
        precision = resolve_precision(execution.precision, device)
        images = load_images(facts, Path(execution.data_dir), download=execution.download)
        parts = _split(spec, facts, images)
        bounds = batch_bounds(len(parts.train), spec.recipe.batch_size)
        choice = choose(
            execution.compile,
            layout(arch, facts),
            device,
            images=spec.recipe.epochs * full_batch_images(bounds),
            threads=execution.threads,
        )
        available_bytes = execution.memory_bytes
        if available_bytes is None:
            available_bytes = free_memory_bytes(device, share=execution.memory_share)
        return cls(
            arch=arch,
            facts=facts,
            counts=counts,
            device=device,
            precision=precision,
            images=images,
            parts=parts,
            choice=choice,
            available_bytes=available_bytes,
        )

    @cached_property
    def resident(self) -> tuple[DeviceImages, DeviceImages | None]:
        """Images to train and to validate on, on the device, for all trainings; None where none are left for that.

        Raises:
            TrialFailed: there is no memory for them.
        """
        with as_trial_failure("moving the images to the device"):
            train, val = (
                DeviceImages(self.images.train_images[part], self.images.train_labels[part], self.facts, self.device)
                for part in (self.parts.train, self.parts.val)
            )
        return train, val if len(val) else None

    def facts_known(self, threads: int) -> dict[str, Any]:
        """What a result says of its training before it has begun."""
        return {
            **self.counts._asdict(),
            "device": torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu",
            "precision": self.precision,
            "threads": threads,
            "images": {"train": len(self.parts.train), "val": len(self.parts.val)},
            "split": self.parts.digest[:16],
        }

    def plan(self, spec: TrialSpec, trainings: int) -> MemoryPlan:
        """How each of so many trainings at once fits in memory.

        Raises:
            TrialFailed: of kind `does_not_fit`.
        """
        return plan_memory(
            self.arch,
            self.facts,
            spec.recipe,
            self.precision,
            self.available_bytes // trainings,
            eval_batch_size=EVAL_BATCH_SIZE,
            images=len(self.parts.train) + len(self.parts.val),
        )

    def can_go_together(self, specs: Sequence[TrialSpec]) -> bool:
        """Whether trainings that differ in their seeds may go on at once: with room for all, and the numbers of each.

        Dropout draws from a generator that they would share.
        """
        if isinstance(self.arch, RKCNN) and self.arch.dropout_pct:
            return False
        try:
            return not self.plan(specs[0], len(specs)).recompute
        except TrialFailed:
            return False


class OpenTrial:
    """A trial, from its last checkpoint on.

    Attributes:
        spec: what is trained.
        result: how it has ended or was left; None while it goes on.
        weights: of the network that stands behind a complete result; none behind another.
        trainer: of a trial that has begun here and goes on.
    """

    def __init__(self, spec: TrialSpec, execution: Execution, directory: Path, store: CheckpointStore) -> None:
        self.spec = spec
        self.result: TrialResult | None = None
        self.weights: Mapping[str, Any] = {}
        self.trainer: Trainer | None = None
        self._execution, self._directory, self._store = execution, directory, store
        self._known: dict[str, Any] = {}
        for saved in store.newest_first():
            if "result" in saved.state:
                self.result, self.weights = TrialResult.from_json(saved.state["result"]), saved.state["model"]
            break

    @property
    def epochs(self) -> int:
        """How many have run."""
        return len(self.trainer.epochs) if self.trainer else 0

    def begin(self, setting: Setting, trainings: int) -> None:
        """Make it ready to train, beside others that make so many in all, unless that fails.

        Raises:
            RksearchError: the fault is not the network's.
        """
        spec = self.spec
        self._known = {**setting.facts_known(self._execution.threads), "seeds_together": trainings}
        try:
            with as_trial_failure("building the network"):
                seed_everything(spec.seed)
                self._known["witness"] = witness(build(setting.arch, setting.facts), setting.facts, setting.counts)
            plan = setting.plan(spec, trainings)
            self._known["memory"] = plan.to_json()
            self.trainer = self._resumed(lambda: _at_the_start(spec, setting, plan))
        except TrialFailed as failure:
            self.fail(failure)
            return
        choice = self.trainer.choice
        self._known |= {"compiled": choice.compiled, "compile_reason": choice.reason}
        logger.info("%s is %s", spec.id, choice.reason)
        if self.trainer.done:
            self._complete(self.trainer)

    def _resumed(self, start: Callable[[], Trainer]) -> Trainer:
        """A trainer at the newest state that it accepts, else at the start."""
        for saved in self._store.newest_first():
            trainer = start()
            try:
                trainer.load_state_dict(saved.state)
            except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
                reason = " ".join(str(error).split())[:200]
                self._store.reject(saved.file, f"does not fit the network ({type(error).__name__}: {reason})")
                continue
            logger.info("going on after epoch %d from %s", len(trainer.epochs), saved.file)
            return trainer
        return start()

    def pause(self) -> None:
        """Leave it where it is."""
        epochs = tuple(self.trainer.epochs) if self.trainer else ()
        self.result = TrialResult(status="paused", epochs=epochs, **self._known)
        self.trainer = None

    def before_epoch(self) -> None:
        """Measure, before the last epoch, what takes the machine for itself."""
        if self._execution.latency and self.epochs == self.spec.recipe.epochs - 1:
            with_what = self._execution
            found = measure_latency(
                self.spec.arch,
                self.spec.dataset,
                device=with_what.device,
                precision=with_what.precision,
                threads=with_what.threads,
            )
            self._known["latency_ms"] = latency_ms(found)

    def after_epoch(self, on_epoch: OnEpoch | None) -> None:
        """Save the state, with the result when the training is done."""
        trainer = self.trainer
        assert trainer is not None
        state = trainer.state_dict()
        if trainer.done:
            state["result"] = self._completed(trainer).to_json()
        self._store.save(state)
        if on_epoch is not None:
            on_epoch(self.spec, trainer.epochs[-1])
        if trainer.done:
            self._complete(trainer)

    def fail(self, failure: TrialFailed) -> None:
        """End it, and keep the traceback in `error.txt`.

        Raises:
            RunError: that file cannot be written.
        """
        path = self._directory / "error.txt"
        try:
            path.write_text("".join(traceback.format_exception(failure)), encoding="utf-8")
        except OSError as error:
            raise RunError(
                f"a traceback must be written to {path}, but that failed ({error.strerror}); make room or make it "
                "writable"
            ) from error
        epochs = tuple(self.trainer.epochs) if self.trainer else ()
        self.result = TrialResult(
            status="failed", failure=failure.kind, message=str(failure), epochs=epochs, **self._known
        )
        self.trainer = None

    def _complete(self, trainer: Trainer) -> None:
        self.result, self.weights = self._completed(trainer), trainer.model.state_dict()
        self.trainer = None

    def _completed(self, trainer: Trainer) -> TrialResult:
        return TrialResult(status="complete", epochs=tuple(trainer.epochs), **self._known)


def train(
    trials: Sequence[OpenTrial],
    execution: Execution,
    on_epoch: OnEpoch | None = None,
    until: int | None = None,
) -> None:
    """Bring trials of one architecture to their results, those that are not finished: together where that is possible.

    Args:
        trials: they differ in their seeds alone.
        execution: where and with what means.
        on_epoch: called after every newly trained epoch, once its checkpoint is safe.
        until: epoch after which to pause.

    Raises:
        RksearchError: the fault is not the network's.
    """
    torch.set_num_threads(execution.threads)
    still = [trial for trial in trials if trial.result is None]
    if not still:
        return
    setting = Setting.of(still[0].spec, execution)
    together = len(still) > 1 and setting.can_go_together([trial.spec for trial in still])
    for company in [still] if together else [[trial] for trial in still]:
        for trial in company:
            trial.begin(setting, len(company))
        for alike in _alike(company):
            with freed_memory_kept(setting.device):
                _run(alike, execution, on_epoch, until)


def _alike(company: Sequence[OpenTrial]) -> Iterator[list[OpenTrial]]:
    """Those that go on, by whether they are compiled: a trial that is gone on with stays as it began."""

    def compiled(trial: OpenTrial) -> bool:
        return trial.trainer is not None and trial.trainer.choice.compiled

    going = sorted((trial for trial in company if trial.trainer is not None), key=compiled)
    for _, alike in groupby(going, compiled):
        yield list(alike)


def _run(trials: Sequence[OpenTrial], execution: Execution, on_epoch: OnEpoch | None, until: int | None) -> None:
    """Epoch after epoch of all of them, until none goes on."""
    program: tuple[list[Trainer], Together] | None = None
    while True:
        for trial in trials:
            if trial.trainer is not None and _must_pause(trial.epochs, until, execution.deadline_s):
                trial.pause()
        going = [(trial, trial.trainer) for trial in trials if trial.trainer is not None]
        if not going:
            return
        for trial, _ in going:
            trial.before_epoch()
        trainers = [trainer for _, trainer in going]
        if len(trainers) == 1:
            program, outcomes = None, [attempt(trainers[0].run_epoch)]
        else:
            if program is None or program[0] != trainers:
                program = trainers, Together(trainers)
            outcomes = program[1].run_epoch()
        for (trial, _), outcome in zip(going, outcomes, strict=True):
            if isinstance(outcome, TrialFailed):
                trial.fail(outcome)
            else:
                trial.after_epoch(on_epoch)


def _must_pause(epochs: int, until: int | None, deadline_s: float | None) -> bool:
    return (until is not None and epochs >= until) or (deadline_s is not None and time.time() >= deadline_s)


def _split(spec: TrialSpec, facts: Dataset, images: Images) -> Split:
    """The images to train on and to validate on: all of them to train on in a final training."""
    parts = split(facts, images, spec.train_images)
    if spec.role != "final":
        return parts
    return replace(parts, train=torch.cat([parts.train, parts.val]), val=parts.val[:0])


def _at_the_start(spec: TrialSpec, setting: Setting, plan: MemoryPlan) -> Trainer:
    """A training at its very start, the same one for the same spec."""
    choice = setting.choice
    if plan.recompute:
        choice = Choice(compiled=False, reason="not compiled: its activations are recomputed to fit in memory")
    with as_trial_failure("preparing the training"):
        seed_everything(spec.seed)
        model = build(setting.arch, setting.facts)
        if plan.recompute:
            logger.info("%s recomputes activations to fit in memory", spec.id)
            recompute(model)
        (train, val), recipe = setting.resident, spec.recipe
        batches = TrainBatches(
            train, setting.facts, batch_size=recipe.batch_size, augment=recipe.augment, seed=spec.seed
        )
        return Trainer(model, batches, val, recipe, setting.precision, choice=choice)
