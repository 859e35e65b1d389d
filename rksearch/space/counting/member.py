"""The interface between a space and its members, whichever way they are counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count as numbers
from typing import Any, NamedTuple, Protocol

from rksearch.arch import ArchSpec
from rksearch.arch.arrays import Integers
from rksearch.space.definition import MAX_COUNT, CountRange

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


class Windows(Protocol):
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
        """The member with `fewest_params`, `most_params`, `fewest_macs` or `most_macs`; there must be one."""

    def candidate_range(self) -> tuple[Integers, Integers]:
        """Least and most params, macs and depth of all choices, whatever the budgets."""

    def windows(self, edges: Integers) -> Windows:
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


def ends_of(budget: CountRange) -> tuple[int, int]:
    """Both ends of a range as counts, open ones included."""
    return budget.low or 0, MAX_COUNT if budget.high is None else budget.high


def bin_edges(low: int, high: int) -> Iterator[int]:
    """Tenths of decades from below `low` to above `high`: 10, 12, 15, 19, 25, ... rounded down."""
    for tenth in numbers():
        edge = int(10 ** (tenth / 10))
        if edge > high:
            return
        if edge >= low:
            yield edge
