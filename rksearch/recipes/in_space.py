"""The key `recipe` of a space file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rksearch.errors import nearest
from rksearch.recipes.document import Entry, is_path
from rksearch.recipes.reading import checked, types
from rksearch.recipes.recipe import Recipe
from rksearch.recipes.shipped import recipe, recipes


def read_recipe_key(entry: Entry, directory: Path | None) -> Recipe:
    """The recipe at the key `recipe` of a space file: a name, a path, or either as `name` with fields to replace.

    Args:
        entry: value of the key.
        directory: where a path starts; None for the working directory.

    Raises:
        SpaceError: a rule is broken, in the space file or in the file of the recipe.
    """
    if not entry.is_mapping:
        return _named(entry, directory)
    entries = entry.mapping(required=("name",), optional=types())
    base = _named(entries.pop("name"), directory)
    return checked(entry, entries, lambda values: replace(base, **values))


def _named(entry: Entry, directory: Path | None) -> Recipe:
    wanted = entry.text()
    if is_path(wanted):
        return recipe((directory or Path()) / wanted)
    known = recipes()
    if wanted not in known:
        raise entry.error(
            f"must be one of {', '.join(known)}, or the path of a recipe file ending in .yaml",
            f"choose one of these{nearest(wanted, known)}",
        )
    return known[wanted]
