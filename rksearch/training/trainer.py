"""Training loop of one network and one recipe; its state can be saved and restored exactly after every epoch."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rksearch.data.augmentation import Augmentation, check_augmentation
from rksearch.data.batches import TrainBatches, TrainImages
from rksearch.data.dataset import Dataset
from rksearch.data.facts import dataset
from rksearch.errors import RksearchError, TrialFailed
from rksearch.recipes.recipe import Recipe
from rksearch.results.confusion import MANY_CLASSES, Confusion, balanced_error_pct
from rksearch.results.records import Epoch
from rksearch.training.engine.compiling import EAGER, Choice
from rksearch.training.engine.device import autocast, is_out_of_memory, widest_float
from rksearch.training.engine.heap import freed_memory_kept
from rksearch.training.engine.precision import Precision
from rksearch.training.engine.programs import Programs, Recorder
from rksearch.training.engine.step import TrainStep
from rksearch.training.pulse import OnPart, unobserved

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


def seed_everything(seed: int) -> None:
    """Seed torch's global generators, from which weights are initialised (and dropout draws, where a network has any).

    The order of the data has a generator of its own, see `rksearch.data.batches`.
    """
    torch.manual_seed(seed)


@contextmanager
def as_trial_failure(doing: str) -> Iterator[None]:
    """Turn an exception in the block into a `TrialFailed` of one line; errors raised on purpose pass through.

    Args:
        doing: the block's work, for the message.

    Raises:
        TrialFailed: of kind `out_of_memory` when the device or the machine ran out of memory, else `error`.
    """
    try:
        yield
    except RksearchError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        if is_out_of_memory(error):
            raise TrialFailed(
                "out_of_memory",
                f"out of memory while {doing} ({reason}); use a smaller batch or network, or fewer trials at a time",
            ) from error
        raise TrialFailed("error", f"{type(error).__name__} while {doing}: {reason or 'no message'}") from error


def attempt(work: Callable[[], Result]) -> Result | TrialFailed:
    """Call `work`; returns its value, or the failure of a trial that it raises."""
    try:
        return work()
    except TrialFailed as failure:
        return failure


def batches_of(images: TrainImages, dataset: Dataset, recipe: Recipe, seed: int) -> TrainBatches:
    """Training batches of images, augmented as the recipe says.

    Raises:
        DataError: fewer than two images, or the images cannot have the recipe's augmentation.
    """
    return TrainBatches(
        images,
        dataset,
        batch_size=recipe.batch_size,
        augment=recipe.augment,
        seed=seed,
        augmentation=augmentation_of(recipe),
    )


def check_images_suit(recipe: Recipe, dataset_name: str) -> None:
    """Make sure that the images of a data set can have the augmentation of a recipe.

    Raises:
        DataError: they cannot; one line before a run begins, not a failure of its trials.
    """
    if recipe.augment:
        facts = dataset(dataset_name)
        check_augmentation(augmentation_of(recipe), facts, streamed=facts.streamed)


def augmentation_of(recipe: Recipe) -> Augmentation:
    """The terms of a recipe that change images."""
    return Augmentation(
        kind=recipe.augmentation,
        translation=recipe.translation,
        alternating_flip=recipe.alternating_flip,
        cutout=recipe.cutout,
        randaugment=recipe.randaugment,
        randaugment_magnitude=recipe.randaugment_magnitude,
        mixup=recipe.mixup,
    )


class Pass(NamedTuple):
    """Mean cross-entropy and errors over some images, in percent.

    Attributes:
        loss: mean cross-entropy.
        error_pct: top-1 error.
        balanced_error_pct: mean over the classes of each class's top-1 error; None where it was not measured.
        top5_error_pct: share of the images whose class is not among the five most probable ones; None where it was not
            measured, as with few classes.
        confusion: the predictions by class; None where they were not counted.
    """

    loss: float
    error_pct: float
    balanced_error_pct: float | None = None
    top5_error_pct: float | None = None
    confusion: Confusion | None = None


class Trainer:
    """Training of one network: optimiser, data and the epochs that have run.

    On a CPU, the same start and precision give the same numbers bit for bit, also when it is saved and restored.

    Args:
        model: maps float images (N, C, H, W) to logits (N, classes); it is moved to the device of the images.
        train: the training batches.
        val: the validation images, on the same device; None to train without validation, whose numbers are NaN then.
        recipe: optimiser, learning rates and number of epochs.
        precision: of convolutions and matrix products, in training and validation alike.
        choice: whether the training steps are compiled. A saved state brings its own.
        record: see `rksearch.training.engine.programs.Programs`.
        on_part: called when a part of the work begins: `prepare`, each `step`, `wait` (for the device), `validate`.

    Attributes:
        step: one step of the training; a program of several trainings runs it instead of this object.
        choice: as given, or another one where compiling has failed.
        epochs: those that have run, restored ones included.
        step_losses: mean loss of every step of the epoch that ran last here.
        validation_time_s: seconds of all validations that ran here.
        on_part: as given.
        validation: the last validation that ran here; NaN without validation images, None before the first epoch here.
    """

    def __init__(
        self,
        model: nn.Module,
        train: TrainBatches,
        val: TrainImages | None,
        recipe: Recipe,
        precision: Precision,
        *,
        choice: Choice = EAGER,
        record: Recorder | None = None,
        on_part: OnPart = unobserved,
    ) -> None:
        self.device = train.images.device
        self.model = model.to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.precision = precision
        self.recipe = recipe
        self.epochs: list[Epoch] = []
        self.step_losses: list[float] = []
        self.validation_time_s = 0.0
        self.validation: Pass | None = None
        self.choice = choice
        self._train = train
        self._val = val
        self._record = record
        self.on_part = on_part
        self.step = TrainStep(self.model, train, recipe, precision)
        self._programs: Programs | None = None

    @property
    def prepare_time_s(self) -> float:
        """Seconds spent on compiling and recording, which no epoch's time contains."""
        return self._programs.prepare_time_s if self._programs else 0.0

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The optimiser of the weights."""
        return self.step.optimizer

    @property
    def unreadable(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Streamed images for training and for validation that were found to be unreadable so far: name and reason."""
        return self._train.images.unreadable, () if self._val is None else self._val.unreadable

    @property
    def done(self) -> bool:
        """Whether all epochs of the recipe have run."""
        return len(self.epochs) >= self.recipe.epochs

    def run_epoch(self) -> Epoch:
        """Train for one more epoch, then validate.

        Raises:
            TrialFailed: the loss is no longer finite, or memory ran out.
        """
        number = len(self.epochs) + 1
        with as_trial_failure(f"training epoch {number}"):
            self.prepare()
            started = time.perf_counter()
            train = self.train_pass(number)
            return self.end_epoch(train, time.perf_counter() - started)

    def prepare(self) -> None:
        """Compile and record what the training needs; where one of these fails, log it and train without.

        `run_epoch` does it first; a second call has no effect.
        """
        self._prepared()

    def _prepared(self) -> Programs:
        if self._programs is None:
            self.on_part("prepare")
            self._programs = Programs([self.step], choice=self.choice, record=self._record)
        self.model.train()
        self._programs.prepare()
        self.choice = self._programs.choice
        return self._programs

    def train_pass(self, number: int) -> Pass:
        """Train over all batches as in epoch `number`, a part of `run_epoch`.

        Raises:
            TrialFailed: the loss is no longer finite.
        """
        with freed_memory_kept(self.device):
            self.begin_epoch(number)
            self.take_steps(self._train.steps_per_epoch)
        return self.end_pass(number)

    def fetch(self) -> None:
        """Bring the next batch to the device where images are streamed, before a step; a part of `take_steps`.

        Raises:
            DataError: an image cannot be read.
        """
        self._train.fetch()

    def begin_epoch(self, number: int) -> None:
        """Draw the random numbers of epoch `number` and move to its first batch; a part of `train_pass`."""
        self.model.train()
        steps = self._train.steps_per_epoch
        rates = [self.recipe.lr_at((number - 1) * steps + i, steps) for i in range(steps)]
        self.step.begin(self._train.draw(), rates)

    def take_steps(self, count: int) -> None:
        """Train on the first `count` batches of the current epoch; a part of `train_pass`."""
        programs = self._prepared()
        for size in self.step.sizes[:count]:
            self.on_part("step")
            self.fetch()
            programs.run(size)

    def end_pass(self, number: int) -> Pass:
        """Wait for the steps of epoch `number`, then return their loss and error; a part of `train_pass`.

        Raises:
            TrialFailed: the loss is no longer finite.
        """
        self.on_part("wait")
        steps = self._train.steps_per_epoch
        # The only time in the pass that the host waits for the device.
        self.step_losses = self.step.losses.tolist()
        for i, value in enumerate(self.step_losses):
            if not math.isfinite(value):
                raise self._diverged(value, f"at step {i + 1} of {steps} of epoch {number}", (number - 1) * steps + i)
        count = len(self._train.images)
        total = math.fsum(value * size for value, size in zip(self.step_losses, self.step.sizes, strict=True))
        return Pass(total / count, 100 * int(self.step.wrong) / count)

    def end_epoch(self, train: Pass, train_time_s: float) -> Epoch:
        """Validate after a pass and add the epoch to the history; a part of `run_epoch`.

        Raises:
            TrialFailed: the loss is no longer finite.
        """
        number, steps = len(self.epochs) + 1, self._train.steps_per_epoch
        val = Pass(math.nan, math.nan)
        if self._val is not None:
            self.on_part("validate")
            started = time.perf_counter()
            average = self.step.average
            with nullcontext() if average is None else average.in_place():
                val = evaluate(self.model, self._val, self.precision, mirrored=self.recipe.flip_averaging)
            self.validation_time_s += time.perf_counter() - started
            if not math.isfinite(val.loss):
                raise self._diverged(val.loss, f"in the validation after epoch {number}", number * steps - 1)
        epoch = Epoch(
            epoch=number,
            lr=self.recipe.lr_at((number - 1) * steps, steps),
            train_loss=train.loss,
            train_error_pct=train.error_pct,
            val_loss=val.loss,
            val_error_pct=val.error_pct,
            train_time_s=train_time_s,
            balanced_val_error_pct=val.balanced_error_pct,
            top5_val_error_pct=val.top5_error_pct,
        )
        self.validation = val
        self.epochs.append(epoch)
        return epoch

    def _diverged(self, loss: float, where: str, step: int) -> TrialFailed:
        lr = self.recipe.lr_at(step, self._train.steps_per_epoch)
        remedy, decay = "use a lower lr", self.recipe.weight_decay
        if decay > self.recipe.lr and decay * self.recipe.lr > 1:  # then it alone turns the sign of weights, or worse
            remedy = f"use a lower weight_decay than {decay:g}: times lr it must be below 1"
        return TrialFailed(
            "non_finite_loss",
            f"the loss must stay finite, but became {loss} {where} (learning rate {lr:.3g}, of recipe "
            f"{self.recipe.name} with lr {self.recipe.lr:g}); {remedy}",
        )

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next epoch depends on: plain values and tensors, see `load_state_dict`."""
        own: dict[str, Any] = {}
        if self.device.type == "cuda":
            own["cuda_generator"] = torch.cuda.get_rng_state(self.device)
        elif self.device.type == "mps":
            own["mps_generator"] = torch.mps.get_rng_state()
        average = {} if self.step.average is None else {"average": self.step.average.state_dict()}
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            **self._train.state_dict(),
            "torch_generator": torch.get_rng_state(),
            **own,
            **average,
            "epochs": [asdict(epoch) for epoch in self.epochs],
            "choice": asdict(self.choice),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from a `state_dict`. After an exception the trainer is in no defined state.

        Raises:
            KeyError, TypeError, ValueError, RuntimeError: the state belongs to another network or was not written by
                `state_dict`.
        """
        self.model.load_state_dict(state["model"])
        self.step.load_optimizer(state["optimizer"])
        if self.step.average is not None:
            self.step.average.load_state_dict(state["average"])
        self._train.load_state_dict(state)
        torch.set_rng_state(state["torch_generator"])
        if "cuda_generator" in state and self.device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda_generator"], self.device)
        elif "mps_generator" in state and self.device.type == "mps":
            torch.mps.set_rng_state(state["mps_generator"])
        self.epochs = [Epoch(**epoch) for epoch in state["epochs"]]
        # Compiling changes the numbers, by rounding: a resumed training stays as it began.
        self.choice = Choice(**state["choice"]) if "choice" in state else EAGER
        self._programs = None


