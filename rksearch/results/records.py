"""Trials and their results: plain values that travel between driver, workers and ledger.

`rksearch.results.codec` turns them into JSON and back.
"""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal, NamedTuple

import msgspec

from rksearch.arch.cost import Witness
from rksearch.recipes.recipe import Recipe
from rksearch.results.confusion import Confusion
from rksearch.space.plan import TOP1, ErrorMetric

Role = Literal["baseline", "known", "candidate", "control", "final"]
"""The reason why an architecture is trained: as a baseline, as a configuration of the paper, because the search chose
it, in the random control arm, or on training and validation images together to be read against the test set."""

Status = Literal["complete", "failed", "pruned", "paused"]
"""`pruned`: stopped for good by racing; `paused`: at an epoch from which it may continue. Neither is a final error."""

SEARCHED: tuple[Role, ...] = ("known", "candidate")
"""Roles of trainings whose architectures may stand on the front."""

OWN_SEEDS: tuple[Role, ...] = ("control", "final")
"""Roles whose trainings are independent of all others of the same architecture."""

Positive = Annotated[int, msgspec.Meta(ge=1, le=10**15)]
Natural = Annotated[int, msgspec.Meta(ge=0, le=10**15)]
Percent = Annotated[float, msgspec.Meta(ge=0, le=100)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e12)]

LARGEST_LOSS = 3.5e38
"""Losses are computed in float32, so no finite one is larger."""


ROUNDING = 1e-6
"""Percent by which a mean may leave 0 to 100 through rounding alone."""


class TrialId(NamedTuple):
    """The parts of a trial's id.

    Attributes:
        arch: canonical name.
        own_seeds: `control` or `final` for trainings with seeds of their own, else None.
        replicate: index of the seed.
    """

    arch: str
    own_seeds: Role | None
    replicate: int


_TRIAL_ID = re.compile(rf"(.+)@({'|'.join(OWN_SEEDS)}|)(\d+)")


def make_trial_id(arch: str, replicate: int = 0, own_seeds: Role | None = None) -> str:
    """Id of a trial, unique within a run; `parse_trial_id` is the inverse."""
    return f"{arch}@{own_seeds or ''}{replicate}"


def parse_trial_id(text: str) -> TrialId:
    """Split an id that `make_trial_id` made.

    Raises:
        ValueError: it is no such id.
    """
    match = _TRIAL_ID.fullmatch(text)
    if match is None:
        raise ValueError(f"a trial id has the form ARCHITECTURE@REPLICATE, but got {text!r}")
    role = next((role for role in OWN_SEEDS if role == match[2]), None)
    return TrialId(match[1], role, int(match[3]))


