"""Values of rows as people read them."""

from __future__ import annotations

from typing import Any

from rksearch.report import text
from rksearch.results.columns import Metric


def show(metric: Metric, row: Any) -> str:
    """The value of a column in a row, for people."""
    value = getattr(row, metric.field)
    if value is None or value in ((), ""):
        return text.MISSING
    if metric.kind == "flag":
        return "yes" if value else ""
    if metric.kind == "pct":
        return text.mean_sd(value, getattr(row, metric.sd) if metric.sd else None)
    if metric.kind == "list":
        return ", ".join(str(v) for v in value)
    formats = {
        "whole": "{:,}".format,
        "size": text.size,
        "seconds": text.duration,
        "share": text.share,
        "milliseconds": text.milliseconds,
        "bytes": text.memory,
    }
    return formats.get(metric.kind, str)(value)
