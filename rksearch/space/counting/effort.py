"""Limits of what is counted: whatever is within them takes less than a minute and 2 GB on one core of 2020 or later.

`tests/space/test_effort.py` counts spaces at the limits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import prod

from rksearch.errors import SpaceError
from rksearch.space.counting.chain import Chain
from rksearch.space.counting.halves import best_cut, listed
from rksearch.space.definition import CountRange, SpaceDefinition

MAX_OPTIONS = 60_000
"""Maximum number of combinations of one period's choices."""

MAX_CHAINS = 2_000
"""Maximum number of families times growth rates."""

MAX_HALVES = 2_000_000
"""Maximum number of halves listed for one unit, on either side; they decide the memory."""

MAX_S = 40.0
"""Maximum time of an exact count, as estimated from the numbers below."""

UNIT_S = 3e-3
"""Time of each unit, however small."""

LISTED_S, COMPARED_S = 0.3e-6, 8e-6
"""Time of each half that is listed, without budgets and where budgets have to be compared with."""


def check_choices(definition: SpaceDefinition) -> None:
    """Refuse choices whose options alone are too many.

    Raises:
        SpaceError: they are.
    """
    for i, period in enumerate(definition.periods, 1):
        if period.raw_size > MAX_OPTIONS:
            raise _too_large(definition, f"{period.raw_size:,} combinations for period {i}", f"{MAX_OPTIONS:,}")
    chains = len(definition.families) * max(1, len(definition.growth_rates))
    if chains > MAX_CHAINS:
        raise _too_large(definition, f"{chains:,} pairs of a family and a growth rate", f"{MAX_CHAINS:,}")


def countable(definition: SpaceDefinition, chains: Iterable[Chain]) -> Iterator[Chain]:
    """The chains, as long as counting all of them stays within the limits.

    Raises:
        SpaceError: it does not.
    """
    budgets = (definition.params, definition.macs, definition.depth)
    half_s = LISTED_S if all(budget == CountRange() for budget in budgets) else COMPARED_S
    units = halves = 0
    for chain in chains:
        cut, sizes = best_cut(chain), [len(own) for own in chain.options]
        largest = max(prod(sizes[: cut + 1]), prod(sizes[cut + 1 :]))
        if largest > MAX_HALVES:
            raise _too_large(definition, f"{largest:,} partial networks to be listed at once", f"{MAX_HALVES:,}")
        units, halves = units + len(chain.members[cut]), halves + listed(chain, cut)
        if (seconds := units * UNIT_S + halves * half_s) > MAX_S:
            need = f"{halves:,} partial networks or more in {units:,} separate counts, over {seconds:.0f} s"
            raise _too_large(definition, need, f"{MAX_S:.0f} s")
        yield chain


def _too_large(definition: SpaceDefinition, need: str, most: str) -> SpaceError:
    return SpaceError(f"{definition.name}: these choices need {need}, and at most {most} may; list fewer values")
