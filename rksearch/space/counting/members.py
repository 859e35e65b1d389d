"""The members of a space: the networks of its choices within the budgets, by index, by name, by size."""

from __future__ import annotations

from rksearch.space.counting.chosen import ChosenMembers
from rksearch.space.counting.listed import ListedMembers
from rksearch.space.counting.member import Members
from rksearch.space.definition import SpaceDefinition


def members_of(definition: SpaceDefinition) -> Members:
    """The members that a definition has.

    Raises:
        SpaceError: they are too many to count.
    """
    return ListedMembers(definition) if definition.architectures else ChosenMembers(definition)
