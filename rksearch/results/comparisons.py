"""Comparisons of mean errors (those that the run compares networks by), and of the baselines with the front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rksearch.results.fronts import rk_front
from rksearch.results.stats import CONFIDENCE, central_interval
from rksearch.results.summaries import ArchSummary, CostFunction, by_params

if TYPE_CHECKING:
    from rksearch.results.uncertainty import ErrorDraws

Verdict = Literal["lower", "higher", "not distinguishable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorComparison:
    """The difference between two mean errors, and whether the seeds support it.

    Attributes:
        gap_pct: error of the first minus error of the second, in percentage points; negative favours the first.
        interval_pct: 95 % interval of the true gap, from joint draws of both errors; None where the spread between
            seeds is not known. The draws allow for the luck of a searched architecture that was picked as the best, so
            that the interval need not lie around the observed gap.
        verdict: `lower` or `higher` (the first's error) when the interval leaves out zero, else `not distinguishable`.
    """

    gap_pct: float
    interval_pct: tuple[float, float] | None
    verdict: Verdict


def compare(a: ArchSummary, b: ArchSummary, draws: ErrorDraws) -> ErrorComparison:
    """Compare the mean error of `a` with that of `b`.

    The two are paired by draw, not by replicate: seeds depend on the architecture, so that two trainings of different
    architectures share nothing but the images.
    """
    gap = a.error_pct - b.error_pct
    if not draws.spread_known:
        return ErrorComparison(gap_pct=gap, interval_pct=None, verdict="not distinguishable")
    low, high = central_interval(draws.of([a])[:, 0] - draws.of([b])[:, 0], CONFIDENCE)
    verdict: Verdict = "lower" if high < 0 else "higher" if low > 0 else "not distinguishable"
    return ErrorComparison(gap_pct=gap, interval_pct=(low, high), verdict=verdict)


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineRow:
    """A baseline beside the best searched architecture that costs no more.

    Attributes:
        item: the baseline.
        rival: the searched architecture of least mean error at no more cost; None when all are costlier.
        comparison: the rival against the baseline; None without a rival.
    """

    item: ArchSummary
    rival: ArchSummary | None
    comparison: ErrorComparison | None


def baseline_rows(
    items: Sequence[ArchSummary], draws: ErrorDraws, *, cost: CostFunction = by_params
) -> list[BaselineRow]:
    """The baselines by rising cost, each with its rival."""
    rows = []
    front = rk_front(items, cost=cost)
    for baseline in sorted((i for i in items if i.is_baseline), key=lambda i: (cost(i), i.arch)):
        rivals = [f for f in front if cost(f) <= cost(baseline)]
        rival = rivals[-1] if rivals else None
        comparison = compare(rival, baseline, draws) if rival is not None else None
        rows.append(BaselineRow(item=baseline, rival=rival, comparison=comparison))
    return rows
