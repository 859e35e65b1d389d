"""Progress of a run: regret to its final front as epochs and hours are spent, of the search and the control arm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rksearch.results.dominance import Reference, hypervolume, on_front
from rksearch.results.fronts import BAND
from rksearch.results.history import History
from rksearch.results.records import SEARCHED, Role
from rksearch.results.stats import central_interval
from rksearch.results.summaries import ArchSummary, CostFunction

if TYPE_CHECKING:
    from rksearch.results.uncertainty import ErrorDraws

POINTS = 50
"""Maximum number of points of each arm's curve."""

DRAWS = 500
"""Number of joint draws that the curves are made from: the first of those that everything takes."""

SEARCH_ARM = "Search"
CONTROL_ARM = "Control: networks drawn at random"

ARMS: dict[str, tuple[Role, ...]] = {SEARCH_ARM: SEARCHED, CONTROL_ARM: ("control",)}
"""Roles of the trainings of each arm, by the arm's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegretCurve:
    """Regret of what one arm had found to the final front of all arms, after several numbers of epochs.

    The regret is the distance between the two fronts in percentage points of error, mean over the logarithm of the
    cost, from the cheapest network trained to the reference point; where an arm had no network yet, it counts as
    guessing. Errors are those known at the end of the run, so that luck at the time does not count, and an arm whose
    networks got further seeds has no advantage from them. It is never negative, and 0 for an arm that found the final
    front alone; an axis of logarithms leaves such points out.

    Attributes:
        arm: name of the arm.
        epochs: epochs spent by then, those of pruned and failed trainings included; further seeds left out.
        hours: the same as work of the trials in hours, which may overlap in time.
        low, middle, high: mean of the draws, and the ends of their middle 90 %.
    """

    arm: str
    epochs: tuple[int, ...]
    hours: tuple[float, ...]
    low: tuple[float, ...]
    middle: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmProgress:
    """The networks of one arm in the order in which their first trainings were completed.

    Attributes:
        archs: canonical names.
        epochs, hours: spent by each completion, as in `RegretCurve`.
    """

    archs: tuple[str, ...]
    epochs: tuple[int, ...]
    hours: tuple[float, ...]


def arm_progress(history: History, roles: Sequence[Role]) -> ArmProgress:
    """The progress of the arm whose first trainings have these roles."""
    searched = history.plan.search_seeds if history.plan else 1
    spent, work_s = 0, 0.0
    archs, epochs, hours = dict[str, None](), list[int](), list[float]()
    for spec, result in history.trials.values():
        if spec.role not in roles or spec.replicate >= searched:
            continue
        spent += len(result.epochs)
        work_s += history.wall_time_s.get(spec.id, 0.0)
        if result.status == "complete" and spec.arch not in archs:
            archs[spec.arch] = None
            epochs.append(spent)
            hours.append(work_s / 3600)
    return ArmProgress(archs=tuple(archs), epochs=tuple(epochs), hours=tuple(hours))


def regret_curves(
    history: History, items: Sequence[ArchSummary], draws: ErrorDraws, reference: Reference, cost: CostFunction
) -> list[RegretCurve]:
    """One curve for each arm that has a complete training."""
    import numpy as np

    by_name = {item.arch: item for item in items}
    arms = {arm: found for arm, roles in ARMS.items() if (found := arm_progress(history, roles)).archs}
    every = [by_name[arch] for arch in dict.fromkeys(arch for arm in arms.values() for arch in arm.archs)]
    if not every:
        return []
    errors = draws.of(every, first=DRAWS)
    costs = np.array([cost(item) for item in every], dtype=float)
    place = {item.arch: i for i, item in enumerate(every)}
    decades = math.log10(reference.cost / costs.min())
    if decades <= 0:
        return []
    final = hypervolume(errors, costs, reference)
    curves = []
    for arm, progress in arms.items():
        columns = [place[arch] for arch in progress.archs]
        chosen = _spaced(len(columns))
        rows, known, seen = [], list[int](), 0
        for count in chosen:
            # What is on the front in no draw never will be: it adds nothing to the area, now or later.
            known += columns[seen : count + 1]
            seen = count + 1
            ever = np.flatnonzero(on_front(errors[:, known], costs[known]).any(axis=0))
            known = [known[place] for place in ever.tolist()]
            regrets = np.maximum(final - hypervolume(errors[:, known], costs[known], reference), 0) / decades
            rows.append((*central_interval(regrets, BAND), float(regrets.mean())))
        low, high, middle = zip(*rows, strict=True)
        curves.append(
            RegretCurve(
                arm=arm,
                epochs=tuple(progress.epochs[i] for i in chosen),
                hours=tuple(progress.hours[i] for i in chosen),
                low=low,
                middle=middle,
                high=high,
            )
        )
    return curves


def _spaced(count: int) -> list[int]:
    """At most `POINTS` of the indices below `count`, evenly spaced, the first and the last included."""
    if count <= POINTS:
        return list(range(count))
    return [round(i * (count - 1) / (POINTS - 1)) for i in range(POINTS)]
