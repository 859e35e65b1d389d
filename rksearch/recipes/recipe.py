"""Training recipes as values: the optimiser, its schedule and the number of epochs."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rksearch.errors import SpaceError

SCHEDULES = ("step", "cosine")


class RecipeError(SpaceError):
    """A value of a recipe breaks a rule; `fields` are the fields that the rule is about."""

    def __init__(self, message: str, fields: tuple[str, ...]) -> None:
        super().__init__(message)
        self.fields = fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Settings of the training of one network.

    Attributes:
        name: the shipped recipe, or the file without its suffix, that this one is or was changed from.
        epochs: passes over the training images.
        batch_size: images in one step; the last, smaller batch of an epoch is used too.
        lr: highest learning rate.
        schedule: `step` divides the rate by 10 after each of `milestones`; `cosine` lets it fall to zero step by step.
        milestones: fractions of `epochs` after which `step` divides, rounded to whole epochs.
        warmup: fraction of all steps over which `cosine` first rises linearly from zero.
        momentum, nesterov, weight_decay: settings of SGD; decay applies to every parameter.
        augment: whether training images are randomly cropped and, where the data set allows, flipped.
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

    def __post_init__(self) -> None:
        rules: list[tuple[bool, str, tuple[str, ...]]] = [
            (self.epochs >= 1, "epochs must be at least 1", ("epochs",)),
            (self.batch_size >= 2, "batch_size must be at least 2 (batch norm needs two images)", ("batch_size",)),
            (self.lr > 0, "lr must be above 0", ("lr",)),
            (self.schedule in SCHEDULES, "schedule must be step or cosine", ("schedule",)),
            (all(0 < m < 1 for m in self.milestones), "milestones must lie between 0 and 1", ("milestones",)),
            (0 <= self.warmup < 1, "warmup must be at least 0 and below 1", ("warmup",)),
            (0 <= self.momentum < 1, "momentum must be at least 0 and below 1", ("momentum",)),
            (self.weight_decay >= 0, "weight_decay must be at least 0", ("weight_decay",)),
            (not (self.nesterov and self.momentum == 0), "nesterov needs a momentum above 0", ("momentum", "nesterov")),
        ]
        for holds, rule, fields in rules:
            if not holds:
                raise RecipeError(f"recipe: {rule}, but got {getattr(self, fields[0])!r}", fields)

    def lr_at(self, step: int, steps_per_epoch: int) -> float:
        """Learning rate of optimiser step `step`, counted from 0 over the whole training."""
        if self.schedule == "step":
            epoch = step // steps_per_epoch
            passed = sum(epoch >= round(m * self.epochs) for m in self.milestones)
            return self.lr * 0.1**passed
        total = self.epochs * steps_per_epoch
        rising = round(self.warmup * total)
        if step < rising:
            return self.lr * (step + 1) / rising
        return self.lr * 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, total - rising)))
