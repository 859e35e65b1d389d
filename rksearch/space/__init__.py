"""Search spaces: YAML files that state choices and budgets, and the exact set of architectures that they allow.

The names here are loaded when they are first used: code that only reads a ledger needs `rksearch.space.summary` alone.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rksearch.space.counting import Member, Priced
    from rksearch.space.definition import CountRange, PeriodChoices, SpaceDefinition
    from rksearch.space.parsing import parse_space
    from rksearch.space.plan import RacingPlan, SearchPlan
    from rksearch.space.shipped import load_space, shipped_spaces
    from rksearch.space.space import Space
    from rksearch.space.text import describe_space

__all__ = [
    "CountRange",
    "Member",
    "PeriodChoices",
    "Priced",
    "RacingPlan",
    "SearchPlan",
    "Space",
    "SpaceDefinition",
    "describe_space",
    "load_space",
    "parse_space",
    "shipped_spaces",
]

_MODULES = {
    "CountRange": "definition",
    "Member": "counting",
    "PeriodChoices": "definition",
    "Priced": "counting",
    "RacingPlan": "plan",
    "SearchPlan": "plan",
    "Space": "space",
    "SpaceDefinition": "definition",
    "describe_space": "text",
    "load_space": "shipped",
    "parse_space": "parsing",
    "shipped_spaces": "shipped",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
