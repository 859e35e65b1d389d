"""Reading the `search` key of a space file."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from rksearch.errors import SpaceError
from rksearch.recipes.document import Entry
from rksearch.space.plan import OBJECTIVES, RANKS, RacingPlan, SearchPlan, checked_objectives

KEYS = ("sampler", "objectives", "racing", "replicates")
RACING_KEYS = ("rungs", "keep", "bands", "rank")


def read_plan(entry: Entry, samplers: Collection[str] | None) -> SearchPlan:
    """The value of the `search` key; any word names a sampler where the known `samplers` are not given.

    Raises:
        SpaceError: a rule is broken; the message names file, line, key, rule, value and remedy.
    """
    entries = entry.mapping(required=(), optional=KEYS)
    found: dict[str, Any] = {}
    if item := entries.get("sampler"):
        found["sampler"] = item.text() if samplers is None else item.one_of(samplers)
    if item := entries.get("objectives"):
        names = item.choices(lambda e: e.one_of(OBJECTIVES))
        try:
            found["objectives"] = checked_objectives(names)
        except SpaceError as error:
            raise item.complaint(str(error), "correct the list") from None
    if item := entries.get("racing"):
        found["racing"] = _racing(item)
    if item := entries.get("replicates"):
        found["replicates"] = item.integer(0, 1_000_000)
    return SearchPlan(**found)


def _racing(entry: Entry) -> RacingPlan | None:
    if not entry.is_mapping:
        return RacingPlan() if entry.boolean() else None
    entries = entry.mapping(required=(), optional=RACING_KEYS)
    found: dict[str, Any] = {}
    if item := entries.get("rungs"):
        found["rungs"] = tuple(sorted(item.choices(_share)))
    if item := entries.get("keep"):
        found["keep"] = _share(item)
    if item := entries.get("bands"):
        found["bands"] = item.integer(1, 100)
    if item := entries.get("rank"):
        found["rank"] = item.one_of(RANKS)
    return RacingPlan(**found)


def _share(entry: Entry) -> float:
    value = entry.number()
    if not 0 < value < 1:
        raise entry.error("a share lies between 0 and 1", "write a number such as 0.33")
    return value
