"""The members of a space: those of its choices that keep to the budgets, by index, by name, by size.

Two kinds of spaces, one interface: `ChosenMembers` of choices, counted without listing them, and `ListedMembers` of
architectures that the file lists.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import count as numbers
from typing import Any, NamedTuple, Protocol

import numpy as np

from rksearch.arch import MAX_CONV_LAYERS, ArchSpec, cost, parse
from rksearch.arch.layout import layout
from rksearch.errors import SpaceError
from rksearch.space.counting import nearby, proposals
from rksearch.space.counting.census import MAX_LISTED, Box, Census, Unit, best_cut, count_at_most, listed
from rksearch.space.counting.chain import Chain, within_period
from rksearch.space.counting.dominance import LEAF_PAIRS, Integers
from rksearch.space.counting.extremes import AXES, least_sums, outermost
from rksearch.space.counting.family import NO_GROWTH, family
from rksearch.space.counting.nearby import Prices, Ranked, Shells, TooMany
from rksearch.space.counting.order import names, rows_by_name
from rksearch.space.definition import CountRange, SpaceDefinition
from rksearch.space.format.reading import MAX_COUNT

REJECTIONS = ("too_few_params", "too_many_params", "too_few_macs", "too_many_macs", "too_shallow", "too_deep")
"""Names of the ways to break the budgets, in the order of the counts."""


class Member(NamedTuple):
    """An architecture with its parameters and multiply-adds."""

    name: str
    params: int
    macs: int


class Priced(NamedTuple):
    """An architecture and all counts that budgets can limit."""

    name: str
    params: int
    macs: int
    depth: int


class Histogram(Protocol):
    """Members by windows of params."""

    histogram: list[int]

    def spec_in_window(self, window: int, rank: int) -> ArchSpec:
        """The member with a rank from 0 to `histogram[window] - 1`."""


class Members(Protocol):
    """Interface between a space and its members."""

    canonical_size: int
    total: int

    @property
    def rejected(self) -> dict[str, int]:
        """Numbers of choices beyond each end of each budget."""

    @property
    def bins(self) -> tuple[list[int], list[int]]:
        """Edges and counts of the exact histogram of members over params."""

    def contains(self, spec: ArchSpec) -> bool:
        """Whether a network is a member."""

    def at(self, index: int) -> ArchSpec:
        """The member with an index from 0 to `total - 1`."""

    def index(self, spec: ArchSpec) -> int | None:
        """The index of a member, None for anything else."""

    def is_choice(self, spec: ArchSpec) -> bool:
        """Whether the choices make this network, within budget or not."""

    def by_name(self) -> Iterator[Priced]:
        """All members in the order of their names, streamed."""

    def costs(self) -> Iterator[Integers]:
        """Params, macs and depth of all members, in chunks: arrays (3, n)."""

    def extreme(self, which: str) -> Member:
        """`fewest_params`, `most_params`, `fewest_macs` or `most_macs`; there must be a member."""

    def candidate_range(self) -> tuple[Integers, Integers]:
        """Least and most params, macs and depth of all choices, whatever the budgets."""

    def windows(self, edges: Integers) -> Histogram:
        """Members counted between edges of params."""

    def dimensions(self) -> dict[str, tuple[Any, ...]]:
        """Every decision with its possible values."""

    def choices(self, spec: ArchSpec) -> dict[str, Any]:
        """The decisions that make a network of the choices."""

    def from_choices(self, decisions: Mapping[str, Any]) -> ArchSpec:
        """The network that decisions make."""

    def neighbours(self, spec: ArchSpec) -> list[ArchSpec]:
        """Networks of the choices that differ in one decision."""

    def nearest(self, spec: ArchSpec, excluded: frozenset[str]) -> ArchSpec | None:
        """The member nearest to a network."""


def members_of(definition: SpaceDefinition) -> Members:
    """The members that a definition has.

    Raises:
        SpaceError: they are too many to count.
    """
    return ListedMembers(definition) if definition.architectures else ChosenMembers(definition)


def _ends(budget: CountRange) -> tuple[int, int]:
    return budget.low or 0, MAX_COUNT if budget.high is None else budget.high


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
        work = sum(listed(chain, best_cut(chain)) for chain in self._chains)
        if work > MAX_LISTED:
            raise SpaceError(
                f"{definition.name}: these choices need {work:,} partial networks to be listed for an exact count, "
                f"and at most {MAX_LISTED:,} may; list fewer values"
            )
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
        for which in AXES:
            best = outermost(self._census.units(), which, _name_of)
            assert best is not None, "a space has a member"
            found[which] = Member(best[2], best[0], best[1])
        return found

    def candidate_range(self) -> tuple[Integers, Integers]:
        """Least and most params, macs and depth of all choices."""
        ranges = [chain.candidate_range() for chain in self._chains]
        return np.min([low for low, _ in ranges], axis=0), np.max([high for _, high in ranges], axis=0)

    def windows(self, edges: Integers) -> Histogram:
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
        """By steps on the lists of choices, then by params, then by name."""
        target = proposals.snap(self._definition, spec)
        if str(target) not in excluded and self.contains(target):
            return target
        wanted = self._params(target)
        far = proposals.distances(self._definition, target)
        ranked: dict[int, Ranked] = {}
        shells = [
            Shells(prices, box, far.to(chain.family.name, chain.k), self._ranked(prices, far, ranked))
            for chain, box, prices in zip(self._chains, self._boxes, self._prices, strict=True)
        ]
        for distance in range(max((own.farthest for own in shells), default=-1) + 1):
            try:
                found = nearby.nearest(shells, wanted, excluded, distance)
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
                    nearer = _nearest_params(unit, box, queries, points, wanted, limit, excluded)
                    if nearer is not None:
                        found = nearer if found is None else min(found, nearer)
            if found is not None:
                return parse(found[1])
        return None

    def _params(self, spec: ArchSpec) -> int:
        found = self._find(spec)
        return int(found[0].costs_of(found[1])[0]) if found else cost.cost(spec, self._definition.dataset).params

    @cached_property
    def _places(self) -> dict[Chain, list[proposals.Places]]:
        """Places of each chain's options in the lists of choices; one object for the same options."""
        known: dict[tuple[int, tuple[Any, ...]], proposals.Places] = {}
        for chain in self._chains:
            for i, own in enumerate(chain.options):
                if (i, own) not in known:
                    known[i, own] = proposals.Places.of(self._definition.periods[i], own)
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
        """Whether a network is a member: much cheaper than its index."""
        found = self._find(spec)
        if found is None:
            return False
        chain, digits = found
        costs = chain.costs_of(digits)[:, None]
        return bool(self._boxes[self._chains.index(chain)].keeps(costs)[0])


