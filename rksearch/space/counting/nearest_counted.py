"""The pair of a unit that is nearest in parameters, for any number of pairs: without listing them."""

from __future__ import annotations

import numpy as np

from rksearch.arch.arrays import Integers
from rksearch.space.counting.box import Box
from rksearch.space.counting.dominance import LEAF_PAIRS
from rksearch.space.counting.extremes import least_sums
from rksearch.space.counting.halves import Unit


def name_of(unit: Unit, query: int, point: int) -> str:
    """Name of the network of a pair."""
    return str(unit.chain.spec(unit.digits(query, point)))


def nearest_params(
    unit: Unit, box: Box, queries: Integers, points: Integers, wanted: int, limit: int | None, excluded: frozenset[str]
) -> tuple[int, str] | None:
    """Gap and name of the pair of some queries and points that is nearest in params and not excluded."""
    if not len(queries) or not len(points):
        return None
    if len(queries) * len(points) <= LEAF_PAIRS:
        costs = unit.queries.costs[:, queries, None] + unit.points.costs[:, None, points]
        query, point = np.nonzero(box.keeps(costs.reshape(3, -1)).reshape(costs.shape[1:]))
        gaps = np.abs(costs[0, query, point] - wanted)
        order = np.argsort(gaps, kind="stable")
        return _first_free(unit, gaps[order], queries[query[order]], points[point[order]], limit, excluded)
    best: tuple[int, str] | None = None
    for sign in (1, -1):
        # Upwards from the wanted params, then (mirrored) downwards.
        signs = np.array([[sign], [1], [1]])
        low, high = sorted((box.low[0] * sign, box.high[0] * sign))
        low = max(low, wanted * sign)
        if limit is not None:
            high = min(high, wanted * sign + limit)
        sums = least_sums(
            unit.queries.costs[:, queries] * signs,
            unit.points.costs[:, points] * signs,
            (low, *box.low[1:]),
            (high, *box.high[1:]),
        )
        for found in sums:
            gaps = np.full(len(found.queries), abs(found.value * sign - wanted))
            free = _first_free(unit, gaps, queries[found.queries], points[found.points], limit, excluded)
            if free is not None:
                best = free if best is None else min(best, free)
                break
    return best


def _first_free(
    unit: Unit, gaps: Integers, queries: Integers, points: Integers, limit: int | None, excluded: frozenset[str]
) -> tuple[int, str] | None:
    """The first pair, by rising gap and then by name, that is not excluded and no further than the limit."""
    best: tuple[int, str] | None = None
    for gap, query, point in zip(gaps.tolist(), queries.tolist(), points.tolist(), strict=True):
        if (limit is not None and gap > limit) or (best is not None and gap > best[0]):
            break
        own = gap, name_of(unit, query, point)
        if own[1] not in excluded:
            best = own if best is None else min(best, own)
    return best
