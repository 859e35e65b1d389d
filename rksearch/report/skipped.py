"""Lines of a ledger that a report leaves out, in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rksearch.report import text
from rksearch.results.checks import Missing
from rksearch.results.lines import Damage, Unknown

SHOWN = 20
"""Maximum number of lines of one kind that are described; of the others the numbers are listed."""


class Skipped(NamedTuple):
    """A reason to leave lines out: how many, and each of them."""

    heading: str
    lines: tuple[str, ...]


def skipped(damage: Sequence[Damage], unknown: Sequence[Unknown]) -> tuple[Skipped, ...]:
    """Lines that are left out since they are damaged, and since they name what is not known here."""
    kinds: tuple[tuple[str, Sequence[Damage | Unknown]], ...] = (("damaged line", damage), ("unknown line", unknown))
    return tuple(
        Skipped(f"{text.count(len(found), kind)} skipped", _described(found)) for kind, found in kinds if found
    )


def needed(missing: Sequence[Missing]) -> str:
    """What must be registered before a run can be resumed; empty where nothing is missing."""
    if not missing:
        return ""
    return f"to resume, {text.listing(list(map(str, missing)))} must be registered; install the plugin"


def _described(found: Sequence[Damage | Unknown]) -> tuple[str, ...]:
    shown = tuple(text.one_line(str(item)) for item in found[:SHOWN])
    rest = found[SHOWN:]
    return (*shown, f"and lines {', '.join(str(item.line) for item in rest)}") if rest else shown
