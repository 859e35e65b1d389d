"""Which candidates meet the budgets: exact, by pricing every one of them in chunks.

This is the only place that enumerates. It answers rank, position, counts and extremes; whatever answers the same
questions without enumerating can stand in for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from rksearch.space.definition import Budget
from rksearch.space.grid import Grid, Integers

CHUNK = 1 << 16
"""Candidates priced at a time: the arrays of a chunk fit into a processor's cache."""

MAX_CANDIDATES = 20_000_000
"""Spaces with more canonical candidates are refused: a scan would need more than a few seconds and 100 MB."""

REJECTIONS = ("too_few_params", "too_many_params", "too_few_macs", "too_many_macs")
"""Names of the ways to break the budgets."""


@dataclass(frozen=True, slots=True)
class Extremes:
    """Positions of the outermost candidates of a set; ties go to the other count, then to the lower position.

    Attributes:
        fewest_params, most_params, fewest_macs, most_macs: positions in the grid; -1 for an empty set.
    """

    fewest_params: int = -1
    most_params: int = -1
    fewest_macs: int = -1
    most_macs: int = -1


@dataclass(frozen=True, slots=True)
class Feasible:
    """The candidates within the budgets, as ascending positions of the grid.

    Attributes:
        positions: of the feasible candidates; the index of a candidate is its rank here.
        rejected: how many candidates break each end of each budget; one that breaks two is counted at both.
        members: extremes of the feasible candidates.
        candidates: extremes of all candidates, whatever the budgets.
    """

    positions: npt.NDArray[np.int32]
    rejected: dict[str, int]
    members: Extremes
    candidates: Extremes

    def __len__(self) -> int:
        return len(self.positions)

    def rank(self, position: int) -> int | None:
        """The index of the candidate at a position, or None where it is not feasible."""
        # A Python integer would make numpy convert the whole array before it searches.
        rank = int(np.searchsorted(self.positions, np.int32(position)))
        return rank if rank < len(self.positions) and self.positions[rank] == position else None


def chunks(count: int) -> Iterator[tuple[int, int]]:
    """(start, stop) of consecutive chunks that cover range(count)."""
    for start in range(0, count, CHUNK):
        yield start, min(start + CHUNK, count)


def scan(grid: Grid, params_budget: Budget, macs_budget: Budget) -> Feasible:
    """Prices every candidate of the grid, whose size is at most `MAX_CANDIDATES`, and keeps those within budget."""
    kept: list[npt.NDArray[np.int32]] = []
    rejected = dict.fromkeys(REJECTIONS, 0)
    members, candidates = _Outermost(), _Outermost()
    for start, (params, macs) in grid.costs_in_order(CHUNK):
        positions = np.arange(start, start + len(params), dtype=np.int32)
        feasible = np.ones(len(params), dtype=bool)
        for name, broken in zip(REJECTIONS, _broken(params, params_budget) + _broken(macs, macs_budget), strict=True):
            rejected[name] += int(np.count_nonzero(broken))
            feasible &= ~broken
        kept.append(positions[feasible])
        candidates.look_at(positions, params, macs)
        if kept[-1].size:
            members.look_at(kept[-1], params[feasible], macs[feasible])
    return Feasible(np.concatenate(kept), rejected, members.extremes(), candidates.extremes())


def _broken(counts: Integers, budget: Budget) -> list[npt.NDArray[np.bool_]]:
    never = np.zeros(counts.shape, dtype=bool)
    return [
        never if budget.low is None else counts < budget.low,
        never if budget.high is None else counts > budget.high,
    ]


@dataclass(slots=True)
class _Outermost:
    """Keeps the best (key, position) seen for each extreme."""

    best: dict[str, tuple[int, int, int]] = field(default_factory=dict)

    def look_at(self, positions: npt.NDArray[np.integer], params: Integers, macs: Integers) -> None:
        for name, first, second, sign in (
            ("fewest_params", params, macs, 1),
            ("most_params", params, macs, -1),
            ("fewest_macs", macs, params, 1),
            ("most_macs", macs, params, -1),
        ):
            tied = np.flatnonzero(first == (first.min() if sign > 0 else first.max()))
            at = int(tied[np.argmin(sign * second[tied])])
            found = (sign * int(first[at]), sign * int(second[at]), int(positions[at]))
            self.best[name] = min(self.best.get(name, found), found)

    def extremes(self) -> Extremes:
        return Extremes(**{name: position for name, (_, _, position) in self.best.items()})
