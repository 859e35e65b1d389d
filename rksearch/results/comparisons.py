"""Comparisons of mean errors (those that the run compares networks by), and of the baselines with the front."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rksearch.results.fronts import FrontRow, rk_front
from rksearch.results.stats import CONFIDENCE, central_interval
from rksearch.results.summaries import DIGITS, ArchSummary, CostFunction, by_macs, by_params, size_band
from rksearch.space.plan import TOP1

if TYPE_CHECKING:
    from rksearch.results.uncertainty import ErrorDraws

Verdict = Literal["lower", "higher", "not distinguishable"]

Outcome = Literal["win", "tie", "loss", "open"]
"""A comparison from the first one's side. `open`: too few seeds for an interval, so that nothing is decided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorComparison:
    """The difference between two mean errors, and whether the seeds support it.

    Attributes:
        gap_pct: error of the first minus error of the second, in percentage points; negative favours the first. 0 for
            the same number of errors.
        interval_pct: 95 % interval of the true gap, from joint draws of both errors; None where the spread between
            seeds is not known. The draws allow for the luck of a searched architecture that was picked as the best, so
            that the interval need not lie around the observed gap.
        verdict: `lower` or `higher` (the first's error) when gap and interval lie on that side of zero and the gap is
            at least one image, else `not distinguishable`.
        gap_images: the gap as a number of wrong images of a training; None where the two were not read on one number
            of images, or errors are no counts.
    """

    gap_pct: float
    interval_pct: tuple[float, float] | None
    verdict: Verdict
    gap_images: float | None = None

    @property
    def outcome(self) -> Outcome:
        """Win, tie or loss of the first; the same number of errors is a tie without an interval too."""
        if self.gap_pct == 0:
            return "tie"
        if self.interval_pct is None:
            return "open"
        outcomes: dict[Verdict, Outcome] = {"lower": "win", "higher": "loss"}
        return outcomes.get(self.verdict, "tie")


def compare(a: ArchSummary, b: ArchSummary, draws: ErrorDraws) -> ErrorComparison:
    """Compare the mean validation error of `a` with that of `b`.

    The two are paired by draw, not by replicate: seeds depend on the architecture, so that two trainings of different
    architectures share nothing but the images.
    """
    images = a.val_images if a.val_images == b.val_images and a.metric == TOP1 else None
    return _compared(a, b, a.error_pct - b.error_pct, images, draws)


def compare_tested(a: ArchSummary, b: ArchSummary, draws: ErrorDraws) -> ErrorComparison | None:
    """Compare the mean test error of `a` with that of `b`; None where it was not read for both by one kind of training.

    Trainings made for the test set saw the validation images too: beside one of the search, more images would count as
    a better network.

    Args:
        a, b: the two architectures.
        draws: draws of test errors, by `rksearch.results.uncertainty.draw_tested`.
    """
    first, second = a.tested_error_pct, b.tested_error_pct
    if first is None or second is None or a.tested_afresh != b.tested_afresh:
        return None
    images = a.test_images if a.test_images == b.test_images and a.metric == TOP1 else None
    return _compared(a, b, first - second, images, draws)


def _compared(a: ArchSummary, b: ArchSummary, gap: float, images: int | None, draws: ErrorDraws) -> ErrorComparison:
    # Two numbers of errors that are the same may differ in the last bit of their percentages.
    gap = 0.0 if abs(gap) < 10.0**-DIGITS else gap
    gap_images = None if images is None else round(gap * images / 100, 6)
    interval: tuple[float, float] | None = None
    verdict: Verdict = "not distinguishable"
    if draws.spread_known:
        interval = central_interval(draws.of([a])[:, 0] - draws.of([b])[:, 0], CONFIDENCE)
        if gap_images is None or abs(gap_images) >= 1:
            verdict = "lower" if gap < 0 and interval[1] < 0 else "higher" if gap > 0 and interval[0] > 0 else verdict
    return ErrorComparison(gap_pct=gap, interval_pct=interval, verdict=verdict, gap_images=gap_images)


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineRow:
    """A baseline beside the best searched architecture that costs no more.

    Attributes:
        item: the baseline.
        rival: the searched architecture of least mean error at no more cost; None when all are costlier.
        comparison: the rival against the baseline; None without a rival.
        tested: the same by their test errors; None where the test set was not read for both by one kind of training.
        params_ratio, macs_ratio: costs of the rival, as multiples of the baseline's; None without a rival.
    """

    item: ArchSummary
    rival: ArchSummary | None
    comparison: ErrorComparison | None
    tested: ErrorComparison | None = None
    params_ratio: float | None = None
    macs_ratio: float | None = None

    @property
    def is_half(self) -> bool:
        """Whether the rival costs more in parameters or in MACs, so that a win is half a win."""
        return max(self.params_ratio or 0.0, self.macs_ratio or 0.0) > 1

    @property
    def outcome(self) -> Outcome | None:
        """Outcome of the rival on the validation images; None without a rival."""
        return self.comparison.outcome if self.comparison else None

    @property
    def test_bears(self) -> bool | None:
        """Whether the test errors show a validation win too; None without a win, or without test errors."""
        if self.outcome != "win" or self.tested is None:
            return None
        return self.tested.outcome == "win"


