"""Streaming the networks of a chain in the order of their names, in constant memory.

Names are compared as text, so `k12` comes before `k8`. A name is the family and growth rate, the growth multiples and
then the methods, so the order is that of the multiples first; within them, beginnings that no ending can bring within
the budgets are not extended.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rksearch.arch.arrays import Integers
from rksearch.space.counting.box import Box
from rksearch.space.counting.chain import Chain
from rksearch.space.counting.pricing import multiples

ROWS = 1 << 15
"""Number of combinations that are examined together."""

RowChunk = tuple[Integers, Integers]
"""Some networks as rows of options (n, periods), and their costs (3, n)."""


def rows_by_name(chain: Chain, box: Box) -> Iterator[RowChunk]:
    """The networks inside the box, some at a time, all in the order of their names."""
    for growth in _multiples(chain, box, ()):
        options = [_by_method(chain, i, m) for i, m in enumerate(growth)]
        yield from _expand(chain, box, options, _remaining(chain, options), np.zeros((1, 0), np.int64), _nothing())


def _multiples(chain: Chain, box: Box, chosen: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Growth multiples of all periods, in the order in which names spell them."""
    if len(chosen) == chain.periods:
        yield chosen
        return
    i = len(chosen)
    end = "-" if i == chain.periods - 1 else "_"
    for m in sorted(set(multiples(chain.options[i]).tolist()), key=lambda m: f"{m}{end}"):
        yield from _multiples(chain, box, (*chosen, m))


def _by_method(chain: Chain, i: int, m: int) -> Integers:
    """Options of period i with this multiple, in the order in which names spell their methods."""
    end = "" if i == chain.periods - 1 else "_"
    own = np.flatnonzero(multiples(chain.options[i]) == m).tolist()
    return np.array(sorted(own, key=lambda j: chain.options[i][j].method + end), dtype=np.int64)


def _remaining(chain: Chain, options: list[Integers]) -> list[tuple[Integers, Integers]]:
    """Least and most that the periods after each can cost, links included."""
    states = [chain.state[i][own] for i, own in enumerate(options)]
    rest = [(np.zeros(3, np.int64), np.zeros(3, np.int64))]
    for i in range(chain.periods - 1, 0, -1):
        own = np.stack(chain.costs[i])[:, options[i]]
        link = chain.links[i - 1].costs[:, states[i - 1][0], states[i][0]]  # depends on the multiples alone
        rest.append((rest[-1][0] + own.min(axis=1) + link, rest[-1][1] + own.max(axis=1) + link))
    return rest[::-1]


def _nothing() -> Integers:
    return np.zeros((3, 1), np.int64)


def _expand(
    chain: Chain,
    box: Box,
    options: list[Integers],
    rest: list[tuple[Integers, Integers]],
    rows: Integers,
    costs: Integers,
) -> Iterator[RowChunk]:
    i = rows.shape[1]
    if i == chain.periods:
        yield rows, costs
        return
    own = options[i]
    added = np.stack(chain.costs[i])[:, own]
    step = max(1, ROWS // len(own))
    for start in range(0, len(rows), step):
        some, spent = rows[start : start + step], costs[:, start : start + step]
        total = spent[:, :, None] + added[:, None, :]
        kept = np.ones(total.shape[1:], dtype=bool)
        if i:
            before, after = chain.state[i - 1][some[:, -1]][:, None], chain.state[i][own][None, :]
            total = total + chain.links[i - 1].costs[:, before, after]
            kept &= chain.links[i - 1].allowed[before, after]
        for count, low, high, least, most in zip(total, box.low, box.high, *rest[i], strict=True):
            kept &= (count + least <= high) & (count + most >= low)
        row, option = np.nonzero(kept)
        if len(row):
            extended = np.concatenate([some[row], own[option][:, None]], axis=1)
            yield from _expand(chain, box, options, rest, extended, total[:, row, option])


def names(chain: Chain, rows: Integers) -> Iterator[str]:
    """The names of networks given as rows of options."""
    prefix = chain.family.prefix(chain.k)
    methods = [[option.method for option in own] for own in chain.options]
    ms = [[str(m) for m in multiples(own).tolist()] for own in chain.options]
    for row in rows.tolist():
        growth = "_".join(own[j] for own, j in zip(ms, row, strict=True)) + "-" if chain.family.grows else ""
        yield prefix + growth + "_".join(own[j] for own, j in zip(methods, row, strict=True))
