"""Recipes by name, for those that come with rksearch, and by path, for all others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rksearch.errors import SpaceError, nearest
from rksearch.recipes.document import is_path, read_text
from rksearch.recipes.reading import check_fields, parse_recipe
from rksearch.recipes.recipe import Recipe

SUFFIX = ".yaml"

DEFAULT_RECIPE = "short"
"""Recipe of a space that names none."""

PAPER_RECIPE = "paper"
"""Recipe of a single training that names none."""


@cache
def recipes() -> Mapping[str, Recipe]:
    """The shipped recipes by name, sorted."""
    found = (item for item in files("rksearch.recipes").iterdir() if item.name.endswith(SUFFIX))
    read = {item.name.removesuffix(SUFFIX): item.read_text(encoding="utf-8") for item in found}
    return MappingProxyType({name: parse_recipe(read[name], name=name) for name in sorted(read)})


def recipe(name_or_path: str | Path, **overrides: Any) -> Recipe:
    """The recipe of a shipped name, or of a YAML file when given a path (anything with a `/` or ending in `.yaml`).

    Args:
        name_or_path: name or path.
        overrides: fields to replace, with their values.

    Raises:
        SpaceError: no recipe or field of that name, no such file, a file that breaks a rule, or a value that does.
    """
    found = _found(name_or_path)
    check_fields(overrides)
    return replace(found, **overrides)


def _found(name_or_path: str | Path) -> Recipe:
    wanted = str(name_or_path)
    if is_path(name_or_path):
        path = Path(name_or_path)
        return parse_recipe(read_text(path, wanted, "recipe file"), name=path.stem, file=wanted)
    known = recipes()
    if wanted not in known:
        raise SpaceError(
            f"the recipe must be one of {', '.join(known)}, but got {wanted!r}{nearest(wanted, known)}; for a file of "
            f"your own give its path, ending in {SUFFIX}"
        )
    return known[wanted]


def recipe_text(name_or_path: str | Path) -> str:
    """Text of a recipe's file, comments included.

    Raises:
        SpaceError: as `recipe`.
    """
    _found(name_or_path)
    wanted = str(name_or_path)
    if is_path(name_or_path):
        return read_text(Path(name_or_path), wanted, "recipe file")
    return (files("rksearch.recipes") / f"{wanted}{SUFFIX}").read_text(encoding="utf-8")
