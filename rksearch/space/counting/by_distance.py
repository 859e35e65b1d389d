"""The member nearest to a network, found distance by distance, the nearest first.

A search loop calls it repeatedly, so it must take milliseconds in spaces of any size. Tables of the least and the most
that the rest of a network can cost *in n steps* make that possible: beginnings that no ending of the remaining steps
brings within the budgets are not extended, and distances without a feasible network are skipped. Among the networks at
one distance, those near the wanted params are listed first.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

from rksearch.arch.arrays import Integers
from rksearch.space.counting.box import Box
from rksearch.space.counting.chain import INFINITY, Chain
from rksearch.space.counting.pricing import multiples

LISTED = 1 << 19
"""Maximum number of partial networks listed for one distance and chain; more raise `TooMany`."""

WINDOWS = (64, 4)
"""Divisors of the wanted params: networks within 1/64 of them, then within 1/4, are searched before all others."""


class TooMany(Exception):
    """The networks at this distance are more than `LISTED`."""


class Networks(NamedTuple):
    """Networks: options of each period (periods, n), and costs (3, n)."""

    digits: Integers
    costs: Integers


class Prices:
    """Costs of the parts of a chain, laid out for look-up: each cost and, for upper ends, its negative.

    Args:
        chain: the networks.

    Attributes:
        parts: costs of each period's options (6, options).
        links: costs between the states of each period and of the next (6, states, states).
        kinds: number of the growth multiple of each state, by period: costs of links depend on it alone.
        kind: number of the growth multiple of each option, by period.
        rough: costs of links between multiples, by period (6, multiples, multiples).
        least: least costs of all that follows each state, by period (6, states).
    """

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.parts = [_signed(np.stack(costs)) for costs in chain.costs]
        self.links = [_signed(link.costs) for link in chain.links]
        self.least = [np.concatenate([low, -high]) for low, high in chain.after]
        self.kinds, firsts = [], []
        for own, members in zip(chain.options, chain.members, strict=True):
            first = [int(options[0]) for options in members]
            _, place, kind = np.unique(multiples(own)[first], return_index=True, return_inverse=True)
            self.kinds.append(kind.ravel())
            firsts.append(place)
        self.kind = [kinds[state] for kinds, state in zip(self.kinds, chain.state, strict=True)]
        self.rough = [link[:, firsts[i][:, None], firsts[i + 1]] for i, link in enumerate(self.links)]


class Ranked:
    """The options of a period by their distance; chains with the same options share one.

    Args:
        kind: number of each option's growth multiple.
        steps: distance of each option.
    """

    def __init__(self, kind: Integers, steps: Integers) -> None:
        self.steps = steps
        self.farthest = int(steps.max())
        self._shape = int(kind.max()) + 1, self.farthest + 1
        place = kind * self._shape[1] + steps
        self._order = np.argsort(place, kind="stable")
        ordered = place[self._order]
        self._starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
        self._places = ordered[self._starts]

    def cheapest(self, parts: Integers) -> Integers:
        """The least that options cost (6, options), by multiple and distance (6, multiples, distances)."""
        found = np.full((6, self._shape[0] * self._shape[1]), INFINITY)
        found[:, self._places] = np.minimum.reduceat(parts[:, self._order], self._starts, axis=1)
        return found.reshape(6, *self._shape)


class ByDistance:
    """The networks of a chain inside a box, distance by distance.

    Args:
        prices: costs of the chain's parts.
        box: limits.
        base: distance of the chain itself.
        options: options of each period, by their distance.
    """

    def __init__(self, prices: Prices, box: Box, base: int, options: Sequence[Ranked]) -> None:
        self._prices = prices
        self._box = box
        self._base = base
        self._options = options
        self.chain = prices.chain
        self.farthest = base + sum(own.farthest for own in options)

    def params_at(self, distance: int) -> tuple[int, int] | None:
        """An interval that holds the params of all networks at a distance; None where none can be inside the box."""
        left = distance - self._base
        if not 0 <= left <= self.farthest - self._base:
            return None
        least = self._tables[1][:, left]
        if (least > _ends(self._box)).any():
            return None
        return max(int(least[0]), self._box.low[0]), min(-int(least[3]), self._box.high[0])

    def at(self, distance: int, params: tuple[int, int]) -> Networks:
        """All networks inside the box at a distance, with params in an interval.

        Raises:
            TooMany: they are too many to list.
        """
        low, high = self._box.low, self._box.high
        box = Box((max(low[0], params[0]), *low[1:]), (min(high[0], params[1]), *high[1:]))
        ends, listed, chain = _ends(box), 0, self.chain
        left = distance - self._base - self._options[0].steps
        digits, costs = np.arange(len(left))[None, :], self._prices.parts[0]
        digits, costs, left = self._within(0, digits, costs, left, ends)
        for i in range(1, chain.periods):
            listed += left.size * len(self._options[i].steps)
            if listed > LISTED:
                raise TooMany
            before, own = chain.state[i - 1][digits[-1]], chain.state[i]
            after = left[:, None] - self._options[i].steps
            open_ = (after >= 0) & (after < self._tables[0][i].shape[2])
            open_ &= chain.links[i - 1].allowed[before[:, None], own]
            first, second = np.nonzero(open_)
            costs = costs[:, first] + self._prices.parts[i][:, second]
            costs += self._prices.links[i - 1][:, before[first], own[second]]
            digits = np.concatenate([digits[:, first], second[None, :]])
            digits, costs, left = self._within(i, digits, costs, after[first, second], ends)
        return Networks(digits, costs[:3])

    def _within(
        self, i: int, digits: Integers, costs: Integers, left: Integers, ends: Integers
    ) -> tuple[Integers, Integers, Integers]:
        """Beginnings up to period i without those that no ending of the remaining steps brings within `ends`."""
        rest = self._tables[0][i]
        kept = np.flatnonzero((left >= 0) & (left < rest.shape[2]))
        least = rest[:, self.chain.state[i][digits[-1, kept]], left[kept]]
        kept = kept[(costs[:, kept] + least <= ends[:, None]).all(axis=0)]
        return digits[:, kept], costs[:, kept], left[kept]

    @cached_property
    def _tables(self) -> tuple[list[Integers], Integers]:
        """Least costs of all that follows a state, by period and steps (6, states, steps), and of networks (6, steps).

        Constraints between neighbours are ignored, so the costs are lower bounds.
        """
        prices, periods = self._prices, self.chain.periods
        tables = [np.zeros((6, len(prices.kinds[-1]), 1), np.int64)]
        by_kind = np.zeros((6, int(prices.kinds[-1].max()) + 1, 1), np.int64)
        for i in range(periods - 1, 0, -1):
            onward = _joined(self._options[i].cheapest(prices.parts[i]), by_kind)
            by_kind = np.minimum(prices.rough[i - 1][..., None] + onward[:, None], INFINITY).min(axis=2)
            exact = np.maximum(by_kind[:, prices.kinds[i - 1]], prices.least[i - 1][..., None])
            tables.append(np.minimum(exact, INFINITY))
        return tables[::-1], _joined(self._options[0].cheapest(prices.parts[0]), by_kind).min(axis=1)


def nearest(searched: Sequence[ByDistance], wanted: int, excluded: frozenset[str], distance: int) -> str | None:
    """Name of the network at one distance that is nearest in params, then first by name, and not excluded.

    Raises:
        TooMany: its networks are too many to list.
    """
    spans = [(own, span) for own in searched if (span := own.params_at(distance)) is not None]
    if not spans:
        return None
    gap = min(max(0, low - wanted, wanted - high) for _, (low, high) in spans)
    for width in (*(gap + wanted // share for share in WINDOWS), INFINITY):
        window = wanted - width, wanted + width
        near = [
            (own.chain, own.at(distance, window))
            for own, (low, high) in spans
            if low <= window[1] and window[0] <= high
        ]
        found = _nearest_of(near, wanted, excluded)
        if found is not None:
            return found
    return None


def _signed(costs: Integers) -> Integers:
    return np.concatenate([costs, -costs])


def _ends(box: Box) -> Integers:
    """Upper limits on costs and on their negatives."""
    return np.array([*box.high, *(-low for low in box.low)])


def _joined(first: Integers, second: Integers) -> Integers:
    """The least sums of two tables by steps, for each sum of steps."""
    few, many = (first, second) if first.shape[2] < second.shape[2] else (second, first)
    span = many.shape[2]
    found = np.full((*many.shape[:2], few.shape[2] + span - 1), INFINITY)
    for d in range(few.shape[2]):
        part = found[:, :, d : d + span]
        np.minimum(part, few[:, :, d : d + 1] + many, out=part)
    return found


def _nearest_of(near: Sequence[tuple[Chain, Networks]], wanted: int, excluded: frozenset[str]) -> str | None:
    best: tuple[int, str] | None = None
    for chain, rows in near:
        gaps = np.abs(rows.costs[0] - wanted)
        for place in np.argsort(gaps, kind="stable").tolist():
            gap = int(gaps[place])
            if best is not None and gap > best[0]:
                break
            name = str(chain.spec(rows.digits[:, place].tolist()))
            if name not in excluded and (best is None or (gap, name) < best):
                best = gap, name
    return best[1] if best else None
