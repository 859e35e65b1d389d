"""Effects of design choices on the error at equal budget: contrasts over matched pairs of trained architectures.

A contrast asks what happens when one factor (the stages s of period 1, say) goes from one value to the next. It is
answered over pairs of architectures, one with either value, that are matched in one of three ways:

equal parameters    their parameters differ by at most 10 %; everything else is free to differ
equal MACs          the same for multiply-adds
all else equal      no other factor differs; the costs then do, by the ratios given

With equal budget, cost spent on the factor is missing elsewhere, as in practice; with all else equal, the change comes
on top. The answer is the mean over pairs of the difference of log-odds of error, given as a ratio of odds: 0.8
means four errors where there were five. At equal budget, the remaining difference of the costs is corrected along the
trend of error over cost.

The mean over pairs is a difference of two weighted means: an architecture that stands in many pairs has more weight,
and counts as one. At equal budget the two sides are independent samples; with all else equal, what the rest of the
design does is the same on both sides, so that each set of networks that share the rest counts as one difference. The
variance is that of such means, each squared residual divided by the share of its variance that the mean leaves (HC2,
MacKinnon and White 1985), and the interval is Student's with the degrees of freedom of Bell and McCaffrey (2002): under
"nothing matters" it covers as often as it says. Spread between seeds is part of the scatter and is not modelled
separately.

Of many choices that do nothing, one will seem to do something. Limits and probabilities are therefore also adjusted by
Bonferroni, over all contrasts at equal budget, and over all with all else equal: if nothing matters, all adjusted
intervals of a family hold 1 in at least 95 % of the runs. The answer follows them. An adjusted interval leaves out 1
exactly where the adjusted probability is below 5 %; Holm's probabilities, which find a little more, would contradict
the intervals.

Which networks of a run can answer is a question by itself: see `rksearch.results.choice_sample`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np

from rksearch.arch import ArchSpec, Period, family_of, parse
from rksearch.arch.arrays import Floats
from rksearch.arch.period import LEARNED
from rksearch.results.stats import CONFIDENCE, StudentEstimate
from rksearch.results.summaries import ArchSummary
from rksearch.results.uncertainty import log_odds

if TYPE_CHECKING:
    from rksearch.results.dominance import Indices

TOLERANCE = 0.10
"""Largest difference of the budgets of a pair, as a share."""

LEAST_ARCHS = 4
"""Least number of architectures on either side that an interval is given for."""

FARTHEST = float(np.ptp(log_odds(np.array([0.0, 100.0]))))
"""Difference of the log-odds of an error of 100 % and of one of 0 %."""

Design = Literal["equal parameters", "equal MACs", "all else equal"]
DESIGNS: tuple[Design, ...] = ("equal parameters", "equal MACs", "all else equal")
EQUAL_BUDGET: tuple[Design, ...] = ("equal parameters", "equal MACs")

Answer = Literal["fewer errors", "more errors", "not distinguishable", "too few to say"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """The answer of one contrast in one design.

    Attributes:
        factor: name of the factor.
        period: its period, counted from 1; None for a choice about the whole network.
        before, after: its two values.
        design: the way in which pairs are matched.
        pairs: matched pairs.
        archs_before, archs_after: different architectures in them.
        odds_ratio: of an error, after against before; None without a pair.
        low, high: its 95 % interval by itself; None where there are too few architectures.
        params_ratio, macs_ratio: geometric means over pairs of the ratios of costs, after against before.
        answer: conclusion from the adjusted interval.
        p_value: probability of an effect at least as large if the choice did nothing; None without an interval.
        low_adjusted, high_adjusted: interval that is adjusted for the number of contrasts at equal budget (for those
            with all else equal, the number of these), by Bonferroni; None without an interval.
        p_adjusted: the probability adjusted in the same way; None without an interval.
    """

    factor: str
    period: int | None
    before: str
    after: str
    design: Design
    pairs: int
    archs_before: int
    archs_after: int
    odds_ratio: float | None
    low: float | None
    high: float | None
    params_ratio: float | None
    macs_ratio: float | None
    answer: Answer
    p_value: float | None = None
    low_adjusted: float | None = None
    high_adjusted: float | None = None
    p_adjusted: float | None = None

    @property
    def is_announced(self) -> bool:
        """Whether the effect stands in spite of the number of contrasts."""
        return self.answer in ("fewer errors", "more errors")

    @property
    def change(self) -> str:
        """The change in words: `stages s, period 1: 1 to 2`."""
        where = f", period {self.period}" if self.period else ""
        return f"{self.factor}{where}: {self.before} to {self.after}"


Factors = dict[tuple[str, int], Hashable]
"""Value of each factor, by its name and its period (0 for the whole network)."""


def effects(items: Sequence[ArchSummary]) -> list[Effect]:
    """Every contrast that the Runge-Kutta networks among `items` allow, in every design; baselines are left out."""
    sample = _Sample([item for item in sorted(items, key=lambda i: i.arch) if not item.is_baseline])
    found = []
    for factor, period, value, freed in sample.contrasts():
        values = [value(f) for f in sample.factors]
        for before, after in _steps({v for v in values if v is not None}):
            sides = [
                np.array([i for i, v in enumerate(values) if v == side], dtype=np.intp) for side in (before, after)
            ]
            for design in DESIGNS:
                matched = _matched(sample, design, sides, freed)
                found.append(_effect(sample, design, matched, factor, period or None, str(before), str(after)))
    # Those at equal budget are one family, those with all else equal another.
    numbers = Counter(effect.design in EQUAL_BUDGET for effect, own in found if own is not None)
    return [_answered(effect, own, numbers[effect.design in EQUAL_BUDGET]) for effect, own in found if effect.pairs]


def ratio_interval(own: StudentEstimate, confidence: float) -> tuple[float, float]:
    """The interval of the ratio of odds, within what the least and the largest error allow."""
    low, high = own.interval(confidence)
    # With few degrees of freedom the reach of a corrected interval is beyond what a float can hold.
    most = max(FARTHEST, abs(own.estimate))
    return math.exp(max(low, -most)), math.exp(min(high, most))


def _answered(effect: Effect, own: StudentEstimate | None, number: int) -> Effect:
    """The effect with its intervals, probabilities and answer, as one of this number of contrasts."""
    if own is None:
        return effect
    low, high = ratio_interval(own, CONFIDENCE)
    low_adjusted, high_adjusted = ratio_interval(own, 1 - (1 - CONFIDENCE) / number)
    return replace(
        effect,
        low=low,
        high=high,
        low_adjusted=low_adjusted,
        high_adjusted=high_adjusted,
        p_value=own.p_value,
        p_adjusted=min(1.0, number * own.p_value),
        answer="fewer errors" if high_adjusted < 1 else "more errors" if low_adjusted > 1 else "not distinguishable",
    )


class _Sample:
    """The architectures that have factors, with their costs and the log-odds of their errors."""

    def __init__(self, items: Sequence[ArchSummary]) -> None:
        read = [(item, found) for item in items if (found := factors_of(parse(item.arch)))]
        self.items = [item for item, _ in read]
        self.factors = [found for _, found in read]
        self.z = log_odds(np.array([item.error_pct for item in self.items], dtype=float))
        self._rests: dict[frozenset[tuple[str, int]], Indices] = {}

    @cached_property
    def log_costs(self) -> dict[Design, Floats]:
        """Natural logarithms of the costs that designs hold equal."""
        return {
            "equal parameters": np.log([max(1, item.params) for item in self.items]),
            "equal MACs": np.log([max(1, item.macs) for item in self.items]),
        }

    @cached_property
    def residuals(self) -> dict[Design, Floats]:
        """Log-odds less those expected at each architecture's cost, by a polynomial through all of them."""
        return {
            "all else equal": self.z,
            **{design: self.z - _polynomial(cost, self.z) for design, cost in self.log_costs.items()},
        }

    def taken(self, design: Design) -> float:
        """Factor on the variance of residuals for what the fit took away of it."""
        number = len(self.items)
        return number / max(1, number - _degree(self.log_costs[design]) - 1) if design in EQUAL_BUDGET else 1.0

    def rest(self, freed: frozenset[tuple[str, int]]) -> Indices:
        """Numbers that are equal for architectures in which all factors but these are equal."""
        if freed not in self._rests:
            kept = [place for place, key in enumerate(self.keys) if key not in freed]
            _, numbers = np.unique(self.codes[:, kept], axis=0, return_inverse=True)
            self._rests[freed] = numbers.reshape(-1)
        return self._rests[freed]

    @cached_property
    def keys(self) -> tuple[tuple[str, int], ...]:
        """Names and periods of all factors that any architecture has."""
        return tuple(dict.fromkeys(key for found in self.factors for key in found))

    @cached_property
    def codes(self) -> Indices:
        """A number for each factor's value, -1 where an architecture lacks the factor: (architectures, factors)."""
        columns = []
        for key in self.keys:
            numbers: dict[Hashable, int] = {}
            columns.append([numbers.setdefault(f[key], len(numbers)) if key in f else -1 for f in self.factors])
        return np.array(columns, dtype=np.intp).T.reshape(len(self.factors), len(self.keys))

    def contrasts(self) -> list[tuple[str, int, Callable[[Factors], Hashable], frozenset[tuple[str, int]]]]:
        """Name, period, value in an architecture (None: it takes no part), and the factors that may differ in pairs."""
        if not self.items:
            return []
        out: list[tuple[str, int, Callable[[Factors], Hashable], frozenset[tuple[str, int]]]] = []
        for name, period in self.keys:
            key, share = (name, period), (SHARE, period)
            if name == TIME_STEPS:
                out.append((f"{name}, own weights", period, _unshared(key, share), frozenset([key])))
                out.append((f"{name}, shared weights", period, _shared(key, share), frozenset([key, share])))
            elif name == SHARE:
                out.append((name, period, _repeated(key, (TIME_STEPS, period)), frozenset([key])))
            elif name == METHOD:
                # A method fixes its number of stages.
                out.append((name, period, _plain(key), frozenset([key, (STAGES, period)])))
            else:
                out.append((name, period, _plain(key), frozenset([key])))
        return sorted(out, key=lambda c: (_place(c[0].split(",")[0]), c[1], c[0]))


