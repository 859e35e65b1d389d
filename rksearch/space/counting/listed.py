"""Members of a space that lists architectures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from rksearch.arch import ArchSpec, cost
from rksearch.arch.arrays import Integers
from rksearch.arch.layout import layout
from rksearch.errors import SpaceError
from rksearch.space.counting.box import Box
from rksearch.space.counting.extremes import AXES
from rksearch.space.counting.member import REJECTIONS, Member, Priced, Windows, bin_edges, ends_of
from rksearch.space.definition import SpaceDefinition


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
        ends = [ends_of(b) for b in (definition.params, definition.macs, definition.depth)]
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

    def windows(self, edges: Integers) -> Windows:
        """Members counted between edges of params."""
        return _ListedWindows(self, edges)

    def dimensions(self) -> dict[str, tuple[Any, ...]]:
        """The one decision: the architecture."""
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
        """All other members, because there is one decision."""
        return [other for name, other in self._choices.items() if name != str(spec)]

    def nearest(self, spec: ArchSpec, excluded: frozenset[str]) -> ArchSpec | None:
        """The network itself where it is a member, otherwise the member nearest in params, then first by name."""
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
