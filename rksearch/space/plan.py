"""How a space wants to be searched: the `search` key of its file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rksearch.errors import SpaceError
from rksearch.search.objectives import DEFAULT, ERROR
from rksearch.space.format.document import Entry
from rksearch.space.vocabulary import OBJECTIVES, RANKS, SAMPLERS


@dataclass(frozen=True, slots=True, kw_only=True)
class RacingPlan:
    """Which candidates are stopped early; see `rksearch.search.racing`.

    Attributes:
        rungs: shares of the recipe's epochs after which trials pause, rising.
        keep: share of each band that goes on from a rung.
        bands: how many bands of equal width in log-parameters; only within one are trials compared.
        rank: by the validation error at the rung, or by the sum of the training losses up to it.
    """

    # Replays on trained tables: harsher races stop what a model had chosen well, and early errors tell nothing.
    rungs: tuple[float, ...] = (1 / 3,)
    keep: float = 2 / 3
    bands: int = 8
    rank: str = "train_loss_sum"


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPlan:
    """Who chooses candidates, for what, and which are stopped early.

    Attributes:
        sampler: one of `SAMPLERS`.
        objectives: what it makes small.
        racing: None to train every candidate to the end.
        replicates: further trainings given where membership in the front is uncertain; None for a share of the
            candidates.
    """

    sampler: str = "frontier"
    objectives: tuple[str, ...] = DEFAULT
    racing: RacingPlan | None = RacingPlan()
    replicates: int | None = None


KEYS = ("sampler", "objectives", "racing", "replicates")
RACING_KEYS = ("rungs", "keep", "bands", "rank")


def read_plan(entry: Entry) -> SearchPlan:
    """The value of the `search` key.

    Raises:
        SpaceError: a rule is broken; the message names file, line, key, rule, value and remedy.
    """
    entries = entry.mapping(required=(), optional=KEYS)
    found: dict[str, Any] = {}
    if item := entries.get("sampler"):
        found["sampler"] = item.one_of(SAMPLERS)
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


def checked_objectives(names: tuple[str, ...]) -> tuple[str, ...]:
    """Two or three different objectives, the error among them.

    Raises:
        SpaceError: they are not.
    """
    if len(set(names)) != len(names) or not 2 <= len(names) <= 3 or ERROR not in names:
        raise SpaceError(f"there must be two or three objectives, {ERROR} among them, but got {', '.join(names)}")
    return names


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