STAGES, TIME_STEPS, MULTIPLE, SHARE = "stages s", "time-steps r", "multiple m", "sharing"
METHOD, PERIODS = "method", "periods"
ORDER = (STAGES, TIME_STEPS, SHARE, MULTIPLE, METHOD, "growth rate k", "bottleneck", "family", PERIODS)
"""Factors in the order of the tables."""


def factors_of(spec: ArchSpec) -> Factors:
    """The choices that a Runge-Kutta network consists of; nothing for other families."""
    family = family_of(spec)
    periods = family.periods(spec)
    if not periods:
        return {}
    found: Factors = {(name, 0): value for name, value in family.choices(spec).items()}
    found[PERIODS, 0] = len(periods)
    for number, period in enumerate(periods, 1):
        found[STAGES, number] = period.s
        found[TIME_STEPS, number] = period.r
        found[SHARE, number] = _yes(period.share)
        found[METHOD, number] = period.method_name
        if isinstance(period, Period):
            found[MULTIPLE, number] = period.m
    return found


def _place(factor: str) -> int:
    """Position of a factor in `ORDER`; factors of a plugin's family come last."""
    return ORDER.index(factor) if factor in ORDER else len(ORDER)


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _plain(key: tuple[str, int]) -> Callable[[Factors], Hashable]:
    return lambda f: f.get(key)


