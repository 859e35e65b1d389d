"""Search spaces: YAML files that state choices and budgets, and the exact set of architectures that they allow."""

from rksearch.space.counting.member import Member, Priced
from rksearch.space.definition import CountRange, PeriodChoices, SpaceDefinition
from rksearch.space.plan import RacingPlan, SearchPlan
from rksearch.space.shipped import load_space, shipped_spaces
from rksearch.space.space import Space, parse_space
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
