"""Recipes that come with rksearch: a YAML file each in this directory, whose name is the recipe's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

import yaml

from rksearch.errors import SpaceError, nearest
from rksearch.recipes.recipe import Recipe

SUFFIX = ".yaml"

DEFAULT_RECIPE = "short"
"""Recipe of a space that names none."""


@cache
def recipes() -> Mapping[str, Recipe]:
    """The shipped recipes by name, sorted."""
    found = (item for item in files("rksearch.recipes").iterdir() if item.name.endswith(SUFFIX))
    read = {item.name.removesuffix(SUFFIX): item.read_text(encoding="utf-8") for item in found}
    return MappingProxyType({name: parse_recipe(read[name], name=name) for name in sorted(read)})


def parse_recipe(text: str, *, name: str) -> Recipe:
    """The recipe of this name that the YAML `text` states: fields of `Recipe` without the name.

    Raises:
        SpaceError: the text is no mapping, has an unknown field or lacks one, or a value breaks a rule.
    """
    values = yaml.safe_load(text)
    if not isinstance(values, dict):
        raise SpaceError(f"the recipe {name} must hold fields such as `epochs: 30`, but got {values!r}; correct it")
    _check_fields(values)
    if "epochs" not in values:
        raise SpaceError(f"the recipe {name} lacks epochs; add `epochs: 30`")
    if "milestones" in values:
        values["milestones"] = tuple(values["milestones"])
    return Recipe(name=name, **values)


def recipe(name: str, **overrides: Any) -> Recipe:
    """The shipped recipe of this name, with some of its fields replaced.

    Raises:
        SpaceError: no recipe or field of that name, or a value that breaks a rule.
    """
    known = recipes()
    if name not in known:
        raise SpaceError(f"the recipe must be one of {', '.join(known)}, but got {name!r}{nearest(name, known)}")
    _check_fields(overrides)
    return replace(known[name], **overrides)


def _check_fields(values: Mapping[str, object]) -> None:
    known = [f.name for f in fields(Recipe) if f.name != "name"]
    for key in values:
        if key not in known:
            raise SpaceError(f"a recipe has the fields {', '.join(known)}, but got {key!r}{nearest(str(key), known)}")
