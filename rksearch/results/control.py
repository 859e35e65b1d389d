"""Verdict on the control arm: how much of the front, and at what effort, random search would have found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rksearch.results.dominance import Reference, hypervolume
from rksearch.results.history import History
from rksearch.results.progress import ARMS, CONTROL_ARM, SEARCH_ARM, ArmProgress, arm_progress
from rksearch.results.stats import CONFIDENCE, central_interval
from rksearch.results.summaries import ArchSummary, CostFunction, by_params

if TYPE_CHECKING:
    from rksearch.arch.arrays import Floats
    from rksearch.results.uncertainty import ErrorDraws

DEALS = 1_999
"""Number of random deals of the networks to two arms."""

ControlAnswer = Literal["search better", "random better", "not distinguishable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlVerdict:
    """The control arm beside the search, both cut where the one that spent less had spent all.

    Everything is judged by what is known at the end, with the draws of true errors that all tables share. Intervals are
    95 %, for the networks that were trained; they are None where the spread between seeds is not known. Which networks
    random search drew is chance as well: `chance` says how easily networks of one kind, dealt to two arms at random,
    would lie as far apart.

    Attributes:
        epochs: epochs of first trainings that each arm is granted.
        searched, drawn: networks that search and control had completed by then.
        matched, matched_interval: share of the range of log-costs in which the control's front is as low as the
            search's, median of the draws.
        gap_pct, gap_interval_pct: error of the control's front less that of the search's, in percentage points, mean
            over the log-cost; positive favours the search.
        effort, effort_interval: epochs after which the search had a front of at least the control's final hypervolume,
            as a share of `epochs`, median of the draws; infinite where it had none.
        chance: share of random deals of all these networks to two arms of the same sizes in which the gap is as large,
            on either side.
        answer: one arm is better where the interval of the gap leaves out zero and `chance` is below 5 %.
    """

    epochs: int
    searched: int
    drawn: int
    matched: float
    matched_interval: tuple[float, float] | None
    gap_pct: float
    gap_interval_pct: tuple[float, float] | None
    effort: float
    effort_interval: tuple[float, float] | None
    chance: float
    answer: ControlAnswer


def control_verdict(
    history: History,
    items: Sequence[ArchSummary],
    draws: ErrorDraws,
    reference: Reference,
    *,
    cost: CostFunction = by_params,
) -> ControlVerdict | None:
    """The verdict; None where either arm has no complete training, or their costs do not overlap."""
    import numpy as np

    search, control = (arm_progress(history, ARMS[arm]) for arm in (SEARCH_ARM, CONTROL_ARM))
    if not search.archs or not control.archs:
        return None
    epochs = min(search.epochs[-1], control.epochs[-1])
    by_name = {item.arch: item for item in items}
    arms = [_within(arm, epochs, by_name) for arm in (search, control)]
    if not all(arms):
        return None
    errors = [draws.of(arm) for arm in arms]
    costs = [np.array([cost(item) for item in arm], dtype=float) for arm in arms]
    points = _shared_costs(costs[0], costs[1], reference.cost)
    if points is None:
        return None
    widths = np.diff(np.log10(points))
    share = widths / widths.sum()
    ours, theirs = (_least_at(e, c, points[:-1]) for e, c in zip(errors, costs, strict=True))
    gaps, matched = (theirs - ours) @ share, (theirs <= ours) @ share
    efforts = _efforts(errors, costs, search.epochs[: len(arms[0])], reference) / epochs
    known = draws.spread_known
    interval = central_interval(gaps, CONFIDENCE) if known else None
    chance = _chance(
        np.concatenate([np.median(e, axis=0) for e in errors]), np.concatenate(costs), len(arms[0]), points[-1]
    )
    answer: ControlAnswer = "not distinguishable"
    if interval is not None and chance < 1 - CONFIDENCE:
        answer = "search better" if interval[0] > 0 else "random better" if interval[1] < 0 else answer
    return ControlVerdict(
        epochs=epochs,
        searched=len(arms[0]),
        drawn=len(arms[1]),
        matched=float(np.median(matched)),
        matched_interval=central_interval(matched, CONFIDENCE) if known else None,
        gap_pct=float(np.median(gaps)),
        gap_interval_pct=interval,
        effort=float(np.quantile(efforts, 0.5, method="lower")),
        effort_interval=_middle(efforts) if known else None,
        chance=chance,
        answer=answer,
    )


def _within(arm: ArmProgress, epochs: int, by_name: dict[str, ArchSummary]) -> list[ArchSummary]:
    """Networks that an arm had completed after this number of epochs."""
    return [by_name[arch] for arch, spent in zip(arm.archs, arm.epochs, strict=True) if spent <= epochs]


def _shared_costs(first: Floats, second: Floats, end: float) -> Floats | None:
    """Costs at which either front may fall, from the first at which both have a network; None without such a range."""
    import numpy as np

    begin = max(first.min(), second.min())
    end = max(end, float(first.max()), float(second.max()))
    inner = np.unique(np.concatenate([first, second]))
    points = np.unique(np.concatenate([[begin], inner[(inner > begin) & (inner < end)], [end]]))
    return points if len(points) > 1 else None


def _least_at(errors_pct: Floats, costs: Floats, points: Floats) -> Floats:
    """Least error of the architectures that cost no more than each point: (draws, points)."""
    import numpy as np

    order = np.argsort(costs, kind="stable")
    least = np.minimum.accumulate(errors_pct[:, order], axis=1)
    found: Floats = least[:, np.searchsorted(costs[order], points, side="right") - 1]
    return found


def _chance(errors_pct: Floats, costs: Floats, searched: int, end: float) -> float:
    """Share of deals in which the fronts of two arms lie at least as far apart as those of the real arms.

    Args:
        errors_pct, costs: of all networks, those of the search first.
        searched: number of those.
        end: cost up to which fronts are compared.
    """
    import numpy as np

    generator = np.random.default_rng(0)
    first = np.zeros((DEALS + 1, len(costs)), dtype=bool)
    first[0, :searched] = True
    for deal in first[1:]:
        deal[generator.permutation(len(costs))[:searched]] = True
    order = np.argsort(costs, kind="stable")
    widths = np.diff(np.log10(costs[order]), append=np.log10(end))
    ours, theirs = (
        np.minimum.accumulate(np.where(mask[:, order], errors_pct[order], np.inf), axis=1) for mask in (first, ~first)
    )
    both = np.isfinite(ours) & np.isfinite(theirs)
    gaps = np.where(both, np.where(both, theirs, 0.0) - np.where(both, ours, 0.0), 0.0) @ widths
    # The mean over the costs at which both arms have a network.
    gaps = np.abs(gaps / np.maximum(both @ widths, 1e-12))
    return float((gaps >= gaps[0] - 1e-12).mean())


def _efforts(errors: Sequence[Floats], costs: Sequence[Floats], epochs: Sequence[int], reference: Reference) -> Floats:
    """Epochs after which the search had reached the control's hypervolume, in each draw; infinite where it had not."""
    import numpy as np

    goal = hypervolume(errors[1], costs[1], reference)
    found = np.full(len(goal), np.inf)
    # The front only grows, so that a search among the completions takes a few steps for all draws together.
    low, high = np.zeros(len(goal), dtype=int), np.full(len(goal), len(epochs))
    while (low < high).any():
        for count in np.unique((low + high)[low < high] // 2):
            mine = (low < high) & ((low + high) // 2 == count)
            reached = hypervolume(errors[0][mine][:, : count + 1], costs[0][: count + 1], reference) >= goal[mine]
            at = np.flatnonzero(mine)
            high[at[reached]] = count
            low[at[~reached]] = count + 1
    there = low < len(epochs)
    found[there] = np.asarray(epochs, dtype=float)[low[there]]
    return found


def _middle(values: Floats) -> tuple[float, float]:
    """Ends of the middle 95 %, of values that may be infinite: some of the values themselves."""
    import numpy as np

    ends = np.quantile(values, ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2), method="lower")
    return float(ends[0]), float(ends[1])