def baseline_rows(
    items: Sequence[ArchSummary],
    draws: ErrorDraws,
    *,
    cost: CostFunction = by_params,
    tested: ErrorDraws | None = None,
) -> list[BaselineRow]:
    """The baselines by rising cost, each with its rival.

    Args:
        items: all architectures.
        draws: draws of their true errors.
        cost: the cost that the rival has no more of.
        tested: draws of true test errors; None where the test set was not read.
    """
    front = rk_front(items, cost=cost)
    ordered = sorted((i for i in items if i.is_baseline), key=lambda i: (cost(i), i.arch))
    return [_row(baseline, front, cost, draws, tested) for baseline in ordered]


def _row(
    baseline: ArchSummary,
    front: Sequence[ArchSummary],
    cost: CostFunction,
    draws: ErrorDraws,
    tested: ErrorDraws | None,
) -> BaselineRow:
    rivals = [f for f in front if cost(f) <= cost(baseline)]
    if not rivals:
        return BaselineRow(item=baseline, rival=None, comparison=None)
    rival = rivals[-1]
    return BaselineRow(
        item=baseline,
        rival=rival,
        comparison=compare(rival, baseline, draws),
        tested=compare_tested(rival, baseline, tested) if tested is not None else None,
        params_ratio=by_params(rival) / max(1.0, by_params(baseline)),
        macs_ratio=by_macs(rival) / max(1.0, by_macs(baseline)),
    )


def surely_dominated(rows: Iterable[FrontRow], items: Iterable[ArchSummary], draws: ErrorDraws) -> list[str]:
    """Names of the networks on a front for which some baseline that dominates them is a win by its interval too.

    Args:
        rows: the front.
        items: all architectures.
        draws: draws of their true errors.
    """
    by_name = {item.arch: item for item in items}
    return [
        row.item.arch
        for row in rows
        if any(compare(by_name[name], row.item, draws).outcome == "win" for name in row.beaten_by)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class LadderStep:
    """A step of the size ladder: the best baseline of a band of cost, and the searched architecture to beat it.

    Attributes:
        band: costs [low, high) of the band.
        row: the baseline of least mean error in the band with its rival; None in a band without a baseline.
        best: the searched architecture of least mean error in a band without a baseline; None elsewhere.
    """

    band: tuple[int, int]
    row: BaselineRow | None
    best: ArchSummary | None


def ladder(
    rows: Sequence[BaselineRow], items: Iterable[ArchSummary], *, cost: CostFunction = by_params
) -> list[LadderStep]:
    """The size ladder: one step for each band of cost that holds a baseline or a searched architecture.

    Args:
        rows: every baseline with its rival at no more of the same cost.
        items: all architectures.
        cost: the cost.
    """
    strongest: dict[tuple[int, int], BaselineRow] = {}
    for row in rows:
        band = size_band(max(1, int(cost(row.item))))
        if band not in strongest or row.item.error_pct < strongest[band].item.error_pct:
            strongest[band] = row
    best: dict[tuple[int, int], ArchSummary] = {}
    for item in items:
        if item.is_searched:
            band = size_band(max(1, int(cost(item))))
            if band not in best or (item.error_pct, cost(item)) < (best[band].error_pct, cost(best[band])):
                best[band] = item
    return [
        LadderStep(band=band, row=strongest.get(band), best=None if band in strongest else best[band])
        for band in sorted({*strongest, *best})
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Outcomes against the baselines.

    Attributes:
        wins, ties, losses, undecided: numbers of baselines that have a rival.
        unmatched: number of baselines without one.
        half_wins: wins whose rival costs more in the other cost; they count in `wins` too.
        borne, not_borne: wins that the test errors show too, and those that they do not; the rest was not read.
    """

    wins: int
    ties: int
    losses: int
    undecided: int
    unmatched: int
    half_wins: int
    borne: int
    not_borne: int


def tally(rows: Iterable[BaselineRow]) -> Tally:
    """The outcomes of several comparisons."""
    every = list(rows)
    found = [row for row in every if row.outcome is not None]
    outcomes = [row.outcome for row in found]
    bears = [row.test_bears for row in found]
    return Tally(
        wins=outcomes.count("win"),
        ties=outcomes.count("tie"),
        losses=outcomes.count("loss"),
        undecided=outcomes.count("open"),
        unmatched=len(every) - len(found),
        half_wins=sum(row.outcome == "win" and row.is_half for row in found),
        borne=bears.count(True),
        not_borne=bears.count(False),
    )
