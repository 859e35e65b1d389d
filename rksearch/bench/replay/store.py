"""Replays on disk, see `rksearch.bench.store`. The same turn gives the same replay."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import rksearch
from rksearch.bench.replay.judging import Replay
from rksearch.bench.replay.replays import Conditions, Turn
from rksearch.bench.store import Store
from rksearch.results.codec import to_plain

FILE = "replays.jsonl"
"""Within the directory of the comparison, beside the page that is made from it."""

FORMAT = 1

ReplayStore: TypeAlias = "Store[Turn, Replay]"
"""The replays of one directory, by turn."""


def opened(directory: Path, conditions: Conditions, *, commit: str) -> ReplayStore:
    """The store of a directory, for a `with` block."""
    return Store(directory / FILE, "replay", Replay, _turn, conditions_record(conditions), commit=commit)


def _turn(replay: Replay) -> Turn:
    return Turn(replay.repetition, replay.strategy, replay.start)


def conditions_record(conditions: Conditions) -> dict[str, Any]:
    """Everything that a replay depends on besides its turn, as plain values."""
    table = conditions.table
    return {
        "format": FORMAT,
        "rksearch": rksearch.__version__,
        "table": table.name,
        "table_digest": table.digest,
        "handed_out": table.handed_out,
        "slots": conditions.slots,
        "budget_epochs": conditions.budget_epochs,
        "racing": to_plain(conditions.racing),
    }
