"""Training recipes as values: the optimiser, its schedule and how long.

`paper` is what the RKNet paper trains with on CIFAR, and the DenseNet code before it: SGD with Nesterov momentum 0.9,
weight decay 1e-4 on every parameter, learning rate 0.1 divided by 10 after 1/2 and 3/4 of 300 epochs, batch 64.
`short` keeps the optimiser, but anneals the rate along a cosine after a brief warm-up, which comes closest to the
final error when only a few epochs are affordable.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any

from rksearch.errors import SpaceError, nearest


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How one network is trained.

    Attributes:
        name: the built-in recipe that this one is, or started from.
        epochs: passes over the training images.
        batch_size: images in one step; the last, smaller batch of an epoch is used too.
        lr: highest learning rate.
        schedule: `step` divides the rate by 10 after each of `milestones`; `cosine` lets it fall to zero step by step.
        milestones: fractions of `epochs` after which `step` divides, rounded to whole epochs.
        warmup: fraction of all steps over which `cosine` first rises linearly from zero.
        momentum, nesterov, weight_decay: of SGD; decay applies to every parameter.
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
        rules: list[tuple[bool, str, object]] = [
            (self.epochs >= 1, "epochs must be at least 1", self.epochs),
            (self.batch_size >= 2, "batch_size must be at least 2 (batch norm needs two images)", self.batch_size),
            (self.lr > 0, "lr must be above 0", self.lr),
            (self.schedule in ("step", "cosine"), "schedule must be step or cosine", self.schedule),
            (all(0 < m < 1 for m in self.milestones), "milestones must lie between 0 and 1", self.milestones),
            (0 <= self.warmup < 1, "warmup must be at least 0 and below 1", self.warmup),
            (0 <= self.momentum < 1, "momentum must be at least 0 and below 1", self.momentum),
            (self.weight_decay >= 0, "weight_decay must be at least 0", self.weight_decay),
            (not (self.nesterov and self.momentum == 0), "nesterov needs a momentum above 0", self.momentum),
        ]
        for holds, rule, value in rules:
            if not holds:
                raise SpaceError(f"recipe: {rule}, but got {value!r}")

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


RECIPES: dict[str, Recipe] = {
    r.name: r
    for r in (
        Recipe(name="paper", epochs=300),
        Recipe(name="short", epochs=30, schedule="cosine", warmup=0.1),
    )
}


def recipe(name: str, **overrides: Any) -> Recipe:
    """The built-in recipe `name`, with some of its fields replaced.

    Raises:
        SpaceError: no recipe or field of that name, or a value that breaks a rule.
    """
    if name not in RECIPES:
        raise SpaceError(f"the recipe must be one of {', '.join(RECIPES)}, but got {name!r}{nearest(name, RECIPES)}")
    known = [f.name for f in fields(Recipe) if f.name != "name"]
    for key in overrides:
        if key not in known:
            raise SpaceError(f"a recipe has the fields {', '.join(known)}, but got {key!r}{nearest(key, known)}")
    return replace(RECIPES[name], **overrides)
