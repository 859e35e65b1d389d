"""The least sum in a box, without forming the sums: it gives the smallest and the largest network of a space."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from rksearch.arch.arrays import Integers
from rksearch.space.counting.box import Box
from rksearch.space.counting.dominance import Limits, Triples, count_sums
from rksearch.space.counting.halves import Unit

TRIED = 16
"""Number of queries that are examined first, for a good bound on the least sum."""

LISTED = 1 << 20
"""Maximum number of pairs that are examined one by one before others are counted."""

AXES: dict[str, tuple[tuple[int, int, int], int]] = {
    "fewest_params": ((0, 1, 2), 1),
    "most_params": ((0, 1, 2), -1),
    "fewest_macs": ((1, 0, 2), 1),
    "most_macs": ((1, 0, 2), -1),
}
"""Costs of each extreme (the first decides, the second breaks ties), and the sign: 1 for the least, -1 for the most."""


class Found(NamedTuple):
    """Pairs that share the least value of the first cost."""

    value: int
    queries: Integers
    points: Integers


def least_sums(
    queries: Integers, points: Integers, low: Sequence[int], high: Sequence[int], at_most: int | None = None
) -> Iterator[Found]:
    """The pairs of columns of `queries` and `points` (3, n) with their sums inside the box, by rising first sum.

    Args:
        queries, points: three costs each.
        low, high: inclusive limits of the three sums.
        at_most: a further limit of the first sum.
    """
    order = np.argsort(points[0], kind="stable")
    ascending = points[:, order]
    bottom, top = low[0], high[0] if at_most is None else min(high[0], at_most)
    while (value := _least(queries, ascending, (bottom, *low[1:]), (top, *high[1:]))) is not None:
        left = np.searchsorted(ascending[0], value - queries[0], side="left")
        count = np.searchsorted(ascending[0], value - queries[0], side="right") - left
        query = np.repeat(np.arange(queries.shape[1]), count)
        point = np.arange(len(query)) - np.repeat(np.cumsum(count) - count, count) + left[query]
        sums = queries[1:, query] + ascending[1:, point]
        kept = np.ones(len(query), dtype=bool)
        for total, least, most in zip(sums, low[1:], high[1:], strict=True):
            kept &= (total >= least) & (total <= most)
        yield Found(value, query[kept], order[point[kept]])
        bottom = value + 1


def _least(queries: Integers, points: Integers, low: Sequence[int], high: Sequence[int]) -> int | None:
    """The least first sum in the box, or None; `points` ascend in the first cost."""
    if not queries.shape[1] or not points.shape[1]:
        return None
    queries = queries[:, (queries[0] + points[0, 0] <= high[0]) & (queries[0] + points[0, -1] >= low[0])]
    if not queries.shape[1]:
        return None
    # Most often the least sum is among the first million, which are examined one by one.
    reach = _reach(queries, points, low[0], high[0])
    found = _least_listed(queries, points, low, (reach, *high[1:]))
    if found is not None or reach == high[0]:
        return found
    return _least_counted(queries, points, (reach + 1, *low[1:]), high)


def _reach(queries: Integers, points: Integers, low: int, high: int) -> int:
    """A first sum up to `high`, about the largest, such that from `low` on at most `LISTED` pairs reach no further."""
    first = np.searchsorted(points[0], low - queries[0], side="left")

    def pairs(top: int) -> int:
        return int(np.maximum(np.searchsorted(points[0], top - queries[0], side="right") - first, 0).sum())

    if pairs(high) <= LISTED:
        return high
    few, many = low - 1, high
    while many - few > 1:
        middle = (few + many) // 2
        count = pairs(middle)
        if LISTED // 2 <= count <= LISTED:
            return middle
        few, many = (middle, many) if count <= LISTED else (few, middle)
    return few


def _least_listed(queries: Integers, points: Integers, low: Sequence[int], high: Sequence[int]) -> int | None:
    """The least first sum in the box, by examining every pair whose first sum fits."""
    first = np.searchsorted(points[0], low[0] - queries[0], side="left")
    count = np.maximum(np.searchsorted(points[0], high[0] - queries[0], side="right") - first, 0)
    query = np.repeat(np.arange(queries.shape[1]), count)
    point = np.arange(len(query)) - np.repeat(np.cumsum(count) - count, count) + first[query]
    kept = np.ones(len(query), dtype=bool)
    for own, other, least, most in zip(queries[1:], points[1:], low[1:], high[1:], strict=True):
        total = own[query] + other[point]
        kept &= (total >= least) & (total <= most)
    sums = queries[0, query[kept]] + points[0, point[kept]]
    return int(sums.min()) if len(sums) else None


def _least_counted(queries: Integers, points: Integers, low: Sequence[int], high: Sequence[int]) -> int | None:
    """The same for any number of pairs, by counting: queries that still beat the best are halved until none is left."""
    open_ = np.arange(queries.shape[1])
    best: int | None = None
    ahead = np.argsort(queries[0], kind="stable")[:TRIED]
    spread = open_[:: max(1, len(open_) // TRIED)]
    for query in (*ahead.tolist(), *spread.tolist()):
        own = _least_of(queries[:, query], points, low, (high[0] if best is None else best - 1, *high[1:]))
        best = best if own is None else own
    asked = Triples(*points)
    while len(open_):
        top = high[0] if best is None else best - 1
        limits = Limits(np.array([low[0] - 1, max(top, low[0] - 1)]), (low[1], high[1]), (low[2], high[2]))
        open_ = open_[queries[0, open_] + points[0, 0] <= top]
        open_ = open_[count_sums(Triples(*queries[:, open_]), asked, limits)[:, 0] > 0]
        # A query from the middle leaves about half of the others.
        for query in open_[: len(open_) // 2 + 1][-1:].tolist():
            best = _least_of(queries[:, query], points, low, (top, *high[1:]))
    return best


def _least_of(query: Integers, points: Integers, low: Sequence[int], high: Sequence[int]) -> int | None:
    first = int(np.searchsorted(points[0], low[0] - query[0], side="left"))
    last = int(np.searchsorted(points[0], high[0] - query[0], side="right"))
    kept = np.ones(max(0, last - first), dtype=bool)
    for own, count, least, most in zip(query[1:], points[1:, first:last], low[1:], high[1:], strict=True):
        kept &= (own + count >= least) & (own + count <= most)
    return int(query[0] + points[0, first + int(kept.argmax())]) if kept.any() else None


def outermost(
    units: Iterable[tuple[int, Unit, Box]], extreme: str, name: Callable[[Unit, int, int], str]
) -> tuple[int, int, str] | None:
    """The network with the fewest or most of a cost: its params and macs, and its name; None if there is none.

    Ties go to the other cost, in the same direction, and then to the first name.

    Args:
        units: units with their boxes, each after a bound: its networks have no less of the cost times the sign.
            Bounds ascend.
        extreme: one of `AXES`.
        name: the name of a pair of a unit.
    """
    axes, sign = AXES[extreme]
    signs = np.array([sign, sign, 1])
    best: tuple[int, int, str] | None = None
    for bound, unit, box in units:
        if best is not None and bound > best[0]:
            break
        ends = [[(box.low[a] * s, box.high[a] * s) for a, s in zip(axes, signs.tolist(), strict=True)]]
        low, high = [min(pair) for pair in ends[0]], [max(pair) for pair in ends[0]]
        queries, points = (half.costs[list(axes)] * signs[:, None] for half in (unit.queries, unit.points))
        found = next(least_sums(queries, points, low, high, None if best is None else best[0]), None)
        if found is None:
            continue
        second = queries[1, found.queries] + points[1, found.points]
        for at in np.flatnonzero(second == second.min()).tolist():
            pair = unit, int(found.queries[at]), int(found.points[at])
            own = found.value, int(second.min()), name(*pair)
            best = own if best is None else min(best, own)
    if best is None:
        return None
    counts = dict(zip(axes, (best[0] * sign, best[1] * sign), strict=False))
    return counts[0], counts[1], best[2]
