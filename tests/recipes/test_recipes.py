"""Shipped recipes, their fields and the errors of wrong ones."""

import math
from dataclasses import asdict

import pytest

from rksearch.errors import SpaceError
from rksearch.recipes.recipe import Recipe
from rksearch.recipes.shipped import parse_recipe, recipe, recipes
from rksearch.results.codec import from_plain, to_plain

SGD = {
    "batch_size": 64,
    "lr": 0.1,
    "milestones": (0.5, 0.75),
    "momentum": 0.9,
    "nesterov": True,
    "weight_decay": 1e-4,
    "augment": True,
}


def test_the_shipped_recipes_are_those_of_every_result_so_far() -> None:
    assert {name: asdict(own) for name, own in recipes().items()} == {
        "paper": {"name": "paper", "epochs": 300, "schedule": "step", "warmup": 0.0, **SGD},
        "short": {"name": "short", "epochs": 30, "schedule": "cosine", "warmup": 0.1, **SGD},
    }
    for own in recipes().values():
        assert from_plain(Recipe, to_plain(own)) == own
        assert [type(value) for value in asdict(own).values()] == [
            str, int, int, float, str, tuple, float, float, bool, float, bool
        ]  # fmt: skip


def test_the_rate_of_the_paper_falls_by_ten_at_half_and_three_quarters() -> None:
    rates = [recipe("paper").lr_at(epoch * 7, 7) for epoch in (0, 149, 150, 224, 225, 299)]
    assert rates == [0.1, 0.1, 0.1 * 0.1, 0.1 * 0.1, 0.1 * 0.1**2, 0.1 * 0.1**2]


def test_the_short_rate_rises_for_a_tenth_and_falls_along_a_cosine() -> None:
    short = recipe("short", epochs=10)
    rates = [short.lr_at(step, 10) for step in range(100)]
    assert rates[:10] == [0.1 * (i + 1) / 10 for i in range(10)]
    assert rates[10:] == [0.1 * 0.5 * (1 + math.cos(math.pi * i / 90)) for i in range(90)]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"name": "shrt"}, r"the recipe must be one of paper, short, but got 'shrt' \(did you mean 'short'\?\)"),
        ({"name": "short", "epoch": 3}, r"a recipe has the fields epochs, .*, but got 'epoch' \(did you mean 'epochs'"),
        ({"name": "short", "epochs": 0}, r"recipe: epochs must be at least 1, but got 0"),
        ({"name": "short", "schedule": "line"}, r"recipe: schedule must be step or cosine, but got 'line'"),
    ],
)
def test_errors_name_rule_and_value(asked: dict[str, object], message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        recipe(**asked)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("30", "the recipe own must hold fields such as `epochs: 30`, but got 30"),
        ("lr: 0.1", "the recipe own lacks epochs"),
        ("epochs: 3\nlearning_rate: 0.1", "but got 'learning_rate'"),
    ],
)
def test_a_file_of_a_recipe_states_fields(text: str, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        parse_recipe(text, name="own")
