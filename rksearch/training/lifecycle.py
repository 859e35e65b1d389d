"""Trainings of one architecture, from their last checkpoints to their results.

`train` is the whole way: load what the seeds share, start or resume each training, run its epochs, save after each.
"""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rksearch.arch.cost import executed_macs
from rksearch.data.own import changed
from rksearch.errors import RunError, TrialFailed, unwritable
from rksearch.models import build
from rksearch.models.recompute import recompute
from rksearch.models.witness import witness
from rksearch.results.codec import from_plain, to_plain
from rksearch.results.files import write_traceback
from rksearch.results.records import Epoch, ImageCounts, MemoryPlan, TrialResult, TrialSpec
from rksearch.training.checkpoint import CheckpointStore
from rksearch.training.engine.compiling import Choice
from rksearch.training.engine.heap import freed_memory_kept, return_freed
from rksearch.training.execution import Execution
from rksearch.training.inputs import GroupInputs, SharedInputs, largest_group
from rksearch.training.latency import latency_ms, measure_latency
from rksearch.training.parts import PartClock
from rksearch.training.pulse import OnPart, unobserved
from rksearch.training.seed_groups import SeedGroup
from rksearch.training.trainer import (
    Trainer,
    as_trial_failure,
    attempt,
    batches_of,
    final_weights,
    seed_everything,
)

logger = logging.getLogger(__name__)

OnEpoch = Callable[[TrialSpec, Epoch], None]


def train(
    trainings: Sequence[Training],
    execution: Execution,
    on_epoch: OnEpoch | None = None,
    until: int | None = None,
    on_part: OnPart = unobserved,
) -> None:
    """Bring the unfinished ones among trainings of one architecture to their results, as one program where they fit.

    Args:
        trainings: they differ in their seeds alone.
        execution: where and with what resources.
        on_epoch: called after every newly trained epoch, once its checkpoint is safe.
        until: epoch after which to pause.
        on_part: called when a part of the work begins; the trainings have one of their own.

    Raises:
        RksearchError: the fault is not the network's.
    """
    torch.set_num_threads(execution.threads)
    unfinished = [training for training in trainings if training.result is None]
    if not unfinished:
        return
    on_part("load")
    started = time.perf_counter()
    inputs = SharedInputs.load(unfinished[0].spec, execution)
    for training in unfinished:
        training.clock.add("load", (time.perf_counter() - started) / len(unfinished))
    count = largest_group(inputs, [training.spec for training in unfinished], execution)
    for first in range(0, len(unfinished), count):
        _train_group(unfinished[first : first + count], inputs, execution, on_epoch, until)
        if any(training.ran_out_of_memory for training in unfinished):
            _free_memory()


def _check_images(spec: TrialSpec, before: str | None, now: str | None) -> None:
    """Refuse to resume a training whose images have changed; `before` and `now` are fingerprints.

    Raises:
        DataError: they have.
    """
    if before is not None and now is not None and before != now:
        raise changed(spec.dataset, before, now)


