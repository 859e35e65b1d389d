"""How the hypervolume grew with the epochs spent: by the search, and by the control arm where there is one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rksearch.results.fronts import BAND, ArchSummary, Cost, Reference, interval
from rksearch.results.history import History

if TYPE_CHECKING:
    from rksearch.results.uncertainty import Draws

POINTS = 50
"""At most this many moments of each arm are shown."""

DRAWS = 500
"""Of the joint draws, how many the bands here are made from."""

ARMS = {"Search": ("known", "candidate"), "Control: networks drawn at random": ("control",)}
"""Whose trainings count to which arm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The hypervolume of what one arm had found, after each of some numbers of epochs.

    What an arm had found is judged by all that is known at the end, so that luck at the time does not count, and an arm
    whose networks got further seeds has no advantage from them.

    Attributes:
        arm: whose.
        epochs: spent by then, those of pruned and failed trainings included; further seeds left out.
        low, middle, high: median and 90 % band.
    """

    arm: str
    epochs: tuple[int, ...]
    low: tuple[float, ...]
    middle: tuple[float, ...]
    high: tuple[float, ...]


def progress(
    history: History, items: Sequence[ArchSummary], draws: Draws, reference: Reference, cost: Cost
) -> list[Progress]:
    """The arms that have a complete training."""
    import numpy as np

    from rksearch.results.uncertainty import hypervolume

    by_name = {item.arch: item for item in items}
    found = []
    for arm, roles in ARMS.items():
        moments = _moments(history, roles)
        if not moments:
            continue
        last = len(moments) - 1
        chosen = [moments[round(i * last / max(1, POINTS - 1))] for i in range(POINTS)] if last >= POINTS else moments
        rows = []
        for _, archs in chosen:
            known = [by_name[arch] for arch in archs]
            areas = hypervolume(draws.of(known)[:DRAWS], [cost(i) for i in known], reference)
            rows.append((*interval(areas, BAND), float(np.median(areas))))
        low, high, middle = zip(*rows, strict=True)
        found.append(Progress(arm=arm, epochs=tuple(e for e, _ in chosen), low=low, middle=middle, high=high))
    return found


def _moments(history: History, roles: Sequence[str]) -> list[tuple[int, list[str]]]:
    """Epochs spent and architectures found whenever an architecture's first training was complete."""
    searched = history.plan.search_seeds if history.plan else 1
    epochs, archs, out = 0, list[str](), list[tuple[int, list[str]]]()
    for spec, result in history.trials.values():
        if spec.role not in roles or spec.replicate >= searched:
            continue
        epochs += len(result.epochs)
        if result.status == "complete" and spec.arch not in archs:
            archs.append(spec.arch)
            out.append((epochs, list(archs)))
    return out
