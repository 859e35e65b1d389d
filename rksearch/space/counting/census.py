"""Counting, ranking and unranking the networks of chains that keep to budgets, without listing them.

A chain is cut after one of its periods. Given that period's state, a network is a pair: a beginning that ends in the
state, and an end that may follow it (a *unit*). Beginnings and ends are listed, with those left out that no partner
could bring within the budgets, and `rksearch.space.counting.dominance` counts the pairs. The index of a network is the
number of pairs before it: in units before, then of earlier queries (the half that is asked about), then of earlier
points.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import prod

import numpy as np
import numpy.typing as npt

from rksearch.space.counting.chain import Chain
from rksearch.space.counting.dominance import Integers, Limits, Triples, count_sums

Digits = npt.NDArray[np.uint32]
"""Options of consecutive periods: one row per period, one column per combination."""

LOOKED_AT = 1 << 18
"""Pairs that unranking examines one by one; one count is remembered per this number of pairs."""

REMEMBERED = 24_000_000
"""Maximum number of listed halves that are kept in memory, over all units."""

MAX_LISTED = 1_500_000_000
"""Maximum number of halves listed while counting, before budgets cut them; larger spaces are refused."""


@dataclass(frozen=True, slots=True)
class Box:
    """Inclusive limits on params, macs and depth, for the networks of one chain."""

    low: tuple[int, int, int]
    high: tuple[int, int, int]

    def limits(self, edges: Integers | None = None) -> Limits:
        """Limits with windows of params between `edges`, which must lie within the box; by default one window."""
        if edges is None:
            edges = np.array([self.low[0] - 1, self.high[0]], dtype=np.int64)
        return Limits(edges, (self.low[1], self.high[1]), (self.low[2], self.high[2]))

    def keeps(self, costs: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Mask of the columns of costs (3, n) inside the box."""
        low, high = np.array(self.low)[:, None], np.array(self.high)[:, None]
        return np.asarray(((costs >= low) & (costs <= high)).all(axis=0))


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
        self.cut = best_cut(chain)

    @property
    def states(self) -> int:
        """Number of units."""
        return len(self.chain.members[self.cut])

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
        # Asking costs about half as much per window as building the tree that answers.
        turned = ends.size * windows + 2 * beginnings.size < beginnings.size * windows + 2 * ends.size
        queries, points = (ends, beginnings) if turned else (beginnings, ends)
        return Unit(self.chain, queries, points.take(np.argsort(points.costs[0], kind="stable")), turned)

    def _beginnings(self, i: int, state: int) -> Half:
        if ("b", i, state) in self._kept:
            return self._kept["b", i, state]
        own = self._own(i, state)
        if i:
            link = self.chain.links[i - 1]
            parts = [
                _shift(self._beginnings(i - 1, before), link.costs[:, before, state])
                for before in np.flatnonzero(link.allowed[:, state]).tolist()
            ]
            own = _product(_join(parts, i), own)
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
        link = self.chain.links[i]
        parts = [
            _shift(_product(self._own(i + 1, after), self._ends(i + 1, after)), link.costs[:, state, after])
            for after in np.flatnonzero(link.allowed[state]).tolist()
        ]
        low, high = self.chain.before[i]
        spread = np.stack(self.chain.costs[i])[:, self.chain.members[i][state]]
        rest = [low[:, state] + spread.min(axis=1), high[:, state] + spread.max(axis=1)]
        ends = self._reach(_join(parts, self.chain.periods - 1 - i), rest)
        if i > self.cut:
            self._kept["e", i, state] = ends
        return ends

    def _own(self, i: int, state: int) -> Half:
        own = self.chain.members[i][state]
        return Half(np.stack(self.chain.costs[i])[:, own], own[None, :].astype(np.uint32))

    def _reach(self, half: Half, rest: Sequence[Integers]) -> Half:
        """Halves that a rest between these least and most costs can bring into the box."""
        low, high = np.array(self.box.low), np.array(self.box.high)
        kept = (half.costs <= (high - rest[0])[:, None]) & (half.costs >= (low - rest[1])[:, None])
        return half.take(np.flatnonzero(kept.all(axis=0)))


