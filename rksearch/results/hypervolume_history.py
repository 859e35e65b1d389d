"""Growth of the hypervolume with the epochs spent: of the search, and of the control arm where there is one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rksearch.results.discoveries import ARMS, discoveries
from rksearch.results.dominance import Reference, hypervolume
from rksearch.results.fronts import BAND
from rksearch.results.history import History
from rksearch.results.stats import central_interval
from rksearch.results.summaries import ArchSummary, CostFunction

if TYPE_CHECKING:
    from rksearch.results.uncertainty import ErrorDraws

POINTS = 50
"""Maximum number of points of each arm's curve."""

DRAWS = 500
"""Number of joint draws that the bands are made from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HypervolumeHistory:
    """The hypervolume of the networks that one arm had found, after several numbers of epochs.

    The errors of these networks are those known at the end of the run, so that luck at the time does not count, and an
    arm whose networks got further seeds has no advantage from them.

    Attributes:
        arm: name of the arm.
        epochs: epochs spent by then, those of pruned and failed trainings included; further seeds left out.
        low, middle, high: median and 90 % band.
    """

    arm: str
    epochs: tuple[int, ...]
    low: tuple[float, ...]
    middle: tuple[float, ...]
    high: tuple[float, ...]


def hypervolume_histories(
    history: History, items: Sequence[ArchSummary], draws: ErrorDraws, reference: Reference, cost: CostFunction
) -> list[HypervolumeHistory]:
    """One history for each arm that has a complete training."""
    import numpy as np

    by_name = {item.arch: item for item in items}
    found = []
    for arm, roles in ARMS.items():
        moments = discoveries(history, roles)
        if not moments.archs:
            continue
        known = [by_name[arch] for arch in moments.archs]
        costs, drawn = [cost(item) for item in known], draws.of(known, first=DRAWS)
        last = len(known) - 1
        ends = [round(i * last / max(1, POINTS - 1)) for i in range(POINTS)] if last >= POINTS else range(len(known))
        rows = []
        for end in ends:
            areas = hypervolume(drawn[:, : end + 1], costs[: end + 1], reference)
            rows.append((*central_interval(areas, BAND), float(np.median(areas))))
        low, high, middle = zip(*rows, strict=True)
        epochs = tuple(moments.epochs[end] for end in ends)
        found.append(HypervolumeHistory(arm=arm, epochs=epochs, low=low, middle=middle, high=high))
    return found
