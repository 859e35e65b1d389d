"""Means, spreads, intervals and paired comparisons."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    import numpy.typing as npt

CONFIDENCE = 0.95
"""Confidence of the intervals of differences: between architectures, and between the values of a choice."""


def mean(values: Sequence[float]) -> float:
    """Arithmetic mean, exactly rounded, so that it does not depend on the order of the values.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("a mean needs at least one value, but got none")
    return math.fsum(values) / len(values)


def sample_sd(values: Sequence[float]) -> float | None:
    """Standard deviation with n - 1 in the denominator; None for fewer than two values, which have no spread."""
    if len(values) < 2:
        return None
    centre = mean(values)
    return math.sqrt(math.fsum((v - centre) ** 2 for v in values) / (len(values) - 1))


def student_quantile(confidence: float, degrees: float) -> float:
    """The t for which a Student variable lies in [-t, t] with probability `confidence`, by SciPy.

    Args:
        confidence: probability, above 0 and below 1.
        degrees: degrees of freedom, at least 1; not necessarily whole.

    Raises:
        ValueError: an argument is out of range.
    """
    if not 0 < confidence < 1 or degrees < 1:
        raise ValueError(f"confidence must lie in (0, 1) and degrees be at least 1, but got {confidence}, {degrees}")
    from scipy import special  # type: ignore[import-untyped]  # not needed to read a ledger

    return float(special.stdtrit(degrees, (1 + confidence) / 2))


def student_tails(estimate: float, error: float, degrees: float) -> float:
    """Probability that a Student variable is farther from 0 than `estimate / error`, on either side.

    Args:
        estimate: the estimate.
        error: its standard error; with 0, any other estimate than 0 is impossible by chance.
        degrees: degrees of freedom, at least 1; not necessarily whole.
    """
    from scipy import special  # not needed to read a ledger

    if error == 0:
        return 0.0 if estimate else 1.0
    return float(2 * special.stdtr(degrees, -abs(estimate) / error))


class StudentEstimate(NamedTuple):
    """An estimate with its standard error, and the degrees of freedom of that."""

    estimate: float
    error: float
    degrees: float

    @classmethod
    def of_mean(cls, values: Sequence[float]) -> Self:
        """The mean of two or more values."""
        return cls(mean(values), (sample_sd(values) or 0.0) / math.sqrt(len(values)), len(values) - 1)

    def interval(self, confidence: float) -> tuple[float, float]:
        """Student's interval."""
        reach = student_quantile(confidence, self.degrees) * self.error
        return self.estimate - reach, self.estimate + reach

    @property
    def p_value(self) -> float:
        """Probability of an estimate as far from zero by chance."""
        return student_tails(*self)