def _unshared(key: tuple[str, int], share: tuple[str, int]) -> Callable[[Factors], Hashable]:
    return lambda f: f.get(key) if f.get(share) == "no" else None


def _shared(key: tuple[str, int], share: tuple[str, int]) -> Callable[[Factors], Hashable]:
    # One time-step is where sharing begins as well.
    return lambda f: f.get(key) if f.get(share) == "yes" or f.get(key) == 1 else None


def _repeated(key: tuple[str, int], steps: tuple[str, int]) -> Callable[[Factors], Hashable]:
    # With one time-step there is nothing to share.
    return lambda f: f.get(key) if f.get(steps) != 1 else None


def _steps(values: set[Hashable]) -> list[tuple[Hashable, Hashable]]:
    """Pairs of values: each number and the next; `learned`, `no` or `dense` and each other word."""
    if all(isinstance(v, int) for v in values):
        numbers = sorted(values, key=lambda v: int(str(v)))
        return list(pairwise(numbers))
    words = sorted(values, key=lambda v: (v not in (LEARNED, "no", "dense"), str(v)))
    return [(words[0], word) for word in words[1:]]


def _polynomial(x: Floats, z: Floats) -> Floats:
    """Least-squares polynomial at `x`."""
    centred = x - x.mean()
    return np.polyval(np.polyfit(centred, z, _degree(x)), centred)


