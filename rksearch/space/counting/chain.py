"""A family at one growth rate as a chain: options per period, and costs that are sums over periods and neighbours.

Options of a period are grouped by *state*: everything about them that the next period's costs and constraints depend
on (the growth multiple, and which neighbours the constraints allow). Given the state of one period, all that comes
before and all that comes after are independent, which makes counting possible.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from rksearch.arch import ArchSpec, Steps
from rksearch.arch.arrays import Integers
from rksearch.data.facts import Dataset
from rksearch.errors import SpaceError
from rksearch.space.counting.pricing import Alternatives, PricedFamily
from rksearch.space.format.expression import Expression

CostRange = tuple[Integers, Integers]
"""Smallest and largest params, macs, depth: two arrays (3, states)."""

MAX_PAIRS = 4_000_000
"""Maximum number of pairs of kinds of options, or of states, of a period and the next."""

INFINITY = 2**61
"""Value of a limit that is open: above every count, and sums of two still fit into 64 bits."""


@dataclass(frozen=True, slots=True)
class Link:
    """Costs between states of a period and of the next (arrays (3, states, states)), and the allowed pairs."""

    costs: Integers
    allowed: npt.NDArray[np.bool_]


class Chain:
    """All networks of one family and growth rate that the choices and constraints allow.

    Args:
        data, family, k: data set, family and growth rate; they decide the costs.
        options: options of each period, at least one, already reduced by `within_period`.
        constraints: all constraints; those that tie neighbours are applied here.

    Attributes:
        family, k: family and growth rate of the networks.
        options: options of each period; their numbers are the digits of a network.
        costs: costs of the options, by period.
        state: state of each option, by period.
        members: numbers of the options of each state, by period.
        links: costs and allowed pairs between each period and the next.
    """

    def __init__(
        self,
        data: Dataset,
        family: PricedFamily,
        k: int,
        options: Sequence[Alternatives],
        constraints: Sequence[Expression],
    ) -> None:
        self.family = family
        self.k = k
        self.options = tuple(options)
        count = len(options)
        values = [_values(own, i, k) for i, own in enumerate(options)]
        self.costs = [family.periods(data, k, own, i, i == count - 1) for i, own in enumerate(self.options)]
        allowed = [_allowed(constraints, i, values[i], values[i + 1]) for i in range(count - 1)]
        self.state, keys = [], []
        for i, own in enumerate(values):
            columns = [own[f"m{i + 1}"]]
            columns += [_classes(allowed[i - 1][0], 0)[allowed[i - 1][2]]] if i else []
            columns += [_classes(allowed[i][0], 1)[allowed[i][1]]] if i < count - 1 else []
            key, first, state = np.unique(np.stack(columns, 1), axis=0, return_index=True, return_inverse=True)
            self.state.append(state.ravel())
            keys.append((key[:, 0], first))
        self.members = [
            [np.flatnonzero(state == j) for j in range(len(key[0]))]
            for state, key in zip(self.state, keys, strict=True)
        ]
        self.links = []
        for i, ((m_in, first_in), (m_out, first_out)) in enumerate(pairwise(keys)):
            _check_pairs(len(m_in), len(m_out), i)
            grid = np.meshgrid(m_in, m_out, indexing="ij")
            costs = family.link(data, k, grid[0].ravel(), grid[1].ravel(), i)
            matrix, row, column = allowed[i]
            self.links.append(
                Link(
                    np.stack([c.reshape(grid[0].shape) for c in costs]),
                    matrix[np.ix_(row[first_in], column[first_out])],
                )
            )

    @property
    def periods(self) -> int:
        """Number of periods."""
        return len(self.options)

    def spec(self, digits: Sequence[int]) -> ArchSpec:
        """The network with these options."""
        return self.family.make(self.k, tuple(own[d] for own, d in zip(self.options, digits, strict=True)))

    @cached_property
    def _digit_of(self) -> list[dict[Steps, int]]:
        return [{option: i for i, option in enumerate(own)} for own in self.options]

    def digits(self, spec: ArchSpec) -> tuple[int, ...] | None:
        """The options that make a network, or None where the choices or the constraints do not allow it."""
        read = self.family.read(spec)
        if read is None or read[0] != self.k or len(read[1]) != self.periods:
            return None
        found = [own.get(period) for own, period in zip(self._digit_of, read[1], strict=True)]
        digits = tuple(d for d in found if d is not None)
        if len(digits) < self.periods:
            return None
        states = [int(state[d]) for state, d in zip(self.state, digits, strict=True)]
        meet = all(link.allowed[a, b] for link, (a, b) in zip(self.links, pairwise(states), strict=True))
        return digits if meet else None

    def costs_of(self, digits: Sequence[int]) -> Integers:
        """Params, macs and depth of the network with these options."""
        states = [int(state[d]) for state, d in zip(self.state, digits, strict=True)]
        total = np.zeros(3, np.int64)
        for costs, d in zip(self.costs, digits, strict=True):
            total += [int(own[d]) for own in costs]
        for link, (a, b) in zip(self.links, pairwise(states), strict=True):
            total += link.costs[:, a, b]
        return total

    @cached_property
    def size(self) -> int:
        """Number of networks."""
        counts = [len(own) for own in self.members[-1]]
        for i in range(self.periods - 2, -1, -1):
            # Python's integers do not overflow.
            after = [sum(c for c, ok in zip(counts, row, strict=True) if ok) for row in self.links[i].allowed.tolist()]
            counts = [len(own) * c for own, c in zip(self.members[i], after, strict=True)]
        return sum(counts)

    @cached_property
    def after(self) -> list[CostRange]:
        """Least and most costs of all that follows, by period and state (`INFINITY`: nothing can follow)."""
        ranges = [(np.zeros((3, len(self.members[-1])), np.int64),) * 2]
        for i in range(self.periods - 2, -1, -1):
            ranges.append(self._extend(i, ranges[-1], forward=False))
        return ranges[::-1]

    @cached_property
    def before(self) -> list[CostRange]:
        """Least and most costs of all that precedes, by period and state."""
        ranges = [(np.zeros((3, len(self.members[0])), np.int64),) * 2]
        for i in range(self.periods - 1):
            ranges.append(self._extend(i, ranges[-1], forward=True))
        return ranges

    def _extend(self, i: int, beyond: CostRange, *, forward: bool) -> CostRange:
        """Ranges across link i: costs of all that precedes period i + 1 (forward), or of all that follows period i."""
        link, source = self.links[i], i if forward else i + 1
        low, high = [end + own for end, own in zip(beyond, self._spread(source), strict=True)]
        axis = 1 if forward else 2
        shape = (slice(None), slice(None), None) if forward else (slice(None), None, slice(None))
        # A state whose members are all cut off has an impossible range, low above high.
        least = np.where(link.allowed, np.minimum(link.costs + low[shape], INFINITY), INFINITY).min(axis=axis)
        most = np.where(link.allowed, np.maximum(link.costs + high[shape], -INFINITY), -INFINITY).max(axis=axis)
        return least, most

    def _spread(self, i: int) -> CostRange:
        table = np.stack(self.costs[i])
        low = np.stack([table[:, own].min(axis=1) for own in self.members[i]], axis=1)
        high = np.stack([table[:, own].max(axis=1) for own in self.members[i]], axis=1)
        return low, high

    def candidate_range(self) -> tuple[Integers, Integers]:
        """Least and most params, macs, depth of all networks of the chain."""
        low, high = self._spread(0)
        return (low + self.after[0][0]).min(axis=1), (high + self.after[0][1]).max(axis=1)


def _values(options: Alternatives, i: int, k: int) -> dict[str, Any]:
    own: dict[str, Any] = {f"{field}{i + 1}": options.values(field) for field in ("s", "r", "share")}
    return {f"m{i + 1}": options.growth, **own, "k": np.full(len(options), k)}


def within_period(options: Alternatives, i: int, k: int, constraints: Sequence[Expression]) -> Alternatives:
    """The options of period i (counted from 0) that the constraints on this period alone allow."""
    own = [constraint for constraint in constraints if constraint.periods == (i,)]
    if not own:
        return options
    kept, values = np.ones(len(options), bool), _values(options, i, k)
    for constraint in own:
        kept &= constraint.holds(values)
    return Alternatives(options[j] for j in np.flatnonzero(kept))


def _allowed(
    constraints: Sequence[Expression], i: int, left: dict[str, Any], right: dict[str, Any]
) -> tuple[npt.NDArray[np.bool_], Integers, Integers]:
    """Allowed pairs of options of period i and the next: a matrix of kinds, and the kind of each option."""
    ties = [c for c in constraints if c.periods == (i, i + 1)]
    names = sorted({name for c in ties for name in c.variables})
    kinds = []
    for own in (left, right):
        columns = [own[name] for name in names if name in own]
        size = len(own["k"])
        table = np.stack([*columns, np.zeros(size, np.int64)], 1)
        _, first, kind = np.unique(table, axis=0, return_index=True, return_inverse=True)
        kinds.append((first, kind.ravel()))
    (first_l, kind_l), (first_r, kind_r) = kinds
    _check_pairs(len(first_l), len(first_r), i)
    values = {name: left[name][first_l][:, None] for name in (*names, "k") if name in left}
    values |= {name: right[name][first_r][None, :] for name in names if name in right}
    matrix = np.ones((len(first_l), len(first_r)), bool)
    for tie in ties:
        matrix &= tie.holds(values)
    return matrix, kind_l, kind_r


def _check_pairs(left: int, right: int, i: int) -> None:
    """Refuse tables of costs or constraints between period i and the next that would fill the memory.

    Raises:
        SpaceError: they would.
    """
    if left * right > MAX_PAIRS:
        raise SpaceError(
            f"growth multiples and constraints make {left:,} kinds of period {i + 1} and {right:,} of the next, and at "
            f"most {MAX_PAIRS:,} pairs may be looked at; list fewer values, or tie fewer decisions"
        )


def _classes(matrix: npt.NDArray[np.bool_], axis: int) -> Integers:
    """Numbers for the different rows (axis 1) or columns (axis 0) of a matrix, one for each."""
    lines = matrix if axis == 1 else matrix.T
    if not lines.shape[1]:
        return np.zeros(len(lines), np.int64)
    return np.unique(np.packbits(lines, axis=1), axis=0, return_inverse=True)[1].ravel()