def chains_of(definition: SpaceDefinition) -> list[Chain]:
    """Networks that choices and constraints allow, whatever the budgets: a chain per family and growth rate."""
    return sorted(_chains(definition), key=lambda chain: chain.family.prefix(chain.k))


def box_of(definition: SpaceDefinition, chain: Chain) -> Box:
    """The budgets on params, macs and depth of a chain's networks."""
    low, high = zip(*(_ends(b) for b in (definition.params, definition.macs, definition.depth)), strict=True)
    # Deeper networks cannot be built, whatever the budgets.
    deepest = min(high[2], chain.family.layers_deep(MAX_CONV_LAYERS, chain.periods))
    return Box(low, (*high[:2], deepest))


def _chains(definition: SpaceDefinition) -> Iterator[Chain]:
    for name in definition.families:
        kind = family(name)
        # A rule on k or m says nothing about networks that have neither.
        rules = [c for c in definition.constraints if kind.grows or not c.of_growth]
        for k in definition.growth_rates if kind.grows else (NO_GROWTH,):
            options = [
                within_period(kind.options(choices), i, k, rules) for i, choices in enumerate(definition.periods)
            ]
            if all(options):
                chain = Chain(definition.dataset, kind, k, options, rules)
                if chain.size:
                    yield chain


def _name_of(unit: Unit, query: int, point: int) -> str:
    return str(unit.chain.spec(unit.digits(query, point)))


def _nearest_params(
    unit: Unit, box: Box, queries: Integers, points: Integers, wanted: int, limit: int | None, excluded: frozenset[str]
) -> tuple[int, str] | None:
    """Among pairs of some queries and points, the one nearest in params that is not excluded: its gap and name."""
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
        own = gap, _name_of(unit, query, point)
        if own[1] not in excluded:
            best = own if best is None else min(best, own)
    return best


def bin_edges(low: int, high: int) -> Iterator[int]:
    """Tenths of decades from below `low` to above `high`: 10, 12, 15, 19, 25, ... rounded down."""
    for tenth in numbers():
        edge = int(10 ** (tenth / 10))
        if edge > high:
            return
        if edge >= low:
            yield edge