def wilson_interval(events: float, total: float, confidence: float) -> tuple[float, float]:
    """Wilson's score interval of a probability: Wilson (1927), Journal of the American Statistical Association 22:209.

    Unlike the usual one it holds for few events and for none, and never leaves 0 to 1.

    Args:
        events: number of events, which may be a mean over repetitions; 0 to `total`.
        total: number of trials, which may be a mean too; without any, nothing is known and the interval is (0, 1).
        confidence: probability that the interval covers the true one, above 0 and below 1.

    Raises:
        ValueError: an argument is out of range.
    """
    if not 0 <= events <= total or not 0 < confidence < 1:
        raise ValueError(
            f"0 <= events <= total and 0 < confidence < 1 must hold, but got {events}, {total}, {confidence}"
        )
    if not total:
        return 0.0, 1.0
    z2 = NormalDist().inv_cdf((1 + confidence) / 2) ** 2
    centre = (events + z2 / 2) / (total + z2)
    reach = math.sqrt(z2 * (events * (total - events) / total + z2 / 4)) / (total + z2)
    # Rounding must not open the interval where no event, or no other, was seen.
    low = 0.0 if events == 0 else max(0.0, centre - reach)
    high = 1.0 if events == total else min(1.0, centre + reach)
    return low, high


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> tuple[float, tuple[float, float] | None]:
    """Spearman's rank correlation, by SciPy, with its interval of confidence `CONFIDENCE`.

    The interval is that of Bonett and Wright (Psychometrika 65, 2000): normal on Fisher's z scale with variance
    (1 + rho^2 / 2) / (n - 3). There a correlation of 1 counts as halfway to the next lower value that n ranks can have,
    because few equal ranks prove no perfect order.

    Returns:
        The correlation, NaN where one side has a single rank; and the interval, None for fewer than five pairs or
        without a correlation.

    Raises:
        ValueError: the lengths differ, or there are fewer than two pairs.
    """
    n = len(first)
    if n != len(second) or n < 2:
        raise ValueError(f"a correlation needs two or more pairs, but got {n} and {len(second)} values")
    if len(set(first)) == 1 or len(set(second)) == 1:
        return math.nan, None
    from scipy import stats  # not needed to read a ledger

    rho = float(stats.spearmanr(first, second).statistic)
    if n < 5:
        return rho, None
    most = 1 - 6 / (n * (n**2 - 1))
    bounded = min(max(rho, -most), most)
    reach = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) * math.sqrt((1 + bounded**2 / 2) / (n - 3))
    return rho, (math.tanh(math.atanh(bounded) - reach), math.tanh(math.atanh(bounded) + reach))


def central_interval(values: npt.ArrayLike, confidence: float) -> tuple[float, float]:
    """Ends of the interval that holds the middle `confidence` of the values."""
    import numpy as np  # not needed to read a ledger

    low, high = np.quantile(np.asarray(values), ((1 - confidence) / 2, (1 + confidence) / 2))
    return float(low), float(high)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedComparison:
    """Differences a - b of pairs, and the conclusions about their mean.

    Attributes:
        pairs: number of pairs.
        mean_difference: mean of a - b.
        sd_difference: sample standard deviation of the differences.
        interval_95: confidence interval of the mean difference, by Student's t; a paired t-test at the 5 % level finds
            a difference where it excludes zero.
        interval_90: the same at 90 %; two one-sided tests at the 5 % level find a and b equivalent where it lies within
            (-margin, margin).
        margin: largest difference that counts as none.
        detectable: smallest true difference that the t-test finds with probability 80 %, given the spread seen, by the
            usual approximation (t of the level plus t of the power, times the standard error).
    """

    pairs: int
    mean_difference: float
    sd_difference: float
    interval_95: tuple[float, float]
    interval_90: tuple[float, float]
    margin: float
    detectable: float

    @property
    def significant(self) -> bool:
        """Whether the paired t-test finds a difference."""
        low, high = self.interval_95
        return low > 0 or high < 0

    @property
    def equivalent(self) -> bool:
        """Whether two one-sided tests exclude every difference as large as the margin."""
        low, high = self.interval_90
        return -self.margin < low and high < self.margin


def paired_comparison(a: Sequence[float], b: Sequence[float], *, margin: float) -> PairedComparison:
    """Compare pairs of values by their differences.

    Raises:
        ValueError: fewer than two pairs, values without a partner, or a margin that is not above 0.
    """
    if len(a) != len(b) or len(a) < 2 or margin <= 0:
        raise ValueError(
            f"a comparison needs two or more pairs and a margin above 0, but got {len(a)} and {len(b)} values, {margin}"
        )
    differences = [x - y for x, y in zip(a, b, strict=True)]
    own = StudentEstimate.of_mean(differences)
    # A one-sided 80 % point is where a two-sided interval of 60 % ends.
    detectable = (student_quantile(0.95, own.degrees) + student_quantile(0.6, own.degrees)) * own.error
    return PairedComparison(
        pairs=len(differences),
        mean_difference=own.estimate,
        sd_difference=sample_sd(differences) or 0.0,
        interval_95=own.interval(0.95),
        interval_90=own.interval(0.90),
        margin=margin,
        detectable=detectable,
    )
