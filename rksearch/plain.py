"""Values that Python callers state, in the types that records hold."""

from __future__ import annotations

import os
import sys
from dataclasses import fields
from typing import Any, TypeGuard


def plain(value: Any) -> Any:
    """The value in Python's own types: numbers and arrays of numpy, torch and pandas become these, and lists tuples."""
    if hasattr(value, "tolist") and not isinstance(value, type):
        value = value.tolist()
    return tuple(map(plain, value)) if isinstance(value, list | tuple) else value


def make_plain(record: Any) -> None:
    """Make the fields of a new dataclass plain, though it be frozen."""
    for field in fields(record):
        object.__setattr__(record, field.name, plain(getattr(record, field.name)))


def is_whole(value: object) -> bool:
    """Whether a plain value is a whole number; True and False are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """Whether a plain value is a number; True and False are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_finite(value: Any) -> bool:
    """Whether a plain value is a number that a float can hold."""
    return is_number(value) and abs(value) <= sys.float_info.max


def is_flag(value: object) -> bool:
    """Whether a plain value is True or False."""
    return isinstance(value, bool)


def is_path(value: object) -> TypeGuard[str | os.PathLike[str]]:
    """Whether a value is a path: text, or an object of one, that is not empty and holds no zero."""
    return isinstance(value, str | os.PathLike) and bool(str(value).strip()) and "\0" not in str(value)
