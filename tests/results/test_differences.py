"""The first difference of two records, as errors name it."""

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rksearch.recipes.shipped import recipe
from rksearch.results.differences import SHOWN, first_difference, shown
from rksearch.results.plan import RacingRule
from tests.helpers.ledgers import plan_record


def test_a_difference_deep_inside_has_a_path_and_both_values() -> None:
    plan = plan_record()
    longer = replace(plan, recipe=replace(plan.recipe, epochs=9))
    assert first_difference(plan, longer, "plan") == ("plan.recipe.epochs", "8", "9")
    assert first_difference(plan, replace(plan), "plan") is None


def test_a_rule_beside_none_is_named_in_words() -> None:
    rule = RacingRule(rungs=(4, 20), keep=0.4, bands=1, rank="val_error")
    found = first_difference(rule, None, "racing")
    assert found == ("racing", "rungs 4, 20; keep 0.4; bands 1; rank val_error", "none")


def test_lists_of_other_lengths_are_shown_whole() -> None:
    assert first_difference((1, 2), (1, 2, 3), "m") == ("m", "1, 2", "1, 2, 3")
    assert first_difference((), ("ResNet-8",), "start") == ("start", "none", "ResNet-8")


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=20))
def test_a_value_is_equal_to_itself_and_is_shown_short(value: object) -> None:
    assert first_difference(value, value, "x") is None
    assert len(shown(value)) <= SHOWN


def test_every_field_of_a_recipe_is_found() -> None:
    before = recipe("short")
    changes: dict[str, Any] = {"lr": 0.3, "nesterov": False, "milestones": (0.1,), "name": "other"}
    for name, value in changes.items():
        found = first_difference(before, replace(before, **{name: value}), "recipe")
        assert found is not None
        assert found.field == f"recipe.{name}"