SHARED = ("dataset", "recipe", "train_images")
"""Fields that all trainings of a run share with its plan."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialSpec:
    """One training: one architecture, one recipe, one seed.

    Attributes:
        arch: canonical name of the architecture.
        dataset: name of the data set.
        recipe: the training recipe.
        train_images: size of the stratified subset that is trained on; None for all training images.
        replicate: 0 for the first training of an architecture, 1, 2, ... for repetitions with other seeds.
        role: the reason for the training. One of role `final` also trains on the validation images.
    """

    arch: str
    dataset: str
    recipe: Recipe
    train_images: Positive | None = None
    replicate: Natural = 0
    role: Role = "candidate"

    @property
    def id(self) -> str:
        """Unique id within a run: `ResNet-20@0`; `ResNet-20@control0` and `ResNet-20@final0` differ from it."""
        return make_trial_id(self.arch, self.replicate, self.role if self.has_own_seeds else None)

    @property
    def seed(self) -> int:
        """Seed of the training: a function of the id alone, never of the order of arrival."""
        return int.from_bytes(hashlib.sha256(self.id.encode()).digest()[:4], "big")

    @property
    def has_own_seeds(self) -> bool:
        """Whether the training is independent of all others of the same architecture."""
        return self.role in OWN_SEEDS

    @property
    def is_searched(self) -> bool:
        """Whether its architecture may stand on the front."""
        return self.role in SEARCHED

    @property
    def is_baseline(self) -> bool:
        """Whether its architecture is a baseline."""
        return self.role == "baseline"

    @property
    def is_first_of_search(self) -> bool:
        """Whether it is the first training of an architecture that may stand on the front."""
        return self.replicate == 0 and self.is_searched


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """One pass over the training images; errors are top-1, in percent. NaN stands for a number that is not finite.

    Attributes:
        epoch: index, counted from 1.
        lr: learning rate of the epoch's first step.
        train_loss, train_error_pct: running means over the epoch's augmented batches.
        val_loss, val_error_pct: on the validation split, after the epoch; NaN where there is no validation split.
        train_time_s: wall time of the training pass alone, without validation; an equal share of it where several
            seeds were trained together.
        balanced_val_error_pct: mean over the classes of each class's error on the validation split; None where it was
            not measured.
        top5_val_error_pct: top-5 error on the validation split; None where it was not measured, as with few classes.
        metrics: further measurements by name.

    Raises:
        ValueError: a value is out of range.
    """

    epoch: int
    lr: float
    train_loss: float
    train_error_pct: float
    val_loss: float
    val_error_pct: float
    train_time_s: float
    balanced_val_error_pct: Percent | None = None
    top5_val_error_pct: Percent | None = None
    metrics: dict[str, float] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if (
            0 <= self.train_error_pct <= 100
            and 0 <= self.val_error_pct <= 100
            and -LARGEST_LOSS <= self.train_loss <= LARGEST_LOSS
            and -LARGEST_LOSS <= self.val_loss <= LARGEST_LOSS
            and 0 <= self.train_time_s <= 1e12
        ):
            return  # nothing is beyond its range; of the hundreds of thousands that a report reads, nearly all
        for name, value in (("train_error_pct", self.train_error_pct), ("val_error_pct", self.val_error_pct)):
            if not (-ROUNDING <= value <= 100 + ROUNDING or math.isnan(value)):
                raise ValueError(f"{name} must lie between 0 and 100, but got {value!r}")
        for name, value in (("train_loss", self.train_loss), ("val_loss", self.val_loss)):
            if math.isfinite(value) and abs(value) > LARGEST_LOSS:
                raise ValueError(f"{name} must be a float32 number, but got {value!r}")
        if not (0 <= self.train_time_s <= 1e12 or math.isnan(self.train_time_s)):
            raise ValueError(f"train_time_s must be at least 0, but got {self.train_time_s!r}")

    def error_pct(self, metric: ErrorMetric = TOP1) -> float:
        """The error that `metric` names, on the validation split; NaN where it was not measured."""
        value = getattr(self, metric.field)
        return math.nan if value is None else float(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageCounts:
    """Numbers of images that a training used; None where it ended before they were counted.

    Attributes:
        train: images trained on.
        val: images held out for validation.
    """

    train: Natural | None = None
    val: Natural | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPlan:
    """Plan of a training in limited memory; see `rksearch.training.memory`.

    Attributes:
        recompute: whether activations are computed again in the backward pass.
        predicted_peak_bytes: peak of the training as planned, data set included.
    """

    recompute: bool
    predicted_peak_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Time of one forward pass in eval mode, copies between host and device left out.

    Attributes:
        batch_size: images in a pass.
        median_ms, iqr_ms: median and interquartile range over the repetitions, in milliseconds.
        repetitions: number of timed passes, after a warm-up.
        device: `cpu`, or the name of the GPU.
        precision: `fp32`, with convolutions in TF32 on NVIDIA GPUs from Ampere on, or `bf16` autocast.
        threads: CPU threads.
    """

    batch_size: Positive
    median_ms: float
    iqr_ms: float
    repetitions: Positive
    device: str
    precision: str
    threads: Positive


