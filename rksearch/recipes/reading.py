"""Reading recipes from YAML: their fields, with an error of one line where a rule is broken."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from typing import Any

from rksearch.errors import SpaceError, nearest
from rksearch.recipes.document import Entry, read_document
from rksearch.recipes.recipe import Recipe, RecipeError

LARGEST = 999_999
"""Largest whole number of a recipe."""


def types() -> dict[str, type]:
    """Type of every field of a recipe but its name, in order."""
    plain = {"int": int, "float": float, "bool": bool, "str": str}
    return {f.name: plain.get(str(f.type), tuple) for f in fields(Recipe) if f.name != "name"}


def parse_recipe(text: str, *, name: str, file: str | None = None) -> Recipe:
    """The recipe that the YAML `text` states: fields of `Recipe` without the name.

    Args:
        text, name: text and name of the recipe.
        file: file name for errors; None for `<name>.yaml`.

    Raises:
        SpaceError: a rule is broken; the message names file, line, key, rule, value and remedy.
    """
    root = read_document(text, file or f"{name}.yaml", "recipe file")
    required = [f.name for f in fields(Recipe) if f.default is MISSING and f.name != "name"]
    entries = root.mapping(required=required, optional=(key for key in types() if key not in required))
    return checked(root, entries, lambda values: Recipe(name=name, **values))


def checked(whole: Entry, entries: Mapping[str, Entry], make: Callable[[dict[str, Any]], Recipe]) -> Recipe:
    """The recipe that `make` makes of the values in `entries`.

    Raises:
        SpaceError: a value has the wrong type, or breaks a rule; it is shown at the first value that the rule is about.
    """
    kinds = types()
    values = {key: _READ[kinds[key]](entry) for key, entry in entries.items()}
    try:
        return make(values)
    except RecipeError as error:
        at = next((entries[name] for name in error.fields if name in entries), whole)
        raise at.complaint(str(error), "choose another value") from None


_READ: dict[type, Callable[[Entry], Any]] = {
    int: lambda entry: entry.integer(0, LARGEST),
    float: Entry.number,
    bool: Entry.boolean,
    str: Entry.text,
    tuple: lambda entry: tuple(sorted(entry.choices(Entry.number))),
}


def check_fields(values: Mapping[str, object]) -> None:
    """Make sure that all keys are fields of a recipe.

    Raises:
        SpaceError: one is not.
    """
    known = list(types())
    for key in values:
        if key not in known:
            raise SpaceError(f"a recipe has the fields {', '.join(known)}, but got {key!r}{nearest(str(key), known)}")