def _degree(x: Floats) -> int:
    """Degree of the polynomial over these costs: at most 2, and less where few of them are different."""
    different = len(set(x.tolist()))
    return 2 if different > 5 else 1 if different > 2 else 0


@dataclass(frozen=True, slots=True, eq=False)
class _Matched:
    """Architectures before and after a change, and the pairs among them.

    Attributes:
        before, after: indices of the architectures.
        pairs_before, pairs_after: number of pairs in which each stands.
        groups_before, groups_after: number of the set in which all else is equal; None at equal budget, where any two
            of about the same cost are a pair.
    """

    before: Indices
    after: Indices
    pairs_before: Indices
    pairs_after: Indices
    groups_before: Indices | None = None
    groups_after: Indices | None = None


def _matched(sample: _Sample, design: Design, sides: Sequence[Indices], freed: frozenset[tuple[str, int]]) -> _Matched:
    before, after = sides
    if design == "all else equal":
        rest = sample.rest(freed)
        kinds = int(rest.max(initial=-1)) + 1
        counts = [np.bincount(rest[side], minlength=kinds) for side in sides]
        return _Matched(before, after, counts[1][rest[before]], counts[0][rest[after]], rest[before], rest[after])
    cost = sample.log_costs[design]
    pairs = [_partners(cost[own], cost[other]) for own, other in ((before, after), (after, before))]
    return _Matched(before, after, *pairs)


def _partners(own: Floats, other: Floats) -> Indices:
    """Number of the other costs that differ from each own by at most the tolerance."""
    reach, ordered = math.log1p(TOLERANCE) + 1e-12, np.sort(other)
    return np.searchsorted(ordered, own + reach, side="right") - np.searchsorted(ordered, own - reach, side="left")


