"""Members by their distance from a network: the networks of one distance after another are listed, cheapest first.

A search loop asks for the member nearest to a proposal, which is seldom far: what lies within a few steps is listed
period by period, without what no ending can bring within the budgets.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from rksearch.space.census import Box
from rksearch.space.chain import Chain
from rksearch.space.dominance import Integers

LISTED = 1 << 19
"""Partial networks of one distance and chain that are listed; `TooMany` are left to other methods."""


class TooMany(Exception):
    """More networks have this distance than are listed."""


class Rows(NamedTuple):
    """Beginnings of networks: options of each period so far (periods, n), and costs (3, n)."""

    digits: Integers
    costs: Integers


class Shells:
    """The networks of a chain inside a box, distance by distance.

    Args:
        chain: the networks.
        box: limits.
        base: distance of the chain itself.
        steps: of each period, the distance of each option.
    """

    def __init__(self, chain: Chain, box: Box, base: int, steps: list[Integers]) -> None:
        self._chain = chain
        self._box = box
        self._base = base
        self._options = [[np.flatnonzero(own == d) for d in range(int(own.max()) + 1)] for own in steps]
        self._costs = [np.stack(costs) for costs in chain.costs]
        self._known: dict[tuple[int, int], Rows] = {}
        self.farthest = base + sum(len(own) - 1 for own in self._options)

    def at(self, distance: int) -> Rows:
        """All networks inside the box at a distance.

        Raises:
            TooMany: they are not listed.
        """
        return self._beginnings(self._chain.periods - 1, distance - self._base)

    def _beginnings(self, i: int, distance: int) -> Rows:
        """Beginnings up to period i, without those that no ending can bring into the box."""
        if (i, distance) not in self._known:
            parts = list(self._parts(i, distance))
            self._known[i, distance] = Rows(
                np.concatenate([np.zeros((i + 1, 0), np.int64), *(p.digits for p in parts)], axis=1),
                np.concatenate([np.zeros((3, 0), np.int64), *(p.costs for p in parts)], axis=1),
            )
        return self._known[i, distance]

    def _parts(self, i: int, distance: int) -> Iterator[Rows]:
        chain, listed = self._chain, 0
        for own, options in enumerate(self._options[i][: max(0, distance + 1)]):
            if not len(options):
                continue
            if not i:
                if own == distance:
                    yield self._reach(i, Rows(options[None, :], self._costs[0][:, options]))
                continue
            before = self._beginnings(i - 1, distance - own)
            listed += before.costs.shape[1] * len(options)
            if listed > LISTED:
                raise TooMany
            link = chain.links[i - 1]
            a, b = chain.state[i - 1][before.digits[-1]], chain.state[i][options]
            first, second = np.nonzero(link.allowed[a[:, None], b])
            costs = before.costs[:, first] + self._costs[i][:, options[second]] + link.costs[:, a[first], b[second]]
            digits = np.concatenate([before.digits[:, first], options[None, second]])
            yield self._reach(i, Rows(digits, costs))

    def _reach(self, i: int, rows: Rows) -> Rows:
        low, high = np.array(self._box.low)[:, None], np.array(self._box.high)[:, None]
        least, most = (end[:, self._chain.state[i][rows.digits[-1]]] for end in self._chain.after[i])
        kept = ((rows.costs + least <= high) & (rows.costs + most >= low)).all(axis=0)
        return Rows(rows.digits[:, kept], rows.costs[:, kept])


def nearest_of(shells: list[tuple[Chain, Rows]], wanted: int, excluded: frozenset[str]) -> str | None:
    """Of networks at one distance the one nearest in params, then the first by name, that is not excluded."""
    best: tuple[int, str] | None = None
    for chain, rows in shells:
        gaps = np.abs(rows.costs[0] - wanted)
        for place in np.argsort(gaps, kind="stable").tolist():
            gap = int(gaps[place])
            if best is not None and gap > best[0]:
                break
            name = str(chain.spec(rows.digits[:, place].tolist()))
            if name not in excluded and (best is None or (gap, name) < best):
                best = gap, name
    return best[1] if best else None
