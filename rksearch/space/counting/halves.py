"""Beginnings and ends of the networks of a chain, listed and cut down to those that the budgets can keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from rksearch.arch.arrays import Integers
from rksearch.space.counting.box import Box
from rksearch.space.counting.chain import Chain, Link
from rksearch.space.counting.dominance import Triples

Digits = npt.NDArray[np.uint32]
"""Options of consecutive periods: one row per period, one column per combination."""

LOOKED_AT = 1 << 18
"""Pairs that unranking examines one by one; one count is remembered per this number of pairs."""


@dataclass(frozen=True, slots=True)
class Half:
    """Listed beginnings or ends: costs (3, n) and the options that they consist of (periods, n)."""

    costs: Integers
    digits: Digits

    @property
    def size(self) -> int:
        """Number of halves."""
        return int(self.costs.shape[1])

    @property
    def triples(self) -> Triples:
        """The costs as three arrays."""
        return Triples(*self.costs)

    def take(self, which: npt.NDArray[np.generic]) -> Half:
        """The halves at an index or mask."""
        return Half(self.costs[:, which], self.digits[:, which])


@dataclass(frozen=True, slots=True)
class Unit:
    """The pairs of one state of one chain: `queries` and `points`, of which the first are beginnings unless `turned`.

    Points ascend in params.
    """

    chain: Chain
    queries: Half
    points: Half
    turned: bool

    @property
    def stride(self) -> int:
        """Number of queries whose counts are remembered as one number."""
        return max(1, LOOKED_AT // max(1, self.points.size))

    def digits(self, query: int, point: int) -> tuple[int, ...]:
        """The options of a pair, first period first."""
        a, b = self.queries.digits[:, query].tolist(), self.points.digits[:, point].tolist()
        return tuple(b + a) if self.turned else tuple(a + b)

    def pairs(self, start: int, box: Box) -> tuple[Integers, Integers]:
        """Queries and points of the pairs inside the box, in order, of one stride of queries from `start` on."""
        queries = self.queries.costs[:, start : start + self.stride]
        fits = np.ones((queries.shape[1], self.points.size), bool)
        for own, other, low, high in zip(queries, self.points.costs, box.low, box.high, strict=True):
            total = own[:, None] + other
            fits &= (total >= low) & (total <= high)
        query, point = np.nonzero(fits)
        return query + start, point


def listed(chain: Chain, cut: int) -> int:
    """Number of halves that a cut after period `cut` (from 0) lists, before budgets reduce them."""
    sizes = [len(own) for own in chain.options]
    return prod(sizes[: cut + 1]) + prod(sizes[cut + 1 :]) * len(chain.members[cut])


def best_cut(chain: Chain) -> int:
    """The period after which cutting lists the fewest halves."""
    return min(range(max(1, chain.periods - 1)), key=lambda cut: listed(chain, cut))


class Halves:
    """Lists the halves of a chain within a box, state by state."""

    def __init__(self, chain: Chain, box: Box) -> None:
        self.chain = chain
        self.box = box
        self._kept: dict[tuple[str, int, int], Half] = {}
        self._joined: dict[tuple[str, int], tuple[Half, Integers]] = {}
        self.cut = best_cut(chain)

    @property
    def states(self) -> int:
        """Number of units."""
        return len(self.chain.members[self.cut])

    def range_of(self, state: int) -> tuple[Integers, Integers]:
        """Least and most params, macs and depth of the pairs of a state, whatever the box."""
        own = np.stack(self.chain.costs[self.cut])[:, self.chain.members[self.cut][state]]
        low, high = (
            before[:, state] + after[:, state]
            for before, after in zip(self.chain.before[self.cut], self.chain.after[self.cut], strict=True)
        )
        return low + own.min(axis=1), high + own.max(axis=1)

    def unit(self, state: int, windows: int = 1) -> Unit | None:
        """The pairs of a state, for counting in this number of windows; None where the box allows none."""
        ends = self._ends(self.cut, state)
        if not ends.size:
            return None
        beginnings = self._beginnings(self.cut, state)
        if not beginnings.size:
            return None
        beginnings, ends = _prune(beginnings, ends, self.box)
        if not beginnings.size or not ends.size:
            return None
        # A query costs about half as much per window as a point does when the tree is built.
        turned = ends.size * windows + 2 * beginnings.size < beginnings.size * windows + 2 * ends.size
        queries, points = (ends, beginnings) if turned else (beginnings, ends)
        return Unit(self.chain, queries, points.take(np.argsort(points.costs[0], kind="stable")), turned)

    def _beginnings(self, i: int, state: int) -> Half:
        if ("b", i, state) in self._kept:
            return self._kept["b", i, state]
        own = self._own(i, state)
        if i:
            heads, last = self._heads(i - 1)
            own = _product(_linked(heads, last, self.chain.links[i - 1], (slice(None), state)), own)
        own = self._reach(own, [ends[:, state] for ends in self.chain.after[i]])
        if i < self.cut:
            self._kept["b", i, state] = own
        return own

    def _ends(self, i: int, state: int) -> Half:
        """Ends that may follow a state of period i."""
        if ("e", i, state) in self._kept:
            return self._kept["e", i, state]
        if i == self.chain.periods - 1:
            return Half(np.zeros((3, 1), np.int64), np.zeros((0, 1), np.uint32))
        tails, first = self._tails(i + 1)
        ends = _linked(tails, first, self.chain.links[i], (state, slice(None)))
        low, high = self.chain.before[i]
        spread = np.stack(self.chain.costs[i])[:, self.chain.members[i][state]]
        rest = [low[:, state] + spread.min(axis=1), high[:, state] + spread.max(axis=1)]
        ends = self._reach(ends, rest)
        if i > self.cut:
            self._kept["e", i, state] = ends
        return ends

    def _heads(self, i: int) -> tuple[Half, Integers]:
        """All beginnings that end with period i, and the state of that period in each."""
        if ("h", i) not in self._joined:
            self._joined["h", i] = _labelled([self._beginnings(i, state) for state in self._states(i)], i + 1)
        return self._joined["h", i]

    def _tails(self, i: int) -> tuple[Half, Integers]:
        """All ends that begin with period i, and the state of that period in each."""
        if ("t", i) not in self._joined:
            parts = [_product(self._own(i, state), self._ends(i, state)) for state in self._states(i)]
            self._joined["t", i] = _labelled(parts, self.chain.periods - i)
        return self._joined["t", i]

    def _states(self, i: int) -> range:
        return range(len(self.chain.members[i]))

    def release(self) -> None:
        """Let go of the largest lists, which are made again when another unit is asked for."""
        self._joined.clear()

    def _own(self, i: int, state: int) -> Half:
        own = self.chain.members[i][state]
        return Half(np.stack(self.chain.costs[i])[:, own], own[None, :].astype(np.uint32))

    def _reach(self, half: Half, rest: Sequence[Integers]) -> Half:
        """Halves that a rest between these least and most costs can bring into the box."""
        low, high = np.array(self.box.low), np.array(self.box.high)
        kept = (half.costs <= (high - rest[0])[:, None]) & (half.costs >= (low - rest[1])[:, None])
        whole = kept.all(axis=0)
        return half if whole.all() else half.take(np.flatnonzero(whole))


def _labelled(parts: list[Half], periods: int) -> tuple[Half, Integers]:
    """Halves of each state one after another, and the state of each."""
    labels = np.repeat(np.arange(len(parts)), [part.size for part in parts])
    return _join(parts, periods), labels


def _linked(halves: Half, states: Integers, link: Link, at: tuple[int | slice, int | slice]) -> Half:
    """The halves that a link allows, with its costs added; `at` is the other side's state in the link's tables."""
    allowed = link.allowed[at][states]
    costs = link.costs[(slice(None), *at)]
    if allowed.all():
        return Half(halves.costs + costs[:, states], halves.digits)
    kept = np.flatnonzero(allowed)
    found = halves.take(kept)
    return Half(found.costs + costs[:, states[kept]], found.digits)


def _join(parts: list[Half], periods: int) -> Half:
    if not parts:
        return Half(np.zeros((3, 0), np.int64), np.zeros((periods, 0), np.uint32))
    return Half(np.concatenate([p.costs for p in parts], 1), np.concatenate([p.digits for p in parts], 1))


def _product(first: Half, second: Half) -> Half:
    """Every pair of both, the second varying fastest."""
    costs = (first.costs[:, :, None] + second.costs[:, None, :]).reshape(3, -1)
    digits = np.concatenate(
        [np.repeat(first.digits, second.size, axis=1), np.tile(second.digits, (1, first.size))], axis=0
    )
    return Half(costs, digits)


def _prune(a: Half, b: Half, box: Box) -> tuple[Half, Half]:
    """Both without halves that no partner brings into the box; done twice, as each cut narrows the other's range."""
    low, high = np.array(box.low)[:, None], np.array(box.high)[:, None]
    if _all_inside(a, b, box):
        return a, b
    for _ in range(2):
        for _ in range(2):
            if not a.size or not b.size:
                return a, b
            least, most = b.costs.min(axis=1, keepdims=True), b.costs.max(axis=1, keepdims=True)
            kept = ((a.costs <= high - least) & (a.costs >= low - most)).all(axis=0)
            a, b = b, (a if kept.all() else a.take(np.flatnonzero(kept)))
    return a, b


def _all_inside(a: Half, b: Half, box: Box) -> bool:
    """Whether all pairs are inside the box."""
    least = a.costs.min(axis=1) + b.costs.min(axis=1)
    most = a.costs.max(axis=1) + b.costs.max(axis=1)
    return bool((least >= box.low).all() and (most <= box.high).all())
