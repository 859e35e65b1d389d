"""Records as JSON values and back: one library (msgspec) for every record that travels or is stored.

JSON has no NaN and no infinities. They are written as null; in the numbers of an epoch, null is read as NaN.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from rksearch.results.recipes import sparse, whole

T = TypeVar("T")

OPTIONAL_MEASUREMENTS = frozenset(
    {"val_confusion", "balanced_test_error_pct", "top5_test_error_pct", "test_confusion", "unreadable"}
)
"""Keys of results that are left out where nothing was measured, as in the records before there were any."""

SCALARS = frozenset({str, int, float, bool, type(None)})
"""Types of JSON's values that hold no others."""

EPOCH_NUMBERS = ("lr", "train_loss", "train_error_pct", "val_loss", "val_error_pct", "train_time_s")
"""Numbers of an epoch that may be NaN in memory, and null in JSON."""


def to_json_bytes(record: object) -> bytes:
    """The record as compact JSON in UTF-8; numbers that JSON cannot hold become null.

    Surrogates, which stand for bytes that are no UTF-8 (as in a path), are written as `\\udcff`.
    """
    plain = _sparse(msgspec.to_builtins(record, str_keys=True))
    try:
        return msgspec.json.encode(plain)
    except UnicodeEncodeError:
        return msgspec.json.encode(_as_text(plain))


def to_plain(record: object) -> Any:
    """The record as values that JSON has: objects, lists, strings, numbers, booleans and null."""
    return msgspec.json.decode(to_json_bytes(record))


def from_plain(kind: type[T], value: Any) -> T:
    """The record of type `kind` that `to_plain` made; keys that `kind` does not know are ignored.

    Raises:
        msgspec.ValidationError: a key is missing, or a value has the wrong type or range; the message says where.
        RksearchError: a value breaks a rule of the record itself.
    """
    return msgspec.convert(_with_nan(value), kind)


def _as_text(value: Any) -> Any:
    """The value of JSON with every surrogate in its texts as a code."""
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, dict):
        return {_as_text(key): _as_text(v) for key, v in value.items()}
    return [_as_text(v) for v in value] if isinstance(value, list | tuple) else value


def _sparse(value: Any) -> Any:
    """The value; epochs and results lose the optional measurements they lack, recipes the terms that are off."""
    if isinstance(value, dict):
        return {k: _sparse_entry(k, v) for k, v in value.items() if v is not None or k not in OPTIONAL_MEASUREMENTS}
    return [_sparse(v) for v in value] if isinstance(value, list | tuple) else value


def _sparse_entry(key: str, value: Any) -> Any:
    if key == "epochs" and isinstance(value, list | tuple):
        return [_sparse_epoch(epoch) for epoch in value]
    return sparse(value) if key == "recipe" and isinstance(value, dict) else _sparse(value)


def _sparse_epoch(epoch: Any) -> Any:
    if not isinstance(epoch, dict):
        return epoch
    return {key: v for key, v in epoch.items() if key in EPOCH_NUMBERS or (v is not None and v != {})}


def _with_nan(value: Any) -> Any:
    if value.__class__ in SCALARS:
        return value
    if isinstance(value, Mapping):
        return {key: v if v.__class__ in SCALARS else _whole_entry(key, v) for key, v in value.items()}
    return [_with_nan(v) for v in value] if isinstance(value, list) else value


def _whole_entry(key: str, value: Any) -> Any:
    if key == "epochs" and isinstance(value, list):
        return [_epoch_with_nan(epoch) for epoch in value]
    return whole(value) if key == "recipe" and isinstance(value, Mapping) else _with_nan(value)


def _epoch_with_nan(epoch: Any) -> Any:
    if epoch.__class__ is dict and None not in epoch.values():
        return epoch  # as most of them, of which a ledger has hundreds of thousands
    if not isinstance(epoch, Mapping):
        return epoch
    return {key: math.nan if v is None and key in EPOCH_NUMBERS else v for key, v in epoch.items()}
