"""From finished trials to architectures, to the front of the best ones, to comparisons with the baselines.

Pure Python, used by the search (which architectures deserve more seeds) and by the report. Errors are top-1, in
percent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

from rksearch.arch import parse
from rksearch.results.history import History
from rksearch.results.records import Role, TrialResult, TrialSpec
from rksearch.results.stats import mean, sample_sd

if TYPE_CHECKING:
    from rksearch.results.uncertainty import Array, Draws

T = TypeVar("T")

CONFIDENCE = 0.95
"""Of the intervals of differences between two architectures."""

BAND = 0.90
"""Of the band of a hypervolume."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchSummary:
    """What is known about one architecture, over all its complete trainings.

    Attributes:
        arch: canonical name.
        family: machine name of the family.
        role: the first of `baseline`, `known`, `candidate` and `control` that any of its trials has.
        seeds: complete trainings, those for the test set left out.
        val_error_pct: mean over seeds of the last epoch's validation error.
        val_error_sd_pct: sample standard deviation over seeds; None for one seed.
        params, params_paper, macs, fvcore_flops: closed-form counts.
        val_errors_pct: the last epoch's validation error of each complete training, by replicate.
        test_error_pct, test_error_sd_pct, test_seeds: the same on the test set, over the trainings it was read for; of
            several readings for one training the first counts. Trainings of role `final` saw more images, so that
            where there are any they alone count.
        train_time_s: mean time of one training, validation left out.
        trial_ids: ids of the complete trials, by replicate.
    """

    arch: str
    family: str
    role: Role
    seeds: int
    val_error_pct: float
    val_error_sd_pct: float | None
    params: int
    params_paper: int
    macs: int
    fvcore_flops: int
    test_error_pct: float | None
    test_error_sd_pct: float | None
    test_seeds: int
    train_time_s: float
    trial_ids: tuple[str, ...]
    val_errors_pct: tuple[float, ...]

    @property
    def is_searched(self) -> bool:
        """Whether it may stand on the front: neither a baseline nor of the control arm alone."""
        return self.role in ("known", "candidate")

    @property
    def is_baseline(self) -> bool:
        """Whether it is compared with, rather than searched."""
        return self.role == "baseline"


Cost = Callable[[ArchSummary], float]


def by_params(item: ArchSummary) -> float:
    """The cost of the main front: all parameters."""
    return item.params


def by_macs(item: ArchSummary) -> float:
    """The cost of the second front: multiply-adds of one image."""
    return item.macs


RANKED_ROLES: tuple[Role, ...] = ("baseline", "known", "candidate", "control")
"""Whoever has several roles has the first of these."""


def summarise(history: History) -> list[ArchSummary]:
    """One summary per architecture with at least one complete trial, in the order of first completion.

    A network of the control arm that the search has trained as well has the seeds of both.
    """
    groups: dict[str, list[tuple[TrialSpec, TrialResult]]] = {}
    for spec, result in history.trials.values():
        if result.status == "complete" and spec.role != "final":
            groups.setdefault(spec.arch, []).append((spec, result))
    readings: dict[str, float] = {}
    for test in history.tests:
        readings.setdefault(test.trial, test.result.test_error_pct)
    final: dict[str, list[float]] = {}
    for spec, _ in history.trials.values():
        if spec.role == "final" and spec.id in readings:
            final.setdefault(spec.arch, []).append(readings[spec.id])
    return [_summary(arch, pairs, readings, final.get(arch, [])) for arch, pairs in groups.items()]


def _summary(
    arch: str, pairs: list[tuple[TrialSpec, TrialResult]], readings: dict[str, float], final: list[float]
) -> ArchSummary:
    pairs = sorted(pairs, key=lambda pair: pair[0].replicate)
    roles = {spec.role for spec, _ in pairs}
    first = pairs[0][1]
    errors = [result.epochs[-1].val_error_pct for _, result in pairs]
    tests = final or [readings[spec.id] for spec, _ in pairs if spec.id in readings]
    role = next(role for role in RANKED_ROLES if role in roles)
    return ArchSummary(
        arch=arch,
        family=parse(arch).family,
        role=role,
        seeds=len(pairs),
        val_error_pct=mean(errors),
        val_error_sd_pct=sample_sd(errors),
        params=first.params or 0,
        params_paper=first.params_paper or 0,
        macs=first.macs or 0,
        fvcore_flops=first.fvcore_flops or 0,
        test_error_pct=mean(tests) if tests else None,
        test_error_sd_pct=sample_sd(tests),
        test_seeds=len(tests),
        train_time_s=mean([math.fsum(e.train_time_s for e in result.epochs) for _, result in pairs]),
        trial_ids=tuple(spec.id for spec, _ in pairs),
        val_errors_pct=tuple(errors),
    )


