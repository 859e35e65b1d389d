"""Model cards say what is needed to reach the errors that they list."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from rksearch.arch import parse
from rksearch.data.augmentation import Augmentation
from rksearch.data.dataset import Dataset
from rksearch.data.facts import dataset
from rksearch.data.views import Views
from rksearch.models.card import MIRRORED, TrainingFacts, card
from rksearch.models.export import description
from rksearch.recipes.shipped import recipe

PLAIN = asdict(recipe("short"))


def written(data: Dataset, *, trained: bool = True, **terms: object) -> str:
    facts = TrainingFacts(
        trial="ResNet-8@0",
        replicate=0,
        seed=0,
        epochs=1,
        recipe={**PLAIN, **terms},
        train_images=10,
        val_images=10,
        split="",
        errors_pct={"val_error_pct": 12.5},
        device="cpu",
        precision="fp32",
    )
    return card(description(parse("ResNet-8"), data, "a test", facts if trained else None))


def test_a_card_says_that_errors_are_of_two_passes() -> None:
    cifar = dataset("cifar10")
    before, plain = written(cifar, flip_averaging=True), written(cifar, flip_averaging=False)
    rows = "| Validation error | 12.50 % |\n"
    assert f"{rows}\n{MIRRORED}\n## Training" in before
    changed = "| `flip_averaging` | {} |"
    assert before.replace(f"\n{MIRRORED}", "").replace(changed.format(True), changed.format(False)) == plain
    digits = replace(cifar, flip=False)
    assert MIRRORED not in written(digits, flip_averaging=True), "their images may not be mirrored"


@pytest.mark.parametrize("side", [32, 100, 224])
@pytest.mark.parametrize("kind", ["crop", "scale_aspect"])
def test_a_card_says_how_a_streamed_image_becomes_an_input(kind: str, side: int) -> None:
    """By the numbers of the view that evaluation takes."""
    kept = replace(dataset("cifar10"), height=side, width=2 * side)
    streamed = replace(kept, streamed=True)
    height, width = Views(Augmentation(kind=kind), streamed, augment=True).cover
    line = (
        "\n  An image becomes one by resizing (bilinear, antialiased, its ratio of sides kept) until it just covers\n"
        f"  {height} x {width} pixels, of which the centre of {side} x {2 * side} is taken."
    )
    found = written(streamed, augmentation=kind)
    assert line in found
    assert found.replace(line, "") == written(kept, augmentation=kind)
    if kind == "crop":
        assert line in written(streamed, trained=False)
