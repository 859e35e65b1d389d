"""Trials of one architecture on their way through this process: begun or gone on with, epoch by epoch, to an end."""

from __future__ import annotations

import gc
import logging
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import torch

from rksearch.data.batches import TrainBatches
from rksearch.errors import RunError, TrialFailed
from rksearch.models import build
from rksearch.models.recompute import recompute
from rksearch.models.witness import witness
from rksearch.results.codec import from_plain, to_plain
from rksearch.results.records import Epoch, TrialResult, TrialSpec
from rksearch.training.checkpoint import CheckpointStore
from rksearch.training.engine.compiling import Choice
from rksearch.training.engine.heap import freed_memory_kept
from rksearch.training.execution import Execution
from rksearch.training.latency import latency_ms, measure_latency
from rksearch.training.memory import MemoryPlan
from rksearch.training.seed_groups import Together, attempt
from rksearch.training.setting import Company, Setting, most_at_once
from rksearch.training.trainer import Trainer, as_trial_failure, seed_everything

logger = logging.getLogger(__name__)

OnEpoch = Callable[[TrialSpec, Epoch], None]


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
                self.result, self.weights = from_plain(TrialResult, saved.state["result"]), saved.state["model"]
            break

    @property
    def failed_for_memory(self) -> bool:
        """Whether it has ended because memory ran out."""
        return self.result is not None and self.result.failure == "out_of_memory"

    @property
    def epochs(self) -> int:
        """How many have run."""
        return len(self.trainer.epochs) if self.trainer else 0

    def begin(self, company: Company) -> None:
        """Make it ready to train, unless that fails.

        Raises:
            RksearchError: the fault is not the network's.
        """
        spec, setting = self.spec, company.setting
        self._known = setting.facts_known(self._execution.threads)
        try:
            with as_trial_failure("building the network"):
                seed_everything(spec.seed)
                self._known["witness"] = witness(build(setting.arch, setting.facts), setting.facts, setting.counts)
            plan = company.plan(spec.recipe)
            self._known["memory"] = plan.to_json()
            self.trainer = self._resumed(lambda: _at_the_start(spec, company, plan))
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

    def before_epoch(self, together: int) -> None:
        """Note how many seeds take the next epoch together; measure, before the last, what takes the whole machine."""
        self._known["seeds_together"] = together
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
            state["result"] = to_plain(self._completed(trainer))
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
    count = most_at_once(setting, [trial.spec for trial in still], execution)
    for first in range(0, len(still), count):
        _train_at_once(still[first : first + count], setting, execution, on_epoch, until)
        if any(trial.failed_for_memory for trial in still):
            free_memory()


def free_memory() -> None:
    """Give back what failed trainings held, so that the next one in this process has it."""
    gc.collect()  # exceptions and frames refer to each other
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _train_at_once(
    trials: Sequence[OpenTrial], setting: Setting, execution: Execution, on_epoch: OnEpoch | None, until: int | None
) -> None:
    company = Company(setting, execution, len(trials))
    for trial in trials:
        trial.begin(company)
    for alike in _alike(trials):
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
    together: Together | None = None
    before: list[OpenTrial] = []
    while True:
        for trial in trials:
            if trial.trainer is not None and _must_pause(trial.epochs, until, execution.deadline_s):
                trial.pause()
        going = [trial for trial in trials if trial.trainer is not None]
        if not going:
            return
        if going != before:
            together = None  # its graphs, and what it holds of those that have ended, before there are others
            if len(going) < len(before):
                free_memory()
            if len(going) > 1:
                together = Together([trial.trainer for trial in going if trial.trainer is not None])
        _run_epoch(going, together, on_epoch)
        before = going


def _run_epoch(going: Sequence[OpenTrial], together: Together | None, on_epoch: OnEpoch | None) -> None:
    """The next epoch of each; failures end with this call, and what their tracebacks hold."""
    for trial in going:
        trial.before_epoch(len(going))
    if together is not None:
        outcomes = together.run_epoch()
    else:
        (trainer,) = [trial.trainer for trial in going if trial.trainer is not None]
        outcomes = [attempt(trainer.run_epoch)]
    for trial, outcome in zip(going, outcomes, strict=True):
        if isinstance(outcome, TrialFailed):
            trial.fail(outcome)
        else:
            trial.after_epoch(on_epoch)


def _must_pause(epochs: int, until: int | None, deadline_s: float | None) -> bool:
    return (until is not None and epochs >= until) or (deadline_s is not None and time.time() >= deadline_s)


def _at_the_start(spec: TrialSpec, company: Company, plan: MemoryPlan) -> Trainer:
    """A training at its very start, the same one for the same spec."""
    setting, choice = company.setting, company.setting.choice
    if plan.recompute:
        choice = Choice(compiled=False, reason="not compiled: its activations are recomputed to fit in memory")
    with as_trial_failure("preparing the training"):
        seed_everything(spec.seed)
        model = build(setting.arch, setting.facts)
        if plan.recompute:
            logger.info("%s recomputes activations to fit in memory", spec.id)
            recompute(model)
        (train, val), recipe = company.images, spec.recipe
        batches = TrainBatches(
            train, setting.facts, batch_size=recipe.batch_size, augment=recipe.augment, seed=spec.seed
        )
        return Trainer(model, batches, val, recipe, setting.precision, choice=choice)
