from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats  # type: ignore[import-untyped]

from rksearch.results.stats import mean, paired_comparison, sample_sd, student_quantile

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
