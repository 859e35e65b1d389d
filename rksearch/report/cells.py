"""Values of rows as people read them."""

from __future__ import annotations

from typing import Any

from rksearch.report import text
from rksearch.results.columns import Metric

CERTAIN_BY_COST = {"p_front": "smallest", "p_macs_front": "fewest_macs"}
"""Probabilities that are 1 by the cost alone, and the attribute that says so."""

CHEAPEST = "smallest"
"""Shown in place of such a probability."""


def show(metric: Metric, row: Any) -> str:
    """The value of a column in a row, for people."""
    value = getattr(row, metric.field)
    if value is None or value in ((), ""):
        return text.MISSING
    if metric.field in CERTAIN_BY_COST and getattr(row, CERTAIN_BY_COST[metric.field]):
        return CHEAPEST
    if metric.kind == "flag":
        return "yes" if value else ""
    if metric.kind == "pct":
        return text.mean_sd(value, getattr(row, metric.sd) if metric.sd else None)
    if metric.kind == "list":
        return ", ".join(str(v) for v in value)
    formats = {"whole": "{:,}".format, "size": text.size, "seconds": text.duration, "share": text.share}
    formats["ms"] = "{:.3g} ms".format
    return formats.get(metric.kind, str)(value)
