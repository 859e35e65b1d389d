"""Counting pairs whose sums lie in a box, without forming the pairs.

Given points and queries in three dimensions, `count_sums` says for every query how many points there are such that the
sum of both keeps to limits in the second and third dimension and falls between given edges in the first. It is the
kernel of the exact accounting of search spaces: a query is one half of a network, a point the other half, and the
dimensions are parameters, multiply-adds and depth.

In one dimension a sorted array answers by bisection. The second dimension is a wavelet tree of large fan-out over the
ranks (`Ranks`), which counts the ranks below y among the first i in a few look-ups. The third is handled by divide
and conquer: every limit on it is a union of few ranges of its values, and each range is a problem in two dimensions.
All of it is exact, in 64-bit integers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from rksearch.arch.arrays import Integers

LEAF_PAIRS = 60_000
"""Largest number of pairs that are examined one by one, which then costs less than building a tree."""

LANES = 1 << 18
"""Number of queries answered together, so that temporary arrays stay small."""

LARGEST_FAN_OUT = 20


class Triples(NamedTuple):
    """Many triples of counts, as three arrays of one length."""

    params: Integers
    macs: Integers
    depth: Integers

    @property
    def size(self) -> int:
        """Number of triples."""
        return len(self.params)

    def take(self, which: npt.NDArray[np.generic] | slice) -> Triples:
        """Triples at an index or mask."""
        return Triples(*(column[which] for column in self))


class Limits(NamedTuple):
    """Inclusive limits on the sums: edges e0 <= e1 <= ... of the windows (e0, e1], (e1, e2], ... and two ranges."""

    edges: Integers
    macs: tuple[int, int]
    depth: tuple[int, int]


class Ranks:
    """A permutation of 0..N-1 that counts the values below y among the first i.

    A wavelet tree with fan-out F: level by level, the values are grouped by their leading digits in base F, and a table
    holds, for every position and digit c, how many digits before the position are smaller than c. The permutation is
    padded to a power of F, so that every group is complete and its start is known without a look-up.
    """

    def __init__(self, ranks: npt.NDArray[np.integer]) -> None:
        self.size = len(ranks)
        levels = 1
        while LARGEST_FAN_OUT**levels < self.size:
            levels += 1
        self.fan_out = 2
        while self.fan_out**levels < self.size:
            self.fan_out += 1
        padded = self.fan_out**levels
        sequence = np.concatenate([ranks, np.arange(self.size, padded)]).astype(np.int64)
        positions = np.arange(padded)
        self.width = padded + 1
        self.tables: list[tuple[int, npt.NDArray[np.int32]]] = []
        for level in range(levels):
            child = self.fan_out ** (levels - 1 - level)
            digit = (sequence // child) % self.fan_out
            small = digit.astype(np.uint8)
            # A row for every digit c: how many digits before each position are smaller than c.
            table = np.zeros((self.fan_out + 1, self.width), dtype=np.int32)
            for c in range(1, self.fan_out):
                np.cumsum(small < c, dtype=np.int32, out=table[c, 1:])
            table[self.fan_out, 1:] = positions + 1
            flat = table.ravel()
            self.tables.append((child, flat))
            if level < levels - 1:
                start = sequence // (child * self.fan_out) * (child * self.fan_out)
                at = digit * self.width + positions
                moved = start + digit * child + flat[at + self.width] - flat[at] - start // self.fan_out
                following = np.empty_like(sequence)
                following[moved] = sequence
                sequence = following

    def below(self, first: Integers, limit: Integers) -> Integers:
        """Number of values below `limit` among the first `first`, element by element; both from 0 to N."""
        found = np.empty(len(first), dtype=np.int64)
        for begin in range(0, len(first), LANES):
            part = slice(begin, begin + LANES)
            found[part] = self._below(first[part], limit[part])
        return found

    def _below(self, first: Integers, limit: Integers) -> Integers:
        total = np.zeros(len(first), dtype=np.int64)
        at, left = first, np.minimum(limit, self.size - 1)
        start: Any = np.int64(0)
        for child, table in self.tables:
            digit, left = np.divmod(left, child)
            before = start // self.fan_out
            cell = digit * self.width + at
            smaller = table[cell]
            total = total + smaller - digit * before
            start = start + digit * child
            at = start + table[cell + self.width] - smaller - before
        return np.where(limit >= self.size, first, total)


def count_sums(queries: Triples, points: Triples, limits: Limits) -> Integers:
    """Number of points that fit each query: an array (queries, windows).

    A pair fits when its sums of macs and depth are within their limits, and counts in the window of its sum of params.
    """
    windows = len(limits.edges) - 1
    if not queries.size or not points.size:
        return np.zeros((queries.size, windows), dtype=np.int64)
    points = points.take(np.argsort(points.params, kind="stable"))
    # Ascending queries read neighbouring places of the trees, which is several times as fast.
    order = np.argsort(queries.params, kind="stable")
    queries = queries.take(order)
    counts = np.empty((queries.size, windows), dtype=np.int64)
    if _all_keep(queries, points, limits):
        counts[order] = np.diff(_prefixes(queries, points, limits), axis=1)
        return counts
    upto = np.zeros((queries.size, windows + 1), dtype=np.int64)
    _by_depth(queries, points, limits, np.arange(queries.size), limits.depth[1], 1, upto)
    if limits.depth[0] > queries.depth.min() + points.depth.min():
        _by_depth(queries, points, limits, np.arange(queries.size), limits.depth[0] - 1, -1, upto)
    counts[order] = np.diff(upto, axis=1)
    return counts


def _all_keep(queries: Triples, points: Triples, limits: Limits) -> bool:
    """Whether all pairs keep to the limits of macs and depth."""
    ends = ((queries.macs, points.macs, limits.macs), (queries.depth, points.depth, limits.depth))
    return all(a.min() + b.min() >= low and a.max() + b.max() <= high for a, b, (low, high) in ends)


def _by_depth(
    queries: Triples, points: Triples, limits: Limits, which: Integers, most: int, sign: int, upto: Integers
) -> None:
    """Adds `sign` times the pairs with depth of at most `most` and macs within limits, for every edge."""
    values, rank = np.unique(points.depth, return_inverse=True)
    allowed = np.searchsorted(values, most - queries.depth, side="right")
    # (points, first and past-last rank of their depths, queries, of which `allowed` lies in first + 1 ... past-last)
    stack = [(np.arange(points.size), 0, len(values), which[allowed > 0])]
    while stack:
        chosen, first, last, askers = stack.pop()
        if not len(askers) or not len(chosen):
            continue
        everything = allowed[askers] >= last
        if everything.any():
            whole = askers[everything]
            upto[whole] += sign * _by_macs(queries.take(whole), points.take(chosen), limits)
            askers = askers[~everything]
        if not len(askers):
            continue
        if len(askers) * len(chosen) <= LEAF_PAIRS:
            inside = rank[chosen] < allowed[askers, None]
            upto[askers] += sign * _by_looking(queries.take(askers), points.take(chosen), limits, inside)
            continue
        middle = (first + last) // 2
        lower = rank[chosen] < middle
        beyond = allowed[askers] > middle
        # Queries whose limit lies beyond the middle count the whole lower half and search the upper half; the others
        # search the lower half alone.
        low_points = chosen[lower]
        if beyond.any() and len(low_points):
            takers = askers[beyond]
            upto[takers] += sign * _by_macs(queries.take(takers), points.take(low_points), limits)
        stack.append((chosen[~lower], middle, last, askers[beyond]))
        stack.append((low_points, first, middle, askers[~beyond]))


def _by_macs(queries: Triples, points: Triples, limits: Limits) -> Integers:
    """Pairs with macs within limits whatever their depth: an array (queries, edges), cumulative over the edges."""
    low, high = limits.macs
    order = np.argsort(points.macs, kind="stable")
    ascending = points.macs[order]
    most = np.searchsorted(ascending, high - queries.macs, side="right")
    fewest = np.searchsorted(ascending, low - queries.macs, side="left")
    if (most == points.size).all() and not fewest.any():
        return _prefixes(queries, points, limits)
    if queries.size * points.size <= LEAF_PAIRS:
        return _by_looking(queries, points, limits, None)
    rank = np.empty(points.size, dtype=np.int64)
    rank[order] = np.arange(points.size)
    prefixes = _prefixes(queries, points, limits)
    counted = _below(rank, prefixes, most)
    return counted - _below(rank, prefixes, fewest) if fewest.any() else counted


def _below(ranks: Integers, prefixes: Integers, limit: Integers) -> Integers:
    """For every query and edge, the ranks below the query's limit among the first points; trees only where needed."""
    size = len(ranks)
    found = np.where((limit == size)[:, None], prefixes, 0)
    found = np.where(prefixes == size, limit[:, None], found)
    is_open = (prefixes > 0) & (prefixes < size) & ((limit > 0) & (limit < size))[:, None]
    open_edge, open_query = np.nonzero(is_open.T)  # edge by edge, so that places ascend
    if len(open_query):
        found[open_query, open_edge] = Ranks(ranks).below(prefixes[open_query, open_edge], limit[open_query])
    return found


def _prefixes(queries: Triples, points: Triples, limits: Limits) -> Integers:
    """Number of points, ascending in params, at or below each edge: an array (queries, edges)."""
    room = limits.edges[None, :] - queries.params[:, None]
    return np.searchsorted(points.params, room.ravel(), side="right").reshape(room.shape)


def _by_looking(queries: Triples, points: Triples, limits: Limits, inside: npt.NDArray[np.bool_] | None) -> Integers:
    """Counts of `_by_macs`, restricted to `inside`, by examining every pair."""
    macs = queries.macs[:, None] + points.macs
    fits = (macs >= limits.macs[0]) & (macs <= limits.macs[1])
    if inside is not None:
        fits &= inside
    running = np.zeros((queries.size, points.size + 1), dtype=np.int64)
    np.cumsum(fits, axis=1, out=running[:, 1:])
    return np.take_along_axis(running, _prefixes(queries, points, limits), axis=1)
