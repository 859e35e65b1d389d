"""Comparison of tables that a version has written with those of an earlier one."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection


def kept(new: str, old: str, *, but: Collection[str] = ()) -> bool:
    """Whether the columns of an old CSV table stand in the new one with the same cells, in the same order of rows.

    Args:
        new, old: the tables.
        but: columns whose values may differ, because they are computed in another way.
    """
    before, now = (list(csv.DictReader(io.StringIO(text))) for text in (old, new))
    names = [name for name in (before[0] if before else {}) if name not in but]
    return [[row[name] for name in names] for row in before] == [[row.get(name) for name in names] for row in now]