def pareto(items: Iterable[T], *, cost: Callable[[T], float], error: Callable[[T], float]) -> list[T]:
    """The items that no other item dominates, by rising cost.

    One item dominates another when it is nowhere worse and somewhere better. Items that are equal in both therefore do
    not dominate one another: all of them are kept, in the order given. Of items with equal cost only those with the
    least error are kept, of items with equal error only those with the least cost. An item whose cost or error is NaN
    cannot be compared and is left out.
    """
    comparable = [item for item in items if not (math.isnan(cost(item)) or math.isnan(error(item)))]
    front: list[T] = []
    best: tuple[float, float] | None = None
    for item in sorted(comparable, key=lambda i: (cost(i), error(i))):
        point = (cost(item), error(item))
        if best is None or point[1] < best[1] or point == best:
            front.append(item)
            best = point
    return front


def rk_front(items: Iterable[ArchSummary], *, cost: Cost = by_params) -> list[ArchSummary]:
    """The front of cost and mean validation error among what the search has found and the paper's configurations."""
    return pareto((i for i in items if i.is_searched), cost=cost, error=lambda i: i.val_error_pct)


def membership(items: Sequence[ArchSummary], *, cost: Cost = by_params, resamples: int = 1000) -> dict[str, float]:
    """For each architecture that is not a baseline, the probability that it is on the front of true errors.

    The share of draws of the model in `rksearch.results.uncertainty` in which it is; the same items give the same
    shares in whatever order they come. Where no architecture has two seeds yet, the spread between seeds is a guess.
    """
    from rksearch.results.uncertainty import draw, front_shares  # numpy: not needed to read a ledger

    return front_shares(draw(items, resamples=resamples), items, cost)


def dominates(a: ArchSummary, b: ArchSummary, *, cost: Cost = by_params) -> bool:
    """Whether `a` is at most as costly and at most as wrong as `b`, and better in one of the two; by means alone."""
    no_worse = cost(a) <= cost(b) and a.val_error_pct <= b.val_error_pct
    return no_worse and (cost(a) < cost(b) or a.val_error_pct < b.val_error_pct)


