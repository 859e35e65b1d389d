"""Every combination of choices, equivalent ones once, as the whole numbers from 0 to size - 1.

A candidate is a row of digits: family, growth rate k, and one option (m, s, r, share) per period; its position is the
number that the digits spell, the last period varying fastest. A network's cost is a sum in which every term depends
on family, k and at most two neighbouring periods, so small tables price any set of positions by look-ups.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import pairwise
from math import prod
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rksearch import cost
from rksearch.space.definition import SpaceDefinition
from rksearch.spec import ArchSpec, RKNet

Integers = npt.NDArray[np.int64]
Priced = tuple[Integers, Integers]
"""Parameters and multiply-adds."""

Digits = list[npt.NDArray[np.integer]]


class Grid:
    """The canonical candidates of a definition, by position; budgets are not looked at here.

    Attributes:
        families, growth_rates: values of the first two digits, ascending.
        options: values of each further digit, one tuple per period; m varies slowest.
        size: number of candidates.
    """

    def __init__(self, definition: SpaceDefinition) -> None:
        self.families = definition.families
        self.growth_rates = definition.growth_rates
        self.options = tuple(p.options() for p in definition.periods)
        self.radices = (len(self.families), len(self.growth_rates), *(len(o) for o in self.options))
        self.size = prod(self.radices)
        self._digit_of = tuple({option: i for i, option in enumerate(options)} for options in self.options)
        self._methods = tuple(len(p.methods()) for p in definition.periods)
        self._definition = definition
        self._m_counts = tuple(len(p.m) for p in definition.periods)

    def spec(self, position: int) -> RKNet:
        """The candidate at a position from 0 to size - 1."""
        digits = []
        for radix in reversed(self.radices):
            position, digit = divmod(position, radix)
            digits.append(digit)
        family, k, *options = reversed(digits)
        return RKNet(
            growth_rate=self.growth_rates[k],
            periods=tuple(choices[i] for choices, i in zip(self.options, options, strict=True)),
            bottleneck=self.families[family] == "dense_bc",
        )

    def position(self, spec: ArchSpec) -> int | None:
        """The position of a spec, or None where the choices do not spell it."""
        if (
            not isinstance(spec, RKNet)
            or spec.family not in self.families
            or spec.growth_rate not in self.growth_rates
            or len(spec.periods) != len(self.options)
        ):
            return None
        digits = [self.families.index(spec.family), self.growth_rates.index(spec.growth_rate)]
        for period, digit_of in zip(spec.periods, self._digit_of, strict=True):
            if period not in digit_of:
                return None
            digits.append(digit_of[period])
        position = 0
        for digit, radix in zip(digits, self.radices, strict=True):
            position = position * radix + digit
        return position

    def digits(self, positions: npt.NDArray[np.integer]) -> Digits:
        """The digits of many positions: one array per digit, family first."""
        return self._digits(positions, self.radices)

    def costs(self, positions: npt.NDArray[np.integer]) -> Priced:
        """Parameters and multiply-adds of the candidates at many positions."""
        leading, last = np.divmod(positions, positions.dtype.type(self.radices[-1]))
        row, params, macs = self._lead(leading)
        ends = self._tables.ends
        return params + ends.params[row, last], macs + ends.macs[row, last]

    def costs_in_order(self, chunk: int) -> Iterator[tuple[int, Priced]]:
        """Costs of all candidates: a first position, and the costs from there on, for about `chunk` at a time."""
        width = self.radices[-1]
        rows = max(1, chunk // width)
        for start in range(0, self.size // width, rows):
            leading = np.arange(start, min(start + rows, self.size // width), dtype=np.int64)
            row, params, macs = self._lead(leading)
            ends = self._tables.ends
            yield (
                start * width,
                ((params[:, None] + ends.params[row]).ravel(), (macs[:, None] + ends.macs[row]).ravel()),
            )

    def _lead(self, leading: npt.NDArray[np.integer]) -> tuple[npt.NDArray[np.integer], Integers, Integers]:
        """What all digits but the last settle: the row of the table of ends, and the costs of what lies before.

        `leading` are positions without their last digit.
        """
        family, k, *options = self._digits(leading, self.radices[:-1])
        block = family * len(self.growth_rates) + k
        widths = [digit // methods for digit, methods in zip(options, self._methods, strict=False)]
        params, macs = np.zeros((2, len(leading)), dtype=np.int64)
        for table, digit in zip(self._tables.periods, options, strict=True):
            params += table.params[block, digit]
            macs += table.macs[block, digit]
        for table, (m_in, m_out) in zip(self._tables.transitions, pairwise(widths), strict=True):
            params += table.params[block, m_in, m_out]
            macs += table.macs[block, m_in, m_out]
        row = block * self._m_counts[-2] + widths[-1] if widths else block
        return row, params, macs

    def _digits(self, positions: npt.NDArray[np.integer], radices: tuple[int, ...]) -> Digits:
        found: Digits = []
        for radix in reversed(radices[1:]):
            positions, digit = np.divmod(positions, positions.dtype.type(radix))
            found.append(digit)
        return [positions, *reversed(found)]

    @cached_property
    def _tables(self) -> _Tables:
        data = self._definition.dataset
        choices = self._definition.periods
        pixels = cost.areas(data, len(choices))
        blocks = [(family == "dense_bc", k) for family in self.families for k in self.growth_rates]
        periods = []
        for i, (options, area) in enumerate(zip(self.options, pixels, strict=True)):
            m, s, r, share = (np.array([getattr(o, f) for o in options], np.int64) for f in ("m", "s", "r", "share"))
            parts = [cost.period_cost(bottleneck, k, m, s, r, share, area) for bottleneck, k in blocks]
            if i == 0:
                parts = [part.plus(cost.stem_cost(data, k, m)) for part, (_, k) in zip(parts, blocks, strict=True)]
            if i == len(choices) - 1:
                parts = [part.plus(cost.head_cost(data, k, m)) for part, (_, k) in zip(parts, blocks, strict=True)]
            periods.append(_table(parts, (len(options),)))
        transitions = []
        for (before, after), area in zip(pairwise(choices), pixels[:-1], strict=True):
            m_in, m_out = np.array(before.m, np.int64)[:, None], np.array(after.m, np.int64)[None, :]
            parts = [cost.transition_cost(k, m_in, m_out, area) for _, k in blocks]
            transitions.append(_table(parts, (len(before.m), len(after.m))))
        ends = periods.pop()
        if transitions:
            width = np.arange(self.radices[-1]) // self._methods[-1]
            into = transitions.pop()
            ends = _Table(
                *(
                    (arrive[:, :, width] + last[:, None, :]).reshape(-1, self.radices[-1])
                    for arrive, last in zip(into, ends, strict=True)
                )
            )
        return _Tables(periods, transitions, ends)


class _Table(NamedTuple):
    """Parameters and multiply-adds of one part of a network; the first axis is the block, that is (family, k)."""

    params: Integers
    macs: Integers


class _Tables(NamedTuple):
    """The terms that a network's cost is the sum of.

    Attributes:
        periods: by block and option, of every period but the last; the first includes the stem.
        transitions: by block, m before and m after, of every transition but the last.
        ends: last transition, last period and head; by block and m before the transition (one axis), and option.
    """

    periods: list[_Table]
    transitions: list[_Table]
    ends: _Table


def _table(parts: list[cost.Part], shape: tuple[int, ...]) -> _Table:
    """Stacks the parts of all blocks; a count that does not depend on every axis is broadcast to the full shape."""
    return _Table(
        np.stack([np.broadcast_to(part.params, shape) for part in parts]),
        np.stack([np.broadcast_to(part.macs, shape) for part in parts]),
    )
