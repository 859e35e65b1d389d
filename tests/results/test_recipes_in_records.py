"""Terms of recipes in records: absent ones are what the first versions did."""

from dataclasses import replace

import pytest

from rksearch.recipes.recipe import Recipe
from rksearch.recipes.shipped import recipe
from rksearch.results.codec import from_plain, to_plain
from rksearch.results.recipes import as_begun, concerning
from rksearch.results.records import TrialSpec

FIRST = {
    "name": "short", "epochs": 4, "batch_size": 32, "lr": 0.05, "schedule": "cosine", "milestones": [0.5, 0.75],
    "warmup": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.0001, "augment": True,
}  # fmt: skip
"""A recipe as the first versions wrote it."""

LEARNS = "RKNet-BC-k4-m1_1-2x1@heun2+train_1x1"


def spec_of(plain: dict[str, object]) -> TrialSpec:
    return from_plain(TrialSpec, {"arch": "ResNet-8", "dataset": "digits", "recipe": plain})


def test_a_record_of_the_first_versions_decays_everything_and_is_written_as_it_was() -> None:
    spec = spec_of(FIRST)
    assert spec.recipe == Recipe(
        name="short", epochs=4, batch_size=32, lr=0.05, schedule="cosine", warmup=0.1, decay_coefficients=True
    )
    assert to_plain(spec)["recipe"] == FIRST


def test_terms_that_are_on_are_written_and_read() -> None:
    for chosen in (recipe("fast"), recipe("short"), recipe("paper", optimizer="adamw", ema=0.99, cutout=8)):
        spec = TrialSpec(arch="ResNet-8", dataset="digits", recipe=chosen)
        assert from_plain(TrialSpec, to_plain(spec)) == spec
    assert to_plain(spec_of(FIRST | {"decay_coefficients": False}))["recipe"] == FIRST | {"decay_coefficients": False}


@pytest.mark.parametrize(("arch", "same"), [("ResNet-8", True), ("RKNet-BC-k4-m1_1-1x1_1x1", True), (LEARNS, False)])
def test_the_decay_of_coefficients_concerns_networks_that_learn_them(arch: str, same: bool) -> None:
    old, new = spec_of(FIRST).recipe, spec_of(FIRST | {"decay_coefficients": False}).recipe
    assert (concerning(arch, old) == concerning(arch, new)) is same
    assert concerning(arch, old) == old


def test_a_run_keeps_the_decay_it_began_with_and_no_other_term() -> None:
    old = spec_of(FIRST).recipe
    now = replace(old, decay_coefficients=False)
    assert as_begun(now, old) == old
    assert as_begun(now, now) == now
    assert as_begun(replace(now, lr=0.3), old) == replace(now, lr=0.3)
    assert as_begun(old, now) == old