def _shift(half: Half, costs: Integers) -> Half:
    return Half(half.costs + costs[:, None], half.digits)


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
    """Both without halves that no partner brings into the box; twice: each cut narrows the other's range."""
    low, high = np.array(box.low)[:, None], np.array(box.high)[:, None]
    for _ in range(2):
        for _ in range(2):
            if not a.size or not b.size:
                return a, b
            least, most = b.costs.min(axis=1, keepdims=True), b.costs.max(axis=1, keepdims=True)
            kept = ((a.costs <= high - least) & (a.costs >= low - most)).all(axis=0)
            a, b = b, (a if kept.all() else a.take(np.flatnonzero(kept)))
    return a, b


class Census:
    """The networks of chains inside a box each, counted and indexed.

    Args:
        chains: chains, each with its box.
        edges: ascending edges of the separate windows of params; the first lies below, the last at or above
            every network inside the boxes.

    Attributes:
        total: number of networks.
        histogram: number of networks in each window.
    """

    def __init__(self, chains: Sequence[tuple[Chain, Box]], edges: Integers | None = None) -> None:
        self._halves = [Halves(chain, box) for chain, box in chains]
        self._edges = edges
        self._windows = 1 if edges is None else len(edges) - 1
        self._windows_known: dict[tuple[int, int, int], Integers] = {}
        self._memory: dict[tuple[int, int], Unit | None] = {}
        self._units: list[tuple[int, int, Integers]] = []
        self.by_unit: list[Integers] = []
        counted = np.zeros(self._windows, dtype=object)
        for number, state, unit in self._walk():
            box = self._halves[number].box
            inner = None if edges is None else np.clip(edges, box.low[0] - 1, box.high[0])
            counts = count_sums(unit.queries.triples, unit.points.triples, box.limits(inner))
            found = counts.sum(axis=0)
            if not found.any():
                continue
            strides = np.add.reduceat(counts.sum(axis=1), np.arange(0, len(counts), unit.stride))
            self._units.append((number, state, np.cumsum(strides)))
            self.by_unit.append(found)
            counted += found.astype(object)
        self.histogram = [int(count) for count in counted]
        self.total = sum(self.histogram)
        self._starts = [0, *accumulate(int(cumulative[-1]) for _, _, cumulative in self._units)]

    def _walk(self) -> Iterator[tuple[int, int, Unit]]:
        for number, halves in enumerate(self._halves):
            for state in range(halves.states):
                unit = self._unit(number, state)
                if unit is not None:
                    yield number, state, unit

    def units(self) -> Iterator[tuple[Unit, Box]]:
        """Every unit that has a network inside its box."""
        for number, state, _ in self._units:
            unit = self._unit(number, state)
            assert unit is not None
            yield unit, self._halves[number].box

    def at(self, index: int) -> tuple[Chain, tuple[int, ...]]:
        """Chain and options of the network with an index from 0 to `total - 1`."""
        place = int(np.searchsorted(np.array(self._starts, dtype=object), index, side="right")) - 1
        number, state, cumulative = self._units[place]
        unit = self._unit(number, state)
        assert unit is not None
        left = index - self._starts[place]
        stride = int(np.searchsorted(cumulative, left, side="right"))
        left -= int(cumulative[stride - 1]) if stride else 0
        queries, points = unit.pairs(stride * unit.stride, self._halves[number].box)
        return unit.chain, unit.digits(int(queries[left]), int(points[left]))

    def index(self, chain: Chain, digits: tuple[int, ...]) -> int | None:
        """The index of a network, or None where it is not inside the box."""
        for place, (number, state, cumulative) in enumerate(self._units):
            halves = self._halves[number]
            if halves.chain is not chain or int(chain.state[halves.cut][digits[halves.cut]]) != state:
                continue
            unit = self._unit(number, state)
            assert unit is not None
            first, second = digits[: halves.cut + 1], digits[halves.cut + 1 :]
            query, point = (
                (_find(unit.queries, second), _find(unit.points, first))
                if unit.turned
                else (
                    _find(unit.queries, first),
                    _find(unit.points, second),
                )
            )
            if query is None or point is None:
                return None
            stride = query // unit.stride
            queries, points = unit.pairs(stride * unit.stride, halves.box)
            here = np.flatnonzero((queries == query) & (points == point))
            if not len(here):
                return None
            return self._starts[place] + (int(cumulative[stride - 1]) if stride else 0) + int(here[0])
        return None

    def in_window(self, window: int, rank: int) -> tuple[Chain, tuple[int, ...]]:
        """Chain and options of the network with a rank from 0 to `histogram[window] - 1` in a window of params."""
        for (number, state, _), counts in zip(self._units, self.by_unit, strict=True):
            if rank >= counts[window]:
                rank -= int(counts[window])
                continue
            unit = self._unit(number, state)
            assert unit is not None
            assert self._edges is not None
            box = self._halves[number].box
            low = max(box.low[0], int(self._edges[window]) + 1)
            inner = Box((low, *box.low[1:]), (min(box.high[0], int(self._edges[window + 1])), *box.high[1:]))
            key = number, state, window
            if key not in self._windows_known:
                found = count_sums(unit.queries.triples, unit.points.triples, inner.limits())
                self._windows_known[key] = np.cumsum(found[:, 0])
            cumulative = self._windows_known[key]
            query = int(np.searchsorted(cumulative, rank, side="right"))
            rank -= int(cumulative[query - 1]) if query else 0
            fits = np.flatnonzero(inner.keeps(unit.queries.costs[:, query : query + 1] + unit.points.costs))
            return unit.chain, unit.digits(query, int(fits[rank]))
        raise IndexError(f"window {window} has no rank {rank}")

    def _unit(self, number: int, state: int) -> Unit | None:
        key = number, state
        if key in self._memory:
            return self._memory[key]
        unit = self._halves[number].unit(state, self._windows)
        size = unit.queries.size + unit.points.size if unit else 0
        held = sum(u.queries.size + u.points.size for u in self._memory.values() if u)
        if held + size > REMEMBERED:
            self._memory.clear()
        self._memory[key] = unit
        return unit


