"""The chains of a definition, and the box of budgets that each must keep to."""

from __future__ import annotations

from collections.abc import Iterator

from rksearch.arch import MAX_CONV_LAYERS
from rksearch.space.counting.box import Box
from rksearch.space.counting.chain import Chain, within_period
from rksearch.space.counting.effort import check_choices, countable
from rksearch.space.counting.member import ends_of
from rksearch.space.counting.pricing import NO_GROWTH, priced_family
from rksearch.space.definition import SpaceDefinition


def chains_of(definition: SpaceDefinition) -> list[Chain]:
    """Networks that choices and constraints allow, whatever the budgets: a chain per family and growth rate.

    Raises:
        SpaceError: they are too many to be counted.
    """
    check_choices(definition)
    return sorted(countable(definition, _chains(definition)), key=lambda chain: chain.family.prefix(chain.k))


def box_of(definition: SpaceDefinition, chain: Chain) -> Box:
    """The budgets on params, macs and depth of a chain's networks."""
    low, high = zip(*(ends_of(b) for b in (definition.params, definition.macs, definition.depth)), strict=True)
    # Deeper networks cannot be built, whatever the budgets.
    deepest = min(high[2], chain.family.layers_deep(MAX_CONV_LAYERS, chain.periods))
    return Box(low, (*high[:2], deepest))


def _chains(definition: SpaceDefinition) -> Iterator[Chain]:
    for name in definition.families:
        kind = priced_family(name)
        # A rule on k or m says nothing about networks that have neither.
        rules = [c for c in definition.constraints if kind.grows or not c.of_growth]
        listed = [kind.options(choices) for choices in definition.periods]
        for k in definition.growth_rates if kind.grows else (NO_GROWTH,):
            options = [within_period(own, i, k, rules) for i, own in enumerate(listed)]
            if all(options):
                chain = Chain(definition.dataset, kind, k, options, rules)
                if chain.size:
                    yield chain