class ListedMembers:
    """Members of a space that lists architectures."""

    def __init__(self, definition: SpaceDefinition) -> None:
        self._definition = definition
        self._choices = {str(spec): spec for spec in definition.architectures}
        priced = []
        for name, spec in sorted(self._choices.items()):
            net = layout(spec, definition.dataset)
            counted = cost.layout_cost(net)
            priced.append(Priced(name, counted.params, counted.macs, cost.depth_of(net.rows)))
        self._costs = np.array([p[1:] for p in priced], dtype=np.int64).T
        ends = [_ends(b) for b in (definition.params, definition.macs, definition.depth)]
        box = Box(tuple(low for low, _ in ends), tuple(high for _, high in ends))  # type: ignore[arg-type]
        self._members = [p for p, kept in zip(priced, box.keeps(self._costs), strict=True) if kept]
        self._place = {p.name: i for i, p in enumerate(self._members)}
        self.canonical_size = len(priced)
        self.total = len(self._members)
        broken = [
            np.count_nonzero(side)
            for row, (low, high) in zip(self._costs, ends, strict=True)
            for side in (row < low, row > high)
        ]
        self._rejected = dict(zip(REJECTIONS, map(int, broken), strict=True))

    @property
    def rejected(self) -> dict[str, int]:
        """Listed architectures that break each end of each budget."""
        return self._rejected

    def at(self, index: int) -> ArchSpec:
        """The member with an index; the order is that of the names."""
        return self._choices[self._members[index].name]

    def index(self, spec: ArchSpec) -> int | None:
        """The index of a member, None for anything else."""
        return self._place.get(str(spec))

    def contains(self, spec: ArchSpec) -> bool:
        """Whether a network is a member."""
        return str(spec) in self._place

    def is_choice(self, spec: ArchSpec) -> bool:
        """Whether the file lists this network."""
        return str(spec) in self._choices

    def by_name(self) -> Iterator[Priced]:
        """All members in the order of their names."""
        return iter(self._members)

    def costs(self) -> Iterator[Integers]:
        """Costs of all members at once."""
        yield np.array([p[1:] for p in self._members], dtype=np.int64).T

    def extreme(self, which: str) -> Member:
        """The outermost member in one count; ties go to the other count, then to the first name."""
        axes, sign = AXES[which]
        best = min(self._members, key=lambda p: (sign * p[1 + axes[0]], sign * p[1 + axes[1]], p.name))
        return Member(*best[:3])

    def candidate_range(self) -> tuple[Integers, Integers]:
        """Least and most params, macs and depth of all that is listed."""
        return self._costs.min(axis=1), self._costs.max(axis=1)

    @property
    def bins(self) -> tuple[list[int], list[int]]:
        """Edges and counts of the histogram of members over params."""
        params = [p.params for p in self._members]
        edges = [min(params) - 1, *(e for e in bin_edges(min(params), max(params)) if e < max(params)), max(params)]
        return edges, _ListedWindows(self, np.array(edges)).histogram

    def windows(self, edges: Integers) -> Histogram:
        """Members counted between edges of params."""
        return _ListedWindows(self, edges)

    def dimensions(self) -> dict[str, tuple[Any, ...]]:
        """One decision: which architecture."""
        return {"architecture": tuple(self._choices)}

    def choices(self, spec: ArchSpec) -> dict[str, Any]:
        """The decision for an architecture of the list."""
        return {"architecture": str(spec)}

    def from_choices(self, decisions: Mapping[str, Any]) -> ArchSpec:
        """The architecture of a decision.

        Raises:
            SpaceError: another decision, or an architecture that is not listed.
        """
        if set(decisions) != {"architecture"} or decisions["architecture"] not in self._choices:
            raise SpaceError(
                f"{self._definition.name}: the only decision is architecture, one of {', '.join(self._choices)}, "
                f"but got {dict(decisions)!r}"
            )
        return self._choices[decisions["architecture"]]

    def neighbours(self, spec: ArchSpec) -> list[ArchSpec]:
        """All others: there is one decision."""
        return [other for name, other in self._choices.items() if name != str(spec)]

    def nearest(self, spec: ArchSpec, excluded: frozenset[str]) -> ArchSpec | None:
        """Itself where it is a member, otherwise the nearest in params, then the first by name."""
        wanted = cost.cost(spec, self._definition.dataset).params
        left = [p for p in self._members if p.name not in excluded]
        if not left:
            return None
        best = min(left, key=lambda p: (p.name != str(spec), abs(p.params - wanted), p.name))
        return self._choices[best.name]


class _ListedWindows:
    """Windows of listed members."""

    def __init__(self, members: ListedMembers, edges: Integers) -> None:
        self._found: list[list[ArchSpec]] = [[] for _ in edges[1:]]
        for i, priced in enumerate(members.by_name()):
            self._found[int(np.searchsorted(edges, priced.params, side="left")) - 1].append(members.at(i))
        self.histogram = [len(found) for found in self._found]

    def spec_in_window(self, window: int, rank: int) -> ArchSpec:
        return self._found[window][rank]
