"""Counting, ranking and unranking the networks of chains that are within budgets, without listing them.

A chain is cut after one of its periods. Given that period's state, a network is a pair: a beginning that ends in the
state, and an end that may follow it (a *unit*). Beginnings and ends are listed, with those left out that no partner
could bring within the budgets, and `rksearch.space.counting.dominance` counts the pairs. The index of a network is the
number of pairs before it: in units before, then of earlier queries (the half that is looked up), then of earlier
points.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import accumulate

import numpy as np

from rksearch.arch.arrays import Integers
from rksearch.space.counting.box import Box
from rksearch.space.counting.chain import Chain
from rksearch.space.counting.dominance import count_sums
from rksearch.space.counting.halves import Half, Halves, Unit, best_cut

REMEMBERED = 24_000_000
"""Maximum number of listed halves that are kept in memory, over all units."""


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
        self._held = 0
        self._current = 0
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

    def outwards(self, axis: int, sign: int) -> Iterator[tuple[int, Unit, Box]]:
        """Every such unit, after a bound on the cost `axis` of its networks times `sign`: no less, and ascending.

        Units are made when they are reached.
        """
        bounds = []
        for place, (number, state, _) in enumerate(self._units):
            least, most = self._halves[number].range_of(state)
            bounds.append((int(least[axis] if sign > 0 else -most[axis]), place))
        for bound, place in sorted(bounds):
            number, state, _ = self._units[place]
            unit = self._unit(number, state)
            assert unit is not None
            yield bound, unit, self._halves[number].box

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
        if number != self._current:
            self._halves[self._current].release()
            self._current = number
        unit = self._halves[number].unit(state, self._windows)
        size = unit.queries.size + unit.points.size if unit else 0
        if self._held + size > REMEMBERED:
            self._memory.clear()
            self._held = 0
        self._memory[key] = unit
        self._held += size
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
            before, states = heads(i - 1)
            link = chain.links[i - 1]
            linked = (before + link.costs[dimension, states, state])[link.allowed[states, state]]
            sums = np.add.outer(linked, sums).ravel()
        return np.asarray(sums[sums <= limit - chain.after[i][0][dimension, state]])

    def ends(i: int, state: int) -> Integers:
        if i == chain.periods - 1:
            return np.zeros(1, np.int64)
        after, states = tails(i + 1)
        link = chain.links[i]
        sums = (after + link.costs[dimension, state, states])[link.allowed[state, states]]
        return np.asarray(sums[sums <= limit - chain.before[i][0][dimension, state]])

    @cache
    def heads(i: int) -> tuple[Integers, Integers]:
        return _labelled([beginnings(i, state) for state in range(len(chain.members[i]))])

    @cache
    def tails(i: int) -> tuple[Integers, Integers]:
        return _labelled(
            [np.add.outer(own[i][members], ends(i, state)).ravel() for state, members in enumerate(chain.members[i])]
        )

    total = 0
    for state in range(len(chain.members[cut])):
        few, many = sorted((beginnings(cut, state), ends(cut, state)), key=len)
        total += int(np.searchsorted(np.sort(many), limit - few, side="right").sum())
    return total


def _labelled(parts: Sequence[Integers]) -> tuple[Integers, Integers]:
    """Sums of each state one after another, and the state of each."""
    labels = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    return np.concatenate([*parts, np.zeros(0, np.int64)]), labels
