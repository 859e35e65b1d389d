"""Reading the `search` and `metric` keys of a space file."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from rksearch.errors import SpaceError
from rksearch.recipes.document import Entry
from rksearch.space.plan import (
    METRICS,
    OBJECTIVES,
    RANKS,
    ErrorMetric,
    RacingPlan,
    SearchPlan,
    checked_objectives,
    metric_of,
    objectives_by,
)

KEYS = ("sampler", "objectives", "racing", "replicates")
RACING_KEYS = ("rungs", "keep", "bands", "rank")


def read_metric(entry: Entry) -> ErrorMetric:
    """The value of the `metric` key.

    Raises:
        SpaceError: there is no such metric; the message names file, line, key, rule, value and remedy.
    """
    return METRICS[entry.one_of(METRICS)]


def read_plan(entry: Entry | None, samplers: Collection[str] | None, metric: ErrorMetric | None = None) -> SearchPlan:
    """The value of the `search` key; any word names a sampler where the known `samplers` are not given.

    Args:
        entry: the value; None where the key is left out.
        samplers: names of the known samplers; None to accept any.
        metric: the error that the file's key `metric` states; None where it is left out, and the objectives state it.

    Raises:
        SpaceError: a rule is broken; the message names file, line, key, rule, value and remedy.
    """
    entries = {} if entry is None else entry.mapping(required=(), optional=KEYS)
    found: dict[str, Any] = {}
    if metric is not None:
        found["objectives"] = objectives_by(metric)
    if item := entries.get("sampler"):
        found["sampler"] = item.text() if samplers is None else item.one_of(samplers)
    if item := entries.get("objectives"):
        names = item.choices(lambda e: e.one_of(OBJECTIVES))
        try:
            found["objectives"] = checked_objectives(names)
        except SpaceError as error:
            raise item.complaint(str(error), "correct the list") from None
        if metric is not None and metric != metric_of(names):
            raise item.error(
                f"metric: {metric.name} makes the error among the objectives {metric.field}",
                f"write {metric.field}, or remove one of the two keys",
            )
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