class Training:
    """The training of one trial, from its last checkpoint on.

    Attributes:
        spec: the trial.
        result: how it has ended or was paused; None before that.
        weights: of the network of a complete result; empty before that.
        trainer: of a training that has begun here and has not ended.
        clock: where its time goes.

    Args:
        spec, execution: the trial, where and with what resources.
        directory, store: its directory, and the checkpoints in it.
        on_part: called when a part of its work begins.
    """

    def __init__(
        self,
        spec: TrialSpec,
        execution: Execution,
        directory: Path,
        store: CheckpointStore,
        on_part: OnPart = unobserved,
    ) -> None:
        self.spec = spec
        self.result: TrialResult | None = None
        self.weights: Mapping[str, Any] = {}
        self.trainer: Trainer | None = None
        self.clock = PartClock(on_part)
        self._on_part = on_part
        self._noted_s: dict[str, float] = {}
        self._execution, self._directory, self._store = execution, directory, store
        self._known = TrialResult(status="paused")
        self._listed = self._known.images
        saved = next(store.newest_first(), None)
        if saved is not None:
            _check_images(spec, saved.state.get("fingerprint"), execution.fingerprint)
        if saved is not None and "result" in saved.state:
            self.result = from_plain(TrialResult, saved.state["result"])
            self.weights = final_weights(saved.state)

    @property
    def ran_out_of_memory(self) -> bool:
        """Whether it has ended because memory ran out."""
        return self.result is not None and self.result.failure == "out_of_memory"

    @property
    def epochs(self) -> tuple[Epoch, ...]:
        """Epochs of a training that has begun here, resumed ones included."""
        return tuple(self.trainer.epochs) if self.trainer else ()

    def begin(self, group: GroupInputs) -> None:
        """Build the network, count it, and start or resume its training; ends the training where that fails.

        Raises:
            RksearchError: the fault is not the network's.
        """
        shared = group.shared
        self._known = shared.result(self._execution.threads)
        self._listed = self._known.images
        try:
            model = self._build(shared)
            # A network with dropout continues the random numbers of its initialisation: nothing may draw in between.
            with torch.random.fork_rng(devices=()):
                with as_trial_failure("building the network"), self.clock.part("witness"):
                    counted = witness(model, shared.facts, shared.counts, executed_macs(shared.arch, shared.facts))
                    self._known = replace(self._known, witness=counted)
                with self.clock.part("plan"):
                    plan = group.plan(self.spec.recipe)
            self._known = replace(self._known, memory=plan)
            with self.clock.part("set_up"):
                self.trainer = self._resumed(model, group, plan)
        except TrialFailed as failure:
            self.fail(failure)
            return
        choice = self.trainer.choice
        self._known = replace(self._known, compiled=choice.compiled, compile_reason=choice.reason)
        logger.info("%s is %s", self.spec.id, choice.reason)
        if self.trainer.done:
            self._complete(self._completed(self.trainer), self.trainer.state_dict())

    def _build(self, shared: SharedInputs) -> nn.Module:
        """The network with its first weights: the same ones for the same trial."""
        with as_trial_failure("building the network"), self.clock.part("build"):
            seed_everything(self.spec.seed)
            return build(shared.arch, shared.facts)

    def _resumed(self, model: nn.Module, group: GroupInputs, plan: MemoryPlan) -> Trainer:
        """A trainer at the newest state that it accepts, else at the start."""
        for saved in self._store.newest_first():
            trainer = self._started(model, group, plan)
            try:
                trainer.load_state_dict(saved.state)
            except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
                reason = " ".join(str(error).split())[:200]
                self._store.reject(saved.file, f"does not fit the network ({type(error).__name__}: {reason})")
                model = self._build(group.shared)  # a state may have been loaded in part
                continue
            logger.info("resumed after epoch %d from %s", len(trainer.epochs), saved.file)
            return trainer
        return self._started(model, group, plan)

    def _started(self, model: nn.Module, group: GroupInputs, plan: MemoryPlan) -> Trainer:
        """A trainer at the very start: the same one for the same trial."""
        shared, recipe, choice = group.shared, self.spec.recipe, group.shared.choice
        if plan.recompute:
            choice = Choice(compiled=False, reason="not compiled: its activations are recomputed to fit in memory")
        with as_trial_failure("preparing the training"):
            if plan.recompute:
                logger.info("%s recomputes activations to fit in memory", self.spec.id)
                recompute(model)
            train, val = group.images
            batches = batches_of(train, shared.facts, recipe, self.spec.seed)
            return Trainer(model, batches, val, recipe, shared.precision, choice=choice, on_part=self._on_part)

    def pause(self) -> None:
        """Leave it where it is."""
        self.result = replace(self._known, status="paused", epochs=self.epochs, work_times=self.clock.times())
        self.trainer = None

    def before_epoch(self, seeds_together: int) -> None:
        """Note the size of the seed group; before the last epoch, measure latency, which takes the whole machine.

        Ends the training where its network cannot be measured.

        Raises:
            RksearchError: the fault is not the network's.
        """
        self._known = replace(self._known, seeds_together=seeds_together)
        last = len(self.epochs) == self.spec.recipe.epochs - 1
        if self._execution.latency and last and self._known.latency_ms is None:
            self._on_part("latency")
            _free_memory()
            return_freed()
            try:
                found = measure_latency(
                    self.spec.arch,
                    self.spec.dataset,
                    device=self._execution.device,
                    precision=self._execution.precision,
                    threads=self._execution.threads,
                )
            except TrialFailed as failure:
                self.fail(failure)
                return
            self._known = replace(self._known, latency_ms=latency_ms(found))

    def after_epoch(self, on_epoch: OnEpoch | None) -> None:
        """Save the state, with the result when the training is done.

        Raises:
            RksearchError: the checkpoint cannot be written or mirrored.
        """
        trainer = self.trainer
        assert trainer is not None
        self._note_times(trainer)
        self._note_unreadable(trainer)
        completed = self._completed(trainer) if trainer.done else None
        with self.clock.part("save"):
            state = trainer.state_dict()
            if self._execution.fingerprint is not None:
                state["fingerprint"] = self._execution.fingerprint
            if completed is not None:
                state["result"] = to_plain(completed)
            self._store.save(state)
        if on_epoch is not None:
            with self.clock.part("report"):
                on_epoch(self.spec, trainer.epochs[-1])
        if completed is not None:
            self._complete(completed, state)

    def _note_times(self, trainer: Trainer) -> None:
        """Add the seconds of the last epoch to the clock."""
        self.clock.add("train", trainer.epochs[-1].train_time_s)
        for part, total_s in (("prepare", trainer.prepare_time_s), ("validate", trainer.validation_time_s)):
            self.clock.add(part, total_s - self._noted_s.get(part, 0.0))
            self._noted_s[part] = total_s

    def _note_unreadable(self, trainer: Trainer) -> None:
        """Count streamed images that cannot be read as none that were used."""
        train, val = trainer.unreadable
        if train or val:
            left = ImageCounts(train=_less(self._listed.train, train), val=_less(self._listed.val, val))
            self._known = replace(self._known, images=left, unreadable=(*train, *val))

    def fail(self, failure: TrialFailed) -> None:
        """End it, and keep the traceback in `error.txt`.

        Raises:
            RunError: that file cannot be written.
        """
        path = self._directory / "error.txt"
        try:
            write_traceback(path, failure)
        except OSError as error:
            rule = f"a traceback must be written to {path}, but that failed ({error.strerror})"
            raise unwritable(RunError(f"{rule}; make room or make it writable"), error) from error
        self.result = replace(
            self._known,
            status="failed",
            failure=failure.kind,
            message=str(failure),
            epochs=self.epochs,
            work_times=self.clock.times(),
        )
        self.trainer = None

    def _complete(self, completed: TrialResult, state: Mapping[str, Any]) -> None:
        self.result, self.weights = completed, final_weights(state)
        self.trainer = None

    def _completed(self, trainer: Trainer) -> TrialResult:
        last = trainer.validation
        return replace(
            self._known,
            status="complete",
            epochs=tuple(trainer.epochs),
            work_times=self.clock.times(),
            val_confusion=None if last is None else last.confusion,
        )


