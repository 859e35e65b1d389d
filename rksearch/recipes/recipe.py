"""Training recipes as values: the optimiser, its schedule, the augmentation and the number of epochs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from rksearch.errors import SpaceError
from rksearch.plain import is_flag, is_number, is_whole, make_plain

OPTIMIZERS = ("sgd", "adamw")
SCHEDULES = ("step", "cosine", "one_cycle")
AUGMENTATIONS = ("crop", "scale_aspect")

START_SHARE = 1 / 25
END_SHARE = START_SHARE / 1e4
"""Shares of the highest rate with which `one_cycle` starts and ends: the defaults of torch's `OneCycleLR`."""


LEAST, MOST = 1e-30, 1e30
"""Range of numbers that are above 0 in float32 and finite, as are small shares and multiples of them."""

LEAST_MIXUP = 0.01
"""Smallest parameter of the Beta distribution that torch draws from rightly: near 0.001 a quarter of its draws, which
should be near 0 or 1, are 0.5, and below 1e-45 there are none."""

MOST_OPERATIONS = 100
"""Most operations of RandAugment on an image: 999,999 would take a second for each."""


_KINDS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "int": (is_whole, "a whole number"),
    "float": (is_number, "a number"),
    "bool": (is_flag, "True or False"),
    "str": (lambda value: isinstance(value, str), "text"),
    "tuple[float, ...]": (lambda value: isinstance(value, tuple) and all(map(is_number, value)), "a tuple of numbers"),
}
"""Of each type of a term a test, and the type in words."""


