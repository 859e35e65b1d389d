"""Members of a space that states choices: counted, indexed and searched without listing them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from rksearch.arch import ArchSpec, cost, parse
from rksearch.arch.arrays import Integers
from rksearch.space.counting import by_distance, proposals
from rksearch.space.counting.by_distance import ByDistance, Prices, Ranked, TooMany
from rksearch.space.counting.census import Census, count_at_most
from rksearch.space.counting.chain import Chain
from rksearch.space.counting.chains import box_of, chains_of
from rksearch.space.counting.extremes import AXES, outermost
from rksearch.space.counting.halves import Unit
from rksearch.space.counting.member import REJECTIONS, Member, Priced, Windows, bin_edges
from rksearch.space.counting.nearest_counted import name_of, nearest_params
from rksearch.space.counting.order import names, rows_by_name
from rksearch.space.definition import SpaceDefinition


class _Windows:
    """Windows of chains' members."""

    def __init__(self, census: Census) -> None:
        self._census = census
        self.histogram = census.histogram

    def spec_in_window(self, window: int, rank: int) -> ArchSpec:
        chain, digits = self._census.in_window(window, rank)
        return chain.spec(digits)


class ChosenMembers:
    """Members of a space that states choices."""

    def __init__(self, definition: SpaceDefinition) -> None:
        self._definition = definition
        self._chains = chains_of(definition)
        self.canonical_size = sum(chain.size for chain in self._chains)
        self._boxes = [box_of(definition, chain) for chain in self._chains]
        self._census = Census(list(zip(self._chains, self._boxes, strict=True)), self._bins())
        self.total = self._census.total

    def _bins(self) -> Integers:
        """Edges of tenths of decades of params, that cover all that the choices and the budgets allow."""
        if not self._chains:
            return np.array([0, 1])
        low, high = (int(end[0]) for end in self.candidate_range())
        box = self._boxes[0]
        low, high = max(low, box.low[0], 1), max(min(high, box.high[0]), 1)
        edges = [low - 1]
        edges += [edge for edge in bin_edges(low, high) if low < edge < high]
        return np.array([*edges, max(high, low)], dtype=np.int64)

    @property
    def bins(self) -> tuple[list[int], list[int]]:
        """Edges and counts of the exact histogram of members over params."""
        return self._bins().tolist(), self._census.histogram

    @cached_property
    def rejected(self) -> dict[str, int]:
        """Numbers of choices beyond each end of each budget."""
        found = dict.fromkeys(REJECTIONS, 0)
        for chain, box in zip(self._chains, self._boxes, strict=True):
            least, most = chain.candidate_range()
            for axis in range(3):
                few, many = REJECTIONS[2 * axis : 2 * axis + 2]
                if box.low[axis] > least[axis]:
                    found[few] += count_at_most(chain, axis, box.low[axis] - 1)
                if box.high[axis] < most[axis]:
                    found[many] += chain.size - count_at_most(chain, axis, box.high[axis])
        return found

    def at(self, index: int) -> ArchSpec:
        """The member with an index."""
        chain, digits = self._census.at(index)
        return chain.spec(digits)

    def _find(self, spec: ArchSpec) -> tuple[Chain, tuple[int, ...]] | None:
        for chain in self._chains:
            digits = chain.digits(spec)
            if digits is not None:
                return chain, digits
        return None

    def index(self, spec: ArchSpec) -> int | None:
        """The index of a member, None for anything else."""
        found = self._find(spec)
        return self._census.index(*found) if found else None

    def is_choice(self, spec: ArchSpec) -> bool:
        """Whether choices and constraints make this network."""
        return self._find(spec) is not None

    def by_name(self) -> Iterator[Priced]:
        """All members in the order of their names, streamed."""
        for chain, box in zip(self._chains, self._boxes, strict=True):
            for rows, costs in rows_by_name(chain, box):
                yield from map(Priced, names(chain, rows), *costs.tolist())

    def costs(self) -> Iterator[Integers]:
        """Costs of all members, in chunks."""
        for chain, box in zip(self._chains, self._boxes, strict=True):
            for _, costs in rows_by_name(chain, box):
                yield costs

    def extreme(self, which: str) -> Member:
        """The outermost member in one count; ties go to the other count, then to the first name."""
        return self._extremes[which]

    @cached_property
    def _extremes(self) -> dict[str, Member]:
        found = {}
        for which, (axes, sign) in AXES.items():
            best = outermost(self._census.outwards(axes[0], sign), which, name_of)
            assert best is not None, "a space has a member"
            found[which] = Member(best[2], best[0], best[1])
        return found

    def candidate_range(self) -> tuple[Integers, Integers]:
        """Least and most params, macs and depth of all choices."""
        ranges = [chain.candidate_range() for chain in self._chains]
        return np.min([low for low, _ in ranges], axis=0), np.max([high for _, high in ranges], axis=0)

    def windows(self, edges: Integers) -> Windows:
        """Members counted between edges of params."""
        return _Windows(Census(list(zip(self._chains, self._boxes, strict=True)), edges))

    def dimensions(self) -> dict[str, tuple[Any, ...]]:
        """Family, k, and per period m, s, r, share."""
        return proposals.dimensions(self._definition)

    def choices(self, spec: ArchSpec) -> dict[str, Any]:
        """The decisions that make a network of the choices."""
        return proposals.to_choices(self._definition, spec)

    def from_choices(self, decisions: Mapping[str, Any]) -> ArchSpec:
        """The network that decisions make."""
        return proposals.from_choices(self._definition, decisions)

    def neighbours(self, spec: ArchSpec) -> list[ArchSpec]:
        """Networks that differ in one decision, in the order of the decisions."""
        return proposals.neighbours(self._definition, spec)

    def nearest(self, spec: ArchSpec, excluded: frozenset[str]) -> ArchSpec | None:
        """The member nearest by steps on the lists of choices, then by params, then by name."""
        target = proposals.snap(self._definition, spec)
        if str(target) not in excluded and self.contains(target):
            return target
        wanted = self._params(target)
        far = proposals.distances(self._definition, target)
        ranked: dict[int, Ranked] = {}
        searched = [
            ByDistance(prices, box, far.to(chain.family.name, chain.k), self._ranked(prices, far, ranked))
            for chain, box, prices in zip(self._chains, self._boxes, self._prices, strict=True)
        ]
        for distance in range(max((own.farthest for own in searched), default=-1) + 1):
            try:
                found = by_distance.nearest(searched, wanted, excluded, distance)
            except TooMany:
                return self._nearest_counted(far, wanted, excluded, distance)
            if found is not None:
                return parse(found)
        return None

    @cached_property
    def _prices(self) -> list[Prices]:
        return [Prices(chain) for chain in self._chains]

    def _ranked(self, prices: Prices, far: proposals.Distances, known: dict[int, Ranked]) -> list[Ranked]:
        """The options of a chain by their distance; `known` are those of other chains, which may be the same."""
        found = []
        for i, (kind, places) in enumerate(zip(prices.kind, self._places[prices.chain], strict=True)):
            if id(places) not in known:
                known[id(places)] = Ranked(kind, far.options(i, places))
            found.append(known[id(places)])
        return found

    def _nearest_counted(
        self, far: proposals.Distances, wanted: int, excluded: frozenset[str], start: int
    ) -> ArchSpec | None:
        """The nearest member from a distance on, without listing networks, however many there are."""
        units = [(unit, box, self._unit_steps(unit, far)) for unit, box in self._census.units()]
        for distance in range(start, max((int(a.max() + b.max()) for _, _, (a, b) in units), default=-1) + 1):
            found: tuple[int, str] | None = None
            for unit, box, (own, other) in units:
                for step in np.unique(own[own <= distance]).tolist():
                    queries, points = np.flatnonzero(own == step), np.flatnonzero(other == distance - step)
                    limit = None if found is None else found[0]
                    nearer = nearest_params(unit, box, queries, points, wanted, limit, excluded)
                    if nearer is not None:
                        found = nearer if found is None else min(found, nearer)
            if found is not None:
                return parse(found[1])
        return None

    def _params(self, spec: ArchSpec) -> int:
        found = self._find(spec)
        return int(found[0].costs_of(found[1])[0]) if found else cost.cost(spec, self._definition.dataset).params

    @cached_property
    def _places(self) -> dict[Chain, list[proposals.ChoiceIndices]]:
        """Places of each chain's options in the lists of choices; one object for the same options."""
        known: dict[tuple[int, tuple[Any, ...]], proposals.ChoiceIndices] = {}
        for chain in self._chains:
            for i, own in enumerate(chain.options):
                if (i, own) not in known:
                    known[i, own] = proposals.ChoiceIndices.of(self._definition.periods[i], own)
        return {chain: [known[i, own] for i, own in enumerate(chain.options)] for chain in self._chains}

    def _steps(self, chain: Chain, far: proposals.Distances) -> list[Integers]:
        return [far.options(i, places) for i, places in enumerate(self._places[chain])]

    def _unit_steps(self, unit: Unit, far: proposals.Distances) -> tuple[Integers, Integers]:
        """Steps to each query (with those of family and growth rate) and to each point of a unit."""
        chain, tables = unit.chain, self._steps(unit.chain, far)
        split = len(unit.points.digits) if unit.turned else len(unit.queries.digits)
        first, second = (tables[split:], tables[:split]) if unit.turned else (tables[:split], tables[split:])

        def total(parts: list[Integers], digits: Any, size: int) -> Integers:
            return sum((table[row] for table, row in zip(parts, digits, strict=True)), np.zeros(size, np.int64))

        return (
            far.to(chain.family.name, chain.k) + total(first, unit.queries.digits, unit.queries.size),
            total(second, unit.points.digits, unit.points.size),
        )

    def contains(self, spec: ArchSpec) -> bool:
        """Whether a network is a member; much cheaper than computing its index."""
        found = self._find(spec)
        if found is None:
            return False
        chain, digits = found
        costs = chain.costs_of(digits)[:, None]
        return bool(self._boxes[self._chains.index(chain)].keeps(costs)[0])
