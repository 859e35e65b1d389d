"""Limits of what is counted: whatever is within them takes less than a minute and 2 GB on one core of 2020 or later.

`tests/space/test_effort.py` counts spaces at the limits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import prod

from rksearch.errors import SpaceError
from rksearch.space.counting.chain import Chain
from rksearch.space.counting.halves import best_cut, listed
from rksearch.space.definition import SpaceDefinition

MAX_OPTIONS = 200_000
"""Maximum number of combinations of one period's choices."""

MAX_CHAINS = 2_000
"""Maximum number of families times growth rates."""

MAX_UNITS = 12_000
"""Maximum number of units, over all chains; each is counted by itself."""

MAX_LISTED = 200_000_000
"""Maximum number of halves listed while counting, before budgets cut them, over all units."""

MAX_HALVES = 2_000_000
"""Maximum number of halves listed for one unit, on either side."""


def check_choices(definition: SpaceDefinition) -> None:
    """Refuse choices whose options alone are too many.

    Raises:
        SpaceError: they are.
    """
    for i, period in enumerate(definition.periods, 1):
        if period.raw_size > MAX_OPTIONS:
            raise _too_large(definition, f"{period.raw_size:,} combinations for period {i}", MAX_OPTIONS)
    chains = len(definition.families) * max(1, len(definition.growth_rates))
    if chains > MAX_CHAINS:
        raise _too_large(definition, f"{chains:,} pairs of a family and a growth rate", MAX_CHAINS)


def countable(definition: SpaceDefinition, chains: Iterable[Chain]) -> Iterator[Chain]:
    """The chains, as long as counting all of them stays within the limits.

    Raises:
        SpaceError: it does not.
    """
    units = work = 0
    for chain in chains:
        cut, sizes = best_cut(chain), [len(own) for own in chain.options]
        largest = max(prod(sizes[: cut + 1]), prod(sizes[cut + 1 :]))
        units, work = units + len(chain.members[cut]), work + listed(chain, cut)
        for found, most, what in (
            (largest, MAX_HALVES, "partial networks to be listed at once"),
            (work, MAX_LISTED, "partial networks to be listed"),
            (units, MAX_UNITS, "separate counts, one for each growth rate, growth multiple and kind of constraint,"),
        ):
            if found > most:
                raise _too_large(definition, f"{found:,} {what} for an exact count", most)
        yield chain


def _too_large(definition: SpaceDefinition, need: str, most: int) -> SpaceError:
    return SpaceError(f"{definition.name}: these choices need {need}, and at most {most:,} may; list fewer values")