class RecipeError(SpaceError):
    """A value of a recipe breaks a rule; `fields` are the fields that the rule is about."""

    def __init__(self, message: str, fields: tuple[str, ...]) -> None:
        super().__init__(message)
        self.fields = fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Settings of the training of one network. A number that is 0 switches its term off, where 0 is allowed.

    Attributes:
        name: the shipped recipe, or the file without its suffix, that this one is or was changed from.
        epochs: passes over the training images.
        batch_size: images in one step; the last, smaller batch of an epoch is used too.
        lr: highest learning rate.
        schedule: `step` divides the rate by 10 after each of `milestones`; `cosine` lets it fall to zero step by step;
            `one_cycle` rises and falls along two lines, from and to a small share of `lr` (see `lr_at`).
        milestones: fractions of `epochs` after which `step` divides, rounded to whole epochs (halves to the even one),
            at least one.
        warmup: fraction of all steps over which the rate first rises linearly: from zero, or as `one_cycle` does.
        momentum: of SGD; decay of the first moment (beta 1) of AdamW.
        nesterov: whether SGD looks ahead.
        weight_decay: decay of the parameters; AdamW decouples it from the gradient.
        augment: whether training images are augmented at all.
        optimizer: `sgd` or `adamw`.
        beta2: decay of AdamW's second moment.
        decay_norms_and_biases: whether weight decay applies to them too.
        decay_coefficients: whether weight decay applies to learned Runge-Kutta coefficients and step sizes too. They
            are near 1/s and 1 by their meaning, not near 0.
        label_smoothing: share of each label that is spread evenly over all classes, in training alone.
        mixup: parameter alpha of the Beta distribution by which each step mixes every image and label with those of
            the image before it in the batch (Zhang et al. 2018).
        clip_grad_norm: largest norm of the gradient of all parameters together.
        ema: decay, per step, of the average of weights and statistics that is evaluated and kept as the result.
        micro_batch_size: images that pass through the network at once; gradients are summed over a step. Batch norms
            see, and normalise by, these images alone.
        augmentation: `crop`, the data set's own crop and flip; or `scale_aspect`, random scale and aspect ratio,
            colour jitter, PCA lighting and flip of streamed images, as for ImageNet.
        translation: pixels by which images are shifted at most, borders mirrored, in place of the zero-padded crop.
        alternating_flip: whether each image is mirrored in every second epoch, instead of at random (where the data
            set allows flips at all).
        cutout: side, in pixels, of a square that is set to the mean colour; parts of it may lie outside the image
            (DeVries & Taylor 2017).
        randaugment: number of operations of RandAugment on each image (Cubuk et al. 2020).
        randaugment_magnitude: their strength, from 0 to 30.
        flip_averaging: whether evaluation averages the outputs for each image and its mirror image, where the data
            set allows flips. It costs two forward passes per image.

    Raises:
        RecipeError: a value breaks a rule.
    """

    name: str
    epochs: int
    batch_size: int = 64
    lr: float = 0.1
    schedule: str = "step"
    milestones: tuple[float, ...] = (0.5, 0.75)
    warmup: float = 0.0
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 1e-4
    augment: bool = True
    optimizer: str = "sgd"
    beta2: float = 0.999
    decay_norms_and_biases: bool = True
    decay_coefficients: bool = False
    label_smoothing: float = 0.0
    mixup: float = 0.0
    clip_grad_norm: float = 0.0
    ema: float = 0.0
    micro_batch_size: int = 0
    augmentation: str = "crop"
    translation: int = 0
    alternating_flip: bool = False
    cutout: int = 0
    randaugment: int = 0
    randaugment_magnitude: int = 9
    flip_averaging: bool = False

    def __post_init__(self) -> None:
        make_plain(self)
        for field in fields(self):
            suits, kind = _KINDS[str(field.type)]
            if not suits(value := getattr(self, field.name)):
                raise RecipeError(f"recipe: {field.name} must be {kind}, but got {value!r}", (field.name,))
        for holds, rule, about in (*self._rules(), *self._rules_of_terms()):
            if not holds:
                raise RecipeError(f"recipe: {rule}, but got {getattr(self, about[0])!r}", about)

    def _rules(self) -> list[tuple[bool, str, tuple[str, ...]]]:
        """Rules of optimiser and schedule: whether each holds, its words and the fields that it is about."""
        sgd = self.optimizer == "sgd"
        return [
            (self.epochs >= 1, "epochs must be at least 1", ("epochs",)),
            (self.batch_size >= 2, "batch_size must be at least 2 (batch norm needs two images)", ("batch_size",)),
            (LEAST <= self.lr <= MOST, f"lr must be above 0 (from {LEAST:g} to {MOST:g})", ("lr",)),
            (self.schedule in SCHEDULES, f"schedule must be {_one_of(SCHEDULES)}", ("schedule",)),
            (all(0 < m < 1 for m in self.milestones), "milestones must lie between 0 and 1", ("milestones",)),
            (0 <= self.warmup < 1, "warmup must be at least 0 and below 1", ("warmup",)),
            (0 <= self.momentum < 1, "momentum must be at least 0 and below 1", ("momentum",)),
            (_off_or(self.weight_decay), f"weight_decay must be 0, or from {LEAST:g} to {MOST:g}", ("weight_decay",)),
            (
                not (sgd and self.nesterov and self.momentum == 0),
                "nesterov needs a momentum above 0",
                ("momentum", "nesterov"),
            ),
            (self.optimizer in OPTIMIZERS, f"optimizer must be {_one_of(OPTIMIZERS)}", ("optimizer",)),
            (0 <= self.beta2 < 1, "beta2 must be at least 0 and below 1", ("beta2",)),
        ]

    def _rules_of_terms(self) -> list[tuple[bool, str, tuple[str, ...]]]:
        """Rules of loss, weights and images, as in `_rules`."""
        changes = (self.translation, self.alternating_flip, self.cutout, self.randaugment)
        return [
            (0 <= self.label_smoothing < 1, "label_smoothing must be at least 0 and below 1", ("label_smoothing",)),
            (_off_or(self.mixup, LEAST_MIXUP), f"mixup must be 0, or from {LEAST_MIXUP:g} to {MOST:g}", ("mixup",)),
            (
                _off_or(self.clip_grad_norm),
                f"clip_grad_norm must be 0, or from {LEAST:g} to {MOST:g}",
                ("clip_grad_norm",),
            ),
            (0 <= self.ema < 1, "ema must be at least 0 and below 1", ("ema",)),
            (
                self.micro_batch_size == 0 or 2 <= self.micro_batch_size <= self.batch_size,
                f"micro_batch_size must be 0, or from 2 to batch_size, which is {self.batch_size}",
                ("micro_batch_size", "batch_size"),
            ),
            (self.augmentation in AUGMENTATIONS, f"augmentation must be {_one_of(AUGMENTATIONS)}", ("augmentation",)),
            (self.translation >= 0, "translation must be at least 0", ("translation",)),
            (self.cutout >= 0, "cutout must be at least 0", ("cutout",)),
            (
                0 <= self.randaugment <= MOST_OPERATIONS,
                f"randaugment must be from 0 to {MOST_OPERATIONS}",
                ("randaugment",),
            ),
            (
                0 <= self.randaugment_magnitude <= 30,
                "randaugment_magnitude must be from 0 to 30",
                ("randaugment_magnitude",),
            ),
            (
                self.augment or not any(changes),
                "translation, alternating_flip, cutout and randaugment need augment: true",
                ("augment", "translation", "alternating_flip", "cutout", "randaugment"),
            ),
        ]

    def cut_to(self, images: int) -> Recipe:
        """The recipe with the batches that a training on so many images, at least two, has: no larger than all."""
        if self.batch_size <= images:
            return self
        batch = max(2, images)
        return replace(self, batch_size=batch, micro_batch_size=min(self.micro_batch_size, batch))

    def lr_at(self, step: int, steps_per_epoch: int) -> float:
        """Learning rate of optimiser step `step`, counted from 0 over the whole training.

        `one_cycle` is torch's `OneCycleLR` with linear pieces: from lr / 25 up to lr over the share `warmup` of the
        steps, then down to lr / 250,000 in the last one; momentum stays as it is.
        """
        total = self.epochs * steps_per_epoch
        if self.schedule == "one_cycle":
            return self.lr * self._cycle(step, total)
        rising = round(self.warmup * total)
        peak = self.lr * (step + 1) / rising if step < rising else self.lr
        if self.schedule == "step":
            epoch = step // steps_per_epoch
            passed = sum(epoch >= max(1, round(m * self.epochs)) for m in self.milestones)
            return peak * 0.1**passed
        if step < rising:
            return peak
        return self.lr * 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, total - rising)))

    def _cycle(self, step: int, total: int) -> float:
        """Share of the highest rate in step `step` of `total`."""
        top = self.warmup * total - 1
        if top > 0 and step <= top:
            return START_SHARE + (1 - START_SHARE) * step / top
        top = max(top, -1.0)
        return 1 + (END_SHARE - 1) * (step - top) / (total - 1 - top)


def _off_or(value: float, least: float = LEAST) -> bool:
    """Whether a number is 0, or one that float32 can compute with."""
    return value == 0 or least <= value <= MOST


def _one_of(words: tuple[str, ...]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"