def _less(count: int | None, unreadable: Sequence[str]) -> int | None:
    return None if count is None else count - len(unreadable)


def _train_group(
    trainings: Sequence[Training],
    inputs: SharedInputs,
    execution: Execution,
    on_epoch: OnEpoch | None,
    until: int | None,
) -> None:
    """Bring trainings that fit in memory at the same time to their results."""
    with closing(GroupInputs(inputs, trainings[0].spec.recipe, execution, len(trainings))) as group:
        for training in trainings:
            training.begin(group)
        for alike in _by_compilation(trainings):
            with freed_memory_kept(inputs.device):
                _run_epochs(alike, execution, on_epoch, until)


def _by_compilation(trainings: Sequence[Training]) -> Iterator[list[Training]]:
    """Trainings that have not ended, by whether they are compiled: a resumed one stays as it began."""

    def compiled(training: Training) -> bool:
        return training.trainer is not None and training.trainer.choice.compiled

    running = sorted((training for training in trainings if training.trainer is not None), key=compiled)
    for _, alike in groupby(running, compiled):
        yield list(alike)


def _run_epochs(
    trainings: Sequence[Training], execution: Execution, on_epoch: OnEpoch | None, until: int | None
) -> None:
    """Run epoch after epoch of all of them, until each has ended or paused."""
    group: SeedGroup | None = None
    before: list[Training] = []
    while True:
        for training in trainings:
            if training.trainer is not None and _must_pause(len(training.epochs), until, execution.deadline_s):
                training.pause()
        running = [training for training in trainings if training.trainer is not None]
        if not running:
            return
        if running != before:
            group = None  # frees its graphs, and what it holds of trainings that have ended, before others are made
            if len(running) < len(before):
                _free_memory()
            if len(running) > 1:
                group = SeedGroup([training.trainer for training in running if training.trainer is not None])
        _run_epoch(running, group, on_epoch)
        before = running


def _run_epoch(running: Sequence[Training], group: SeedGroup | None, on_epoch: OnEpoch | None) -> None:
    """Run the next epoch of each; failures, and what their tracebacks hold, are released when this call ends."""
    for training in running:
        training.before_epoch(len(running))
    if any(training.trainer is None for training in running):
        return  # the program is of all of them: the others need one of their own
    if group is not None:
        outcomes = group.run_epoch()
    else:
        (trainer,) = [training.trainer for training in running if training.trainer is not None]
        outcomes = [attempt(trainer.run_epoch)]
    for training, outcome in zip(running, outcomes, strict=True):
        if isinstance(outcome, TrialFailed):
            training.fail(outcome)
        else:
            training.after_epoch(on_epoch)


def _must_pause(epochs: int, until: int | None, deadline_s: float | None) -> bool:
    return (until is not None and epochs >= until) or (deadline_s is not None and time.time() >= deadline_s)


def _free_memory() -> None:
    """Give back what failed trainings and earlier steps held: another training, or another process, can have it."""
    gc.collect()  # exceptions and frames refer to each other
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
