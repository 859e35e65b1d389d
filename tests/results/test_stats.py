from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats  # type: ignore[import-untyped]

from rksearch.results.stats import mean, paired_comparison, rank_correlation, sample_sd, student_quantile

VALUES = st.lists(st.floats(0, 100), min_size=2, max_size=8)


@given(st.lists(st.floats(0, 100), min_size=1), st.randoms())
def test_mean_does_not_depend_on_order(values: list[float], random) -> None:
    shuffled = values.copy()
    random.shuffle(shuffled)
    assert mean(shuffled) == mean(values)
    assert mean(values) == pytest.approx(statistics.fmean(values))


def test_mean_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one"):
        mean([])


@given(VALUES)
def test_sd_equals_the_library(values: list[float]) -> None:
    assert sample_sd(values) == pytest.approx(statistics.stdev(values), abs=1e-9)


def test_one_value_has_no_spread() -> None:
    assert sample_sd([3.0]) is None
    assert sample_sd([]) is None


@pytest.mark.parametrize("degrees", [1, 1.2, 1.9, 2, 3.7, 10, 80, 1000])
@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.99, 0.999, 0.999999])
def test_student_quantile_equals_scipy(degrees: float, confidence: float) -> None:
    expected = scipy_stats.t.ppf(0.5 + confidence / 2, degrees)
    assert student_quantile(confidence, degrees) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("confidence", "degrees"), [(0, 5), (1, 5), (0.95, 0.5)])
def test_student_quantile_rejects_what_it_cannot_do(confidence: float, degrees: float) -> None:
    with pytest.raises(ValueError, match="confidence"):
        student_quantile(confidence, degrees)


PAIRS = st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), min_size=2, max_size=9)


@settings(deadline=None)
@given(PAIRS, st.floats(0.1, 20))
def test_paired_comparison_decides_as_the_librarys_tests(pairs: list[tuple[float, float]], margin: float) -> None:
    a, b = [x for x, _ in pairs], [y for _, y in pairs]
    differences = [x - y for x, y in pairs]
    found = paired_comparison(a, b, margin=margin)
    assert found.pairs == len(pairs)
    assert found.mean_difference == pytest.approx(statistics.fmean(differences), abs=1e-9)
    if found.sd_difference < 1e-6:
        return  # the library's p-values are undefined
    p = scipy_stats.ttest_rel(a, b).pvalue
    if abs(p - 0.05) > 1e-3:
        assert found.significant == (p < 0.05)
    below = scipy_stats.ttest_1samp(differences, margin, alternative="less").pvalue
    above = scipy_stats.ttest_1samp(differences, -margin, alternative="greater").pvalue
    if abs(max(below, above) - 0.05) > 1e-3:
        assert found.equivalent == (max(below, above) < 0.05)


@pytest.mark.parametrize("pairs", [4, 5, 10, 30])
def test_the_detectable_difference_has_a_power_of_about_80_percent(pairs: int) -> None:
    values = [float(i % 2) for i in range(pairs)]
    found = paired_comparison(values, [0.0] * pairs, margin=1.0)
    degrees = pairs - 1
    noncentral = found.detectable / (found.sd_difference / math.sqrt(pairs))
    critical = scipy_stats.t.ppf(0.975, degrees)
    assert scipy_stats.nct.sf(critical, degrees, noncentral) == pytest.approx(0.8, abs=0.05)


@pytest.mark.parametrize(
    ("a", "b", "margin"), [([1.0], [1.0], 1.0), ([1.0, 2.0], [1.0], 1.0), ([1.0, 2.0], [1.0, 2.0], 0.0)]
)
def test_a_comparison_needs_pairs_and_a_margin(a: list[float], b: list[float], margin: float) -> None:
    with pytest.raises(ValueError, match="needs two or more pairs and a margin above 0"):
        paired_comparison(a, b, margin=margin)


def naive_spearman(first: list[float], second: list[float]) -> float:
    """Pearson's correlation of mean ranks, from its definition."""

    def ranks(values: list[float]) -> list[float]:
        return [sum(v < x for v in values) + (values.count(x) + 1) / 2 for x in values]

    a, b = ranks(first), ranks(second)
    ma, mb = sum(a) / len(a), sum(b) / len(b)
    top = sum((x - ma) * (y - mb) for x, y in zip(a, b, strict=True))
    return top / math.sqrt(sum((x - ma) ** 2 for x in a) * sum((y - mb) ** 2 for y in b))


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=2, max_size=12))
def test_a_rank_correlation_is_that_of_mean_ranks(pairs: list[tuple[int, int]]) -> None:
    first, second = ([float(pair[side]) for pair in pairs] for side in (0, 1))
    rho, interval = rank_correlation(first, second)
    if len(set(first)) == 1 or len(set(second)) == 1:
        assert math.isnan(rho)
        assert interval is None
        return
    assert rho == pytest.approx(naive_spearman(first, second))
    assert (interval is None) == (len(pairs) < 5)
    if interval is not None:
        assert -1 < interval[0] < interval[1] < 1
        assert interval[0] - 0.2 <= rho <= interval[1] + 0.2


def test_few_equal_ranks_prove_no_perfect_order() -> None:
    """By hand, for five pairs: z of 0.95, variance (1 + 0.95^2 / 2) / 2."""
    rho, interval = rank_correlation([1, 2, 3, 4, 5], [1, 2, 3, 4, 5])
    assert rho == pytest.approx(1)
    reach = 1.959964 * math.sqrt((1 + 0.95**2 / 2) / 2)
    assert interval == pytest.approx((math.tanh(math.atanh(0.95) - reach), math.tanh(math.atanh(0.95) + reach)))
    many = [float(i) for i in range(50)]
    wide, narrow = interval, rank_correlation(many, many)[1]
    assert wide is not None
    assert narrow is not None
    assert narrow[0] > wide[0]


def test_a_correlation_needs_pairs() -> None:
    with pytest.raises(ValueError, match="two or more pairs, but got 1 and 1"):
        rank_correlation([1.0], [2.0])