def _find(half: Half, digits: tuple[int, ...]) -> int | None:
    same = (half.digits == np.array(digits, dtype=np.uint32)[:, None]).all(axis=0)
    found = np.flatnonzero(same)
    return int(found[0]) if len(found) else None


def count_at_most(chain: Chain, dimension: int, limit: int) -> int:
    """Networks of a chain with at most `limit` params (dimension 0), macs (1) or depth (2), all else open."""
    cut = best_cut(chain)
    own = [costs[dimension] for costs in chain.costs]

    def beginnings(i: int, state: int) -> Integers:
        sums = own[i][chain.members[i][state]]
        if i:
            parts = [
                beginnings(i - 1, before) + chain.links[i - 1].costs[dimension, before, state]
                for before in np.flatnonzero(chain.links[i - 1].allowed[:, state]).tolist()
            ]
            sums = np.add.outer(np.concatenate([*parts, np.zeros(0, np.int64)]), sums).ravel()
        return np.asarray(sums[sums <= limit - chain.after[i][0][dimension, state]])

    def ends(i: int, state: int) -> Integers:
        if i == chain.periods - 1:
            return np.zeros(1, np.int64)
        parts = [
            np.add.outer(own[i + 1][chain.members[i + 1][after]], ends(i + 1, after)).ravel()
            + chain.links[i].costs[dimension, state, after]
            for after in np.flatnonzero(chain.links[i].allowed[state]).tolist()
        ]
        sums = np.concatenate([*parts, np.zeros(0, np.int64)])
        return np.asarray(sums[sums <= limit - chain.before[i][0][dimension, state]])

    total = 0
    for state in range(len(chain.members[cut])):
        few, many = sorted((beginnings(cut, state), ends(cut, state)), key=len)
        total += int(np.searchsorted(np.sort(many), limit - few, side="right").sum())
    return total
