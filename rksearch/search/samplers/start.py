"""How a search begins: with what was asked for, then spread evenly over sizes."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence, Set

from rksearch.arch import parse
from rksearch.arch.cost import cost
from rksearch.space import Space

SHARE = 1 / 3
"""Share of a search that is spread evenly over sizes before its sampler takes over."""

MOST = 24
"""More than so many teach a sampler less than what it would choose itself, unless it says otherwise."""


class Start:
    """The first proposals of a search; it needs no memory of earlier sessions, whose proposals are all taken.

    Args:
        space: what may be proposed.
        trials: how many architectures the search will propose.
        seed: of the stratified sample.
        start: names of architectures to propose first; those that are not in the space are passed over.
        most: of the stratified sample.
        smallest: whether the stratified sample begins with the member of fewest parameters, in place of its own least.
            Where parameters are an objective, only equals in them can dominate that member: it belongs to the front
            whatever its error is, and nothing else reaches the hypervolume at its size.
    """

    def __init__(
        self,
        space: Space,
        *,
        trials: int,
        seed: int,
        start: Sequence[str] = (),
        most: int = MOST,
        smallest: bool = False,
    ) -> None:
        count = min(math.ceil(trials * SHARE), most, len(space))
        spread = space.sample_stratified(count, random.Random(seed))
        if smallest and spread:
            first = space.smallest.name
            replaced = min(spread, key=lambda spec: cost(spec, space.definition.dataset).params)
            spread = [parse(first), *(spec for spec in spread if spec != replaced and str(spec) != first)]
        self._left = [*feasible(space, start), *map(str, spread)]
        self._left.reverse()

    def next(self, taken: Set[str]) -> str | None:
        """The next one that is not taken; None from the end of the start on."""
        while self._left:
            arch = self._left.pop()
            if arch not in taken:
                return arch
        return None


def feasible(space: Space, names: Sequence[str]) -> list[str]:
    """Canonical names of those that are in the space.

    Raises:
        SpecError: one is no name of an architecture.
    """
    return [str(spec) for spec in map(parse, names) if spec in space]