LATENCY_BATCH_SIZE = 1
"""Batch size of the latency that is an objective, the median time of one image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkTimes:
    """Where the time of a trial went since it last started, in the process that trained it.

    Attributes:
        began_s, ended_s: start of the work and time of the result, seconds since 1970 by the worker's clock.
        parts_s: seconds by part: `load` (reading and splitting the images), `build` (the network), `witness`, `plan`
            (of memory), `set_up` (images to the device, checkpoint read), `prepare` (compiling, recording), `train`,
            `validate`, `save` (checkpoints, without that which holds this result) and `report`. Where several seeds
            were trained together, `load` and `train` are equal shares.
    """

    began_s: Seconds
    ended_s: Seconds
    parts_s: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialResult:
    """The result of a trial.

    Attributes:
        status: `complete` after the full number of epochs, else its end or its present state; see `Status`.
        failure: stable label of the reason when failed (`non_finite_loss`, `out_of_memory`, `error`, ...), else None.
        message: the reason in one line when failed, else None.
        epochs: every epoch that ran, those before a pause included.
        params, params_paper, macs, fvcore_flops: closed forms (see `rksearch.arch.cost`).
        witness: counts taken from the built model.
        device, precision, threads: the hardware and arithmetic of the training; for `fp32` see `Latency`.
        compiled: whether its training steps were compiled; None where that is not known.
        compile_reason: the reason for that, in words.
        images: numbers of images used.
        split: first 16 hex digits of the SHA-256 of the split's indices.
        memory: how the training fits in memory; None where it was not predicted.
        latency_ms: inference latency by batch size, as text; None where it was not measured.
        seeds_together: number of seeds of the architecture that were trained as one program, this one included; times
            are equal shares of the program's.
        executed_macs: multiply-adds that the training's network executes for one image, by closed form; None in the
            records of versions that did not count them.
        metrics: further measurements by name.
        work_times: where its time went; None where that was not measured.
        val_confusion: predictions on the validation split after the last epoch of a complete training; None where they
            were not recorded.
        unreadable: name and reason of each streamed image that could not be read and is not counted in `images`: others
            of its class stood in for it in training, and validation left it out. None where there were none.
    """

    status: Status
    failure: str | None = None
    message: str | None = None
    epochs: tuple[Epoch, ...] = ()
    params: Positive | None = None
    params_paper: Positive | None = None
    macs: Positive | None = None
    fvcore_flops: Positive | None = None
    witness: Witness = field(default_factory=Witness)
    device: str = ""
    precision: str = ""
    threads: Natural = 0
    compiled: bool | None = None
    compile_reason: str = ""
    images: ImageCounts = field(default_factory=ImageCounts)
    split: str = ""
    memory: MemoryPlan | None = None
    latency_ms: dict[str, Latency] | None = None
    seeds_together: Positive = 1
    executed_macs: Positive | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    work_times: WorkTimes | None = None
    val_confusion: Confusion | None = None
    unreadable: tuple[str, ...] | None = None

    @property
    def image_latency_ms(self) -> float | None:
        """Median latency of one image in milliseconds; None where it was not measured."""
        measured = (self.latency_ms or {}).get(str(LATENCY_BATCH_SIZE))
        return measured.median_ms if measured else None


@dataclass(frozen=True, slots=True, kw_only=True)
class TestResult:
    """One reading of the test set, by the weights of a trial's last epoch.

    Attributes:
        test_error_pct: top-1 error in percent.
        test_loss: mean cross-entropy; None where it is not finite.
        test_images: number of images read.
        balanced_test_error_pct: mean over the classes of each class's error, in percent; None where it was not
            measured.
        top5_test_error_pct: top-5 error in percent; None where it was not measured, as with few classes.
        test_confusion: the predictions; None where they were not recorded.
        metrics: further measurements by name.
        unreadable: name and reason of each streamed image that could not be read and was left out; None where there
            were none.
    """

    __test__: ClassVar[bool] = False  # keeps pytest from taking the class for a group of tests

    test_error_pct: Percent
    test_loss: float | None
    test_images: Positive
    balanced_test_error_pct: Percent | None = None
    top5_test_error_pct: Percent | None = None
    test_confusion: Confusion | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    unreadable: tuple[str, ...] | None = None

    def error_pct(self, metric: ErrorMetric = TOP1) -> float | None:
        """The error that `metric` names; None where it was not measured."""
        value = getattr(self, metric.test_field)
        return None if value is None else float(value)
