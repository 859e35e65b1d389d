"""Axis ranges and ticks, shared by the page's charts and the picture, so that both show the same."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rksearch.results.summaries import ArchSummary, CostFunction

PADDING = 0.06
"""Free room beyond the outermost points, as a share of the axis."""


def log_range(costs: Sequence[float]) -> tuple[float, float]:
    """Decadic logarithms of the ends of an axis that holds all costs with some room."""
    low, high = math.log10(min(costs)), math.log10(max(costs))
    room = max(PADDING * (high - low), 0.05)
    return low - room, high + room


def log_ticks(low: float, high: float) -> list[float]:
    """Round numbers between 10^low and 10^high, at finer steps the fewer decades there are."""
    span = high - low
    steps = (1, 1.5, 2, 3, 4, 5, 7) if span < 1.4 else (1, 2, 5) if span < 3 else (1,)
    decades = range(math.floor(low), math.ceil(high) + 1)
    return [step * 10.0**d for d in decades for step in steps if low <= math.log10(step * 10.0**d) <= high]


def error_range(items: Sequence[ArchSummary], front: Sequence[ArchSummary]) -> tuple[float, float]:
    """Ends, in percent, of an axis that holds the errors worth comparing.

    The front and the baselines are inside with their spread, and so are nine tenths of the others; a network that
    hardly learnt would otherwise leave little room for all others.
    """
    chosen = {f.arch for f in front}
    others = sorted(i.error_pct for i in items if not i.is_baseline)
    ends = [others[math.ceil(0.9 * len(others)) - 1]] if others else []
    shown = [i for i in items if i.is_baseline or i.arch in chosen]
    ends += [i.error_pct + side * (i.error_sd_pct or 0) for i in shown for side in (-1, 1)]
    low, high = min(ends), max(ends)
    room = max(PADDING * (high - low), 0.25)
    return max(0.0, low - room), min(100.0, high + room)


def linear_ticks(low: float, high: float, target: int = 6) -> list[float]:
    """About `target` round numbers between `low` and `high`."""
    rough = (high - low) / target
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(f * magnitude for f in (1, 2, 2.5, 5, 10) if f * magnitude >= 0.7 * rough)
    return [round(i * step, 10) for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


def staircase(front: Sequence[ArchSummary], cost: CostFunction, right: float) -> list[tuple[float, float]]:
    """The least error attained at each cost: corners of a falling line that continues level to the cost `right`."""
    corners: list[tuple[float, float]] = []
    for item in front:
        if corners:
            corners.append((cost(item), corners[-1][1]))
        corners.append((cost(item), item.error_pct))
    return [*corners, (right, corners[-1][1])] if corners else []
