from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats  # type: ignore[import-untyped]

from rksearch.stats import mean, sample_sd, student_quantile

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
@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.99])
def test_student_quantile_equals_scipy(degrees: float, confidence: float) -> None:
    expected = scipy_stats.t.ppf(0.5 + confidence / 2, degrees)
    assert student_quantile(confidence, degrees) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("confidence", "degrees"), [(0, 5), (1, 5), (0.95, 0.5)])
def test_student_quantile_rejects_what_it_cannot_do(confidence: float, degrees: float) -> None:
    with pytest.raises(ValueError, match="confidence"):
        student_quantile(confidence, degrees)