def final_weights(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """Weights of the network that a trainer's `state_dict` stands for: their average, where there is one."""
    found: Mapping[str, Any] = state.get("average", state["model"])
    return found


def evaluate(
    model: nn.Module,
    images: TrainImages,
    precision: Precision,
    *,
    mirrored: bool = False,
) -> Pass:
    """Loss and errors over all images that can be read, in eval mode, in which the model is left.

    All numbers stay on the device and are copied to the host together, at the end: the host waits once. Whole numbers
    are counted, so that the errors do not depend on the order in which a device adds. The true and the predicted class
    of each image are kept, not a matrix of counts, which takes gigabytes for tens of thousands of classes.

    Args:
        model: maps float images (N, C, H, W) to logits (N, classes).
        images: images to read.
        precision: of convolutions and matrix products.
        mirrored: whether to average the logits of each image and of its mirror image, where the data set allows flips.
    """
    model.eval()
    total = torch.zeros((), dtype=widest_float(images.device), device=images.device)
    beyond_five = torch.zeros((), dtype=torch.int64, device=images.device)
    codes = torch.zeros(len(images), dtype=torch.int64, device=images.device)
    classes = count = 0

    with torch.no_grad(), autocast(images.device, precision):
        for batch, labels in images.batches():
            logits: Tensor = model(batch).float()
            if mirrored and images.may_flip:
                logits = (logits + model(batch.flip(3)).float()) / 2
            classes = logits.shape[1]
            total += F.cross_entropy(logits, labels, reduction="sum").to(total.dtype)
            codes[count : count + len(labels)] = labels * classes + logits.argmax(1)
            count += len(labels)  # streamed images that cannot be read are none of these
            if classes > MANY_CLASSES:
                beyond_five += (rank_of(logits, labels) >= 5).sum()
    # The sum of losses travels as the bits of a whole number, and is the same afterwards.
    moved = torch.cat([_bits(total), beyond_five.view(1), codes[:count]]).cpu()
    confusion = _confusion(moved[2:], classes)
    return Pass(
        loss=_number(moved[:1], total.dtype) / count,
        error_pct=100 * sum(confusion.errors) / count,
        balanced_error_pct=balanced_error_pct(confusion.images, confusion.errors),
        top5_error_pct=100 * int(moved[1]) / count if classes > MANY_CLASSES else None,
        confusion=confusion,
    )


def _confusion(codes: Tensor, classes: int) -> Confusion:
    """Counts of images, of which each is given by its true class times the number of classes plus its predicted one."""
    pairs, counts = codes.unique(return_counts=True)
    return Confusion.from_pairs(
        classes, zip((pairs // classes).tolist(), (pairs % classes).tolist(), counts.tolist(), strict=True)
    )


def _bits(number: Tensor) -> Tensor:
    """The bits of a float as a whole number, int64 (1,); `_number` is the inverse."""
    whole = torch.int64 if number.dtype == torch.float64 else torch.int32
    return number.view(1).view(whole).to(torch.int64)


def _number(bits: Tensor, dtype: torch.dtype) -> float:
    whole = torch.int64 if dtype == torch.float64 else torch.int32
    return float(bits.to(whole).view(dtype))


def rank_of(logits: Tensor, labels: Tensor) -> Tensor:
    """Number of classes that come before the right one, (N,): 0 for a right prediction.

    Classes of equal logits come in their order, as for `argmax`, whatever the device; a logit that is not a number
    comes before all others.

    Args:
        logits: (N, classes).
        labels: int64 (N,).
    """
    own = logits.gather(1, labels[:, None])
    classes = torch.arange(logits.shape[1], device=logits.device)
    before = ~(logits <= own) | ((logits == own) & (classes < labels[:, None]))
    return before.sum(1)
