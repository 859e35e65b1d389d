"""Numbers of CSV files are rounded as Python rounds them, however many are rounded at once."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rksearch.results.columns import plain_column

HALVES = st.integers(-(10**9), 10**9).map(lambda n: (2 * n + 1) / 2e6)
"""Numbers that lie as near to halfway between two millionths as a double can."""


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.floats(-1e4, 1e4) | HALVES, min_size=1))
def test_a_column_is_rounded_as_its_numbers_are(values: list[float]) -> None:
    assert plain_column(values) == [repr(round(value, 6)) for value in values]


@pytest.mark.parametrize(
    ("value", "text"),
    [(math.nan, "nan"), (math.inf, "nan"), (None, ""), (3, "3"), (2.3434375, "2.343437"), (-0.0, "-0.0")],
)
def test_what_is_no_finite_float_keeps_its_text_beside_others(value: float | None, text: str) -> None:
    assert plain_column([0.1234567, value]) == ["0.123457", text]
    assert plain_column([value]) == [text]