Verdict = Literal["lower", "higher", "not distinguishable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The difference between two mean validation errors, and whether the seeds support it.

    Attributes:
        gap_pct: error of the first minus error of the second, in percentage points; negative favours the first.
        interval_pct: 95 % interval of the true gap, from joint draws of both errors; None where the spread between
            seeds is not known. The draws allow for a searched architecture having been picked for its luck, so that
            the interval need not lie around the gap that was seen.
        verdict: `lower` or `higher` (the first's error) when the interval leaves out zero, else `not distinguishable`.
    """

    gap_pct: float
    interval_pct: tuple[float, float] | None
    verdict: Verdict


def compare(a: ArchSummary, b: ArchSummary, draws: Draws) -> Comparison:
    """Mean validation error of `a` against that of `b`.

    The two are paired by draw, not by replicate: seeds depend on the architecture, so that two trainings of different
    architectures share nothing but the images.
    """
    gap = a.val_error_pct - b.val_error_pct
    if not draws.spread_known:
        return Comparison(gap_pct=gap, interval_pct=None, verdict="not distinguishable")
    low, high = interval(draws.of([a])[:, 0] - draws.of([b])[:, 0], CONFIDENCE)
    verdict: Verdict = "lower" if high < 0 else "higher" if low > 0 else "not distinguishable"
    return Comparison(gap_pct=gap, interval_pct=(low, high), verdict=verdict)


def interval(values: Array, confidence: float) -> tuple[float, float]:
    """The ends between which the middle `confidence` of the values lies."""
    import numpy as np

    low, high = np.quantile(values, ((1 - confidence) / 2, (1 + confidence) / 2))
    return float(low), float(high)


def front_range(errors_pct: Array, confidence: float) -> tuple[list[float], list[float]]:
    """Between which errors the least error up to each column lies in the middle `confidence` of the rows.

    Args:
        errors_pct: (draws, architectures), by rising cost.
        confidence: share of the draws.
    """
    import numpy as np

    least = np.minimum.accumulate(errors_pct, axis=1)
    low, high = np.quantile(least, ((1 - confidence) / 2, (1 + confidence) / 2), axis=0)
    return low.tolist(), high.tolist()


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontRow:
    """An architecture on the front.

    Attributes:
        item: the architecture.
        beaten_by: baselines that dominate it, by rising cost; empty when none does.
    """

    item: ArchSummary
    beaten_by: tuple[str, ...]


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
    comparison: Comparison | None


def front_rows(items: Sequence[ArchSummary], *, cost: Cost = by_params) -> list[FrontRow]:
    """The front by rising cost, each with the baselines that dominate it."""
    baselines = sorted((i for i in items if i.is_baseline), key=lambda i: (cost(i), i.arch))
    return [
        FrontRow(item=f, beaten_by=tuple(b.arch for b in baselines if dominates(b, f, cost=cost)))
        for f in rk_front(items, cost=cost)
    ]


def baseline_rows(items: Sequence[ArchSummary], draws: Draws, *, cost: Cost = by_params) -> list[BaselineRow]:
    """The baselines by rising cost, each with its rival."""
    rows = []
    front = rk_front(items, cost=cost)
    for baseline in sorted((i for i in items if i.is_baseline), key=lambda i: (cost(i), i.arch)):
        rivals = [f for f in front if cost(f) <= cost(baseline)]
        rival = rivals[-1] if rivals else None
        comparison = compare(rival, baseline, draws) if rival is not None else None
        rows.append(BaselineRow(item=baseline, rival=rival, comparison=comparison))
    return rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """The corner up to which a hypervolume is counted: a cost and an error that count as bad."""

    cost: float
    error_pct: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HypervolumeBand:
    """Area between the front and the reference point, in percent times decades of cost.

    Attributes:
        of_means: that of the front of mean errors; optimistic, because the front picks the lucky.
        expected: the median over draws of the true errors.
        band: between which 90 % of the draws lie; None where the spread between seeds is not known.
        reference: up to where the area counts.
    """

    of_means: float
    expected: float
    band: tuple[float, float] | None
    reference: Reference


def hypervolume_band(
    items: Sequence[ArchSummary], draws: Draws, reference: Reference, *, cost: Cost = by_params
) -> HypervolumeBand | None:
    """The hypervolume of the architectures that may stand on the front; None where there are none."""
    import numpy as np

    from rksearch.results.uncertainty import hypervolume

    searched = [i for i in items if i.is_searched]
    if not searched:
        return None
    costs = [cost(i) for i in searched]
    areas = hypervolume(draws.of(searched), costs, reference)
    means = np.array([[i.val_error_pct for i in searched]])
    return HypervolumeBand(
        of_means=float(hypervolume(means, costs, reference)[0]),
        expected=float(np.median(areas)),
        band=interval(areas, BAND) if draws.spread_known else None,
        reference=reference,
    )


def size_band(params: int) -> tuple[int, int]:
    """The band [low, high) of sizes that holds `params`, with edges 1, 2, 5, 10, 20, 50, ...

    Raises:
        ValueError: `params` is below 1.
    """
    if params < 1:
        raise ValueError(f"params must be at least 1, but got {params}")
    decade = 10 ** (len(str(params)) - 1)
    low = max(step * decade for step in (1, 2, 5) if step * decade <= params)
    return low, low * 5 // 2 if str(low)[0] == "2" else low * 2


def best_per_band(items: Iterable[ArchSummary]) -> dict[tuple[int, int], ArchSummary]:
    """The searched architecture of least mean error in each size band that has one, by rising size."""
    best: dict[tuple[int, int], ArchSummary] = {}
    for item in items:
        if not item.is_searched:
            continue
        band = size_band(item.params)
        if band not in best or item.val_error_pct < best[band].val_error_pct:
            best[band] = item
    return dict(sorted(best.items()))
