"""The first field in which two records differ, for errors that name it with both values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

SHOWN = 80
"""Maximum number of characters of a value in an error."""


class FieldDifference(NamedTuple):
    """A field in which two records differ.

    Attributes:
        field: its path, such as `recipe.epochs` or `periods[1].m`.
        before, now: its values, in words.
    """

    field: str
    before: str
    now: str


def first_difference(before: Any, now: Any, field: str) -> FieldDifference | None:
    """The first difference between two values, as deep inside of them as it can be told; None where they are equal.

    Args:
        before, now: dataclasses, mappings, sequences or plain values.
        field: name of the value.
    """
    if before == now:
        return None
    for name, one, other in _parts(before, now, field):
        if found := first_difference(one, other, name):
            return found
    return FieldDifference(field, shown(before), shown(now))


def _parts(before: Any, now: Any, field: str) -> list[tuple[str, Any, Any]]:
    """Parts of two values of the same form, with their paths; none where the forms differ."""
    if is_dataclass(before) and type(before) is type(now):
        names = [item.name for item in fields(before) if item.compare]
        return [(f"{field}.{name}", getattr(before, name), getattr(now, name)) for name in names]
    sequences = isinstance(before, tuple | list) and isinstance(now, tuple | list)
    if sequences and len(before) == len(now) and any(is_dataclass(item) for item in before):
        return [(f"{field}[{i}]", one, other) for i, (one, other) in enumerate(zip(before, now, strict=True))]
    return []


def shown(value: Any) -> str:
    """A value in words: `none`, `rungs 4, 20; keep 0.4`, `1, 2, 3`; long ones are cut."""
    text = _text(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 4]} ..."


def _text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if is_dataclass(value):
        if "__str__" in vars(type(value)):
            return str(value)
        value = {item.name: getattr(value, item.name) for item in fields(value)}
    if isinstance(value, Mapping):
        return "; ".join(f"{key} {_text(inner)}" for key, inner in value.items())
    if isinstance(value, tuple | list):
        return ", ".join(map(_text, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
