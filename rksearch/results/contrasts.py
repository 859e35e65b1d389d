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

An architecture that stands in many pairs counts as one: the standard error is clustered by the architectures of both
sides (the sum over either side less that over single pairs, which both contain), and the interval is Student's with as
many degrees of freedom as the smaller side has architectures, less one. Spread between seeds is part of the scatter and
is not modelled separately.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal

import numpy as np

from rksearch.arch import ArchSpec, Period, family_of, parse
from rksearch.arch.arrays import Floats
from rksearch.results.pairs import Alike, Matching, Near, PairedDifferences, Whole
from rksearch.results.stats import CONFIDENCE, student_quantile
from rksearch.results.summaries import ArchSummary
from rksearch.results.uncertainty import log_odds

TOLERANCE = 0.10
"""Largest difference of the budgets of a pair, as a share."""

LEAST_ARCHS = 4
"""Least number of architectures on either side that an interval is given for."""

Design = Literal["equal parameters", "equal MACs", "all else equal"]
DESIGNS: tuple[Design, ...] = ("equal parameters", "equal MACs", "all else equal")

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
        low, high: its 95 % interval; None where there are too few architectures.
        params_ratio, macs_ratio: geometric means over pairs of the ratios of costs, after against before.
        answer: conclusion from the interval.
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
            found += [
                _effect(sample, design, sides, freed, factor, period or None, str(before), str(after))
                for design in DESIGNS
            ]
    return [effect for effect in found if effect.pairs]


class _Sample:
    """The architectures that have factors, with their costs and the log-odds of their errors."""

    def __init__(self, items: Sequence[ArchSummary]) -> None:
        read = [(item, found) for item in items if (found := factors_of(parse(item.arch)))]
        self.items = [item for item, _ in read]
        self.factors = [found for _, found in read]
        self.z = log_odds(np.array([item.error_pct for item in self.items], dtype=float))
        self._rests: dict[frozenset[tuple[str, int]], Whole] = {}

    @cached_property
    def log_costs(self) -> dict[Design, Floats]:
        """Natural logarithms of the cost that a design holds equal."""
        return {
            "equal parameters": np.log([max(1, item.params) for item in self.items]),
            "equal MACs": np.log([max(1, item.macs) for item in self.items]),
        }

    @cached_property
    def trends(self) -> dict[Design, Floats]:
        """Expected log-odds at each architecture's cost: a parabola through all of them."""
        return {design: _parabola(cost, self.z) for design, cost in self.log_costs.items()}

    @cached_property
    def keys(self) -> tuple[tuple[str, int], ...]:
        """Names and periods of all factors that any architecture has."""
        return tuple(dict.fromkeys(key for found in self.factors for key in found))

    @cached_property
    def codes(self) -> Whole:
        """Number of each factor's value, -1 where an architecture lacks the factor: (architectures, factors)."""
        columns = []
        for key in self.keys:
            numbers: dict[Hashable, int] = {}
            columns.append(
                [numbers.setdefault(found[key], len(numbers)) if key in found else -1 for found in self.factors]
            )
        return np.array(columns, dtype=np.intp).T.reshape(len(self.items), len(self.keys))

    def rest(self, freed: frozenset[tuple[str, int]]) -> Whole:
        """Number of the combination of all factors but these, the same for architectures that differ in these alone."""
        if freed not in self._rests:
            kept = [i for i, key in enumerate(self.keys) if key not in freed]
            _, inverse = np.unique(self.codes[:, kept], axis=0, return_inverse=True)
            self._rests[freed] = inverse.reshape(-1)
        return self._rests[freed]

    def matching(self, design: Design, sides: Sequence[Whole], freed: frozenset[tuple[str, int]]) -> Matching:
        """The pairs of a design between the architectures with these numbers.

        Args:
            design: the way in which pairs are matched.
            sides: numbers of the architectures before and after.
            freed: factors that may differ where all else is equal.
        """
        i, j = sides
        if design == "all else equal":
            rest = self.rest(freed)
            return Alike(rest[i], rest[j])
        cost = self.log_costs[design]
        return Near(cost[i], cost[j], math.log1p(TOLERANCE) + 1e-12)

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
        found[METHOD, number] = str(period.solver).removeprefix("@") if period.solver else "learned"
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
    words = sorted(values, key=lambda v: (v not in ("learned", "no", "dense"), str(v)))
    return [(words[0], word) for word in words[1:]]


def _parabola(x: Floats, z: Floats) -> Floats:
    """Least-squares polynomial at `x`; its degree is at most 2, and less where few costs are different."""
    different = len(set(x.tolist()))
    degree = 2 if different > 5 else 1 if different > 2 else 0
    centred = x - x.mean()
    return np.polyval(np.polyfit(centred, z, degree), centred)


def _effect(
    sample: _Sample,
    design: Design,
    sides: Sequence[Whole],
    freed: frozenset[tuple[str, int]],
    factor: str,
    period: int | None,
    before: str,
    after: str,
) -> Effect:
    i, j = sides
    z = sample.z if design == "all else equal" else sample.z - sample.trends[design]
    matching = sample.matching(design, sides, freed)
    found = PairedDifferences(matching, z[i], z[j])
    estimate, reach = _mean_over_pairs(found) if found.pairs else (None, None)
    ratios = [
        math.exp(PairedDifferences(matching, cost[i], cost[j]).mean) if found.pairs else None
        for cost in sample.log_costs.values()
    ]
    low = high = None
    answer: Answer = "too few to say"
    if estimate is not None and reach is not None:
        low, high = math.exp(estimate - reach), math.exp(estimate + reach)
        answer = "fewer errors" if high < 1 else "more errors" if low > 1 else "not distinguishable"
    return Effect(
        factor=factor,
        period=period,
        before=before,
        after=after,
        design=design,
        pairs=found.pairs,
        archs_before=found.used[0],
        archs_after=found.used[1],
        odds_ratio=math.exp(estimate) if estimate is not None else None,
        low=low,
        high=high,
        params_ratio=ratios[0],
        macs_ratio=ratios[1],
        answer=answer,
    )


def _mean_over_pairs(differences: PairedDifferences) -> tuple[float, float | None]:
    """Mean over the matched pairs, and half the width of its interval; None where either side has too few."""
    sizes = differences.used
    if min(sizes) < LEAST_ARCHS:
        return differences.mean, None
    before, after, alone = differences.excess()
    sides = [n / (n - 1) * float((excess**2).sum()) for n, excess in zip(sizes, (before, after), strict=True)]
    # Negative correlations can make the sum less than that of independent pairs, which is then taken instead.
    variance = max(sum(sides) - alone, alone) / float(differences.pairs) ** 2
    return differences.mean, student_quantile(CONFIDENCE, min(sizes) - 1) * math.sqrt(variance)
