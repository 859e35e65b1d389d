"""Recipes in records: what a term that is absent stood for, and which recipes are the same training.

Records hold the terms that every version has written, and further ones where they differ from `ABSENT`. Ledgers and
checkpoints of versions without those terms are therefore read as what they were, and written as they were.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rksearch.arch import learns_coefficients, parse
from rksearch.recipes.recipe import Recipe

ABSENT: dict[str, Any] = {
    "optimizer": "sgd",
    "beta2": 0.999,
    "decay_norms_and_biases": True,
    "decay_coefficients": True,
    "label_smoothing": 0.0,
    "mixup": 0.0,
    "clip_grad_norm": 0.0,
    "ema": 0.0,
    "micro_batch_size": 0,
    "augmentation": "crop",
    "translation": 0,
    "alternating_flip": False,
    "cutout": 0,
    "randaugment": 0,
    "randaugment_magnitude": 9,
    "flip_averaging": False,
}
"""Terms that the first versions did not have, and what these did. It never changes: new recipes have other defaults,
such as no weight decay of learned coefficients."""


def sparse(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe's plain values without the terms that are as in the first versions."""
    return {key: value for key, value in recipe.items() if key not in ABSENT or value != ABSENT[key]}


def whole(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe's recorded values with all terms."""
    return {**ABSENT, **recipe}


def concerning(arch: str, recipe: Recipe) -> Recipe:
    """The recipe with the terms that have no effect on a network as in the first versions, to compare trainings by.

    Raises:
        SpecError: a bad name.
    """
    return recipe if learns_coefficients(parse(arch)) else replace(recipe, decay_coefficients=True)


def as_begun(asked: Recipe, begun: Recipe) -> Recipe:
    """The recipe with which a run continues when its command is given again: the recorded one, where they differ in
    `decay_coefficients` alone, because the first versions had no such term and let them decay.
    """
    return begun if begun.decay_coefficients and replace(asked, decay_coefficients=True) == begun else asked