def _effect(
    sample: _Sample,
    design: Design,
    matched: _Matched,
    factor: str,
    period: int | None,
    before: str,
    after: str,
) -> tuple[Effect, StudentEstimate | None]:
    """The effect without intervals, and what they are made from where there are enough architectures for one."""
    pairs = int(matched.pairs_before.sum())
    used = [int((counts > 0).sum()) for counts in (matched.pairs_before, matched.pairs_after)]
    effect = Effect(
        factor=factor,
        period=period,
        before=before,
        after=after,
        design=design,
        pairs=pairs,
        archs_before=used[0],
        archs_after=used[1],
        odds_ratio=None,
        low=None,
        high=None,
        params_ratio=None,
        macs_ratio=None,
        answer="too few to say",
    )
    if not pairs:
        return effect, None
    weights = [counts / pairs for counts in (matched.pairs_before, matched.pairs_after)]

    def difference(values: Floats) -> float:
        return float(weights[1] @ values[matched.after] - weights[0] @ values[matched.before])

    z = sample.residuals[design]
    estimate = difference(z)
    ratios = [math.exp(difference(cost)) for cost in sample.log_costs.values()]
    effect = replace(effect, odds_ratio=math.exp(estimate), params_ratio=ratios[0], macs_ratio=ratios[1])
    if min(used) < LEAST_ARCHS:
        return effect, None
    variance, degrees = _variance(matched, weights, z)
    variance *= sample.taken(design)
    # Rounding alone is no effect.
    return effect, StudentEstimate(0.0 if abs(estimate) < 1e-12 else estimate, math.sqrt(variance), degrees)


def _variance(matched: _Matched, weights: Sequence[Floats], z: Floats) -> tuple[float, float]:
    """Variance of the mean over pairs, and its degrees of freedom."""
    if matched.groups_before is None or matched.groups_after is None:
        sides = zip(weights, (matched.before, matched.after), strict=True)
        parts = [_mean_variance(own, z[side], np.ones(len(own))) for own, side in sides]
    else:
        parts = [_mean_variance(*_by_group(matched, weights, z))]
    first, second = sum(p[1] for p in parts), sum(p[2] for p in parts)
    return sum(p[0] for p in parts), max(1.0, first**2 / second)


def _by_group(matched: _Matched, weights: Sequence[Floats], z: Floats) -> tuple[Floats, Floats, Floats]:
    """Weight, difference of means, and its variance per network's, of each set in which all else is equal."""
    assert matched.groups_before is not None
    assert matched.groups_after is not None
    kinds = int(max(matched.groups_before.max(), matched.groups_after.max())) + 1
    sums = [
        (np.bincount(groups, own, kinds), np.bincount(groups, own * z[side], kinds), np.bincount(groups, None, kinds))
        for groups, own, side in (
            (matched.groups_before, weights[0], matched.before),
            (matched.groups_after, weights[1], matched.after),
        )
    ]
    (weight, before, count_before), (_, after, count_after) = sums
    there = weight > 0
    differences = (after[there] - before[there]) / weight[there]
    # NumPy's types have a sum of weights be whole.
    return weight[there].astype(np.float64), differences, 1 / count_before[there] + 1 / count_after[there]


def _mean_variance(weights: Floats, values: Floats, factors: Floats) -> tuple[float, float, float]:
    """Variance of a weighted mean of independent values, and the traces of its form and of that form's square.

    The variance is a quadratic form in the values; if their variances are the factors times one number, its expectation
    is that number times the first trace, and it has the degrees of freedom (first trace)^2 / second trace.

    Args:
        weights: of the values; their sum is 1.
        values: the values.
        factors: variance of each value as a multiple of a common one.
    """
    used = weights > 0
    weights, values, factors = weights[used], values[used], factors[used]
    lever = weights * factors
    total = float(weights @ lever)
    # Variance of a value's residual from the weighted mean.
    left = np.maximum(factors - 2 * lever + total, 1e-12)
    scale = weights * lever / left
    variance = float(scale @ (values - weights @ values) ** 2)
    # Sum over all pairs of scale_k scale_l c_kl^2, where c_kl is total - lever_k - lever_l, and `left` for k = l.
    moments = [float(scale @ lever**power) for power in range(3)]
    square = (
        total**2 * moments[0] ** 2
        + 2 * moments[0] * moments[2]
        - 4 * total * moments[0] * moments[1]
        + 2 * moments[1] ** 2
    )
    square += float(scale**2 @ (left**2 - (total - 2 * lever) ** 2))
    return variance, total, max(square, 1e-300)
