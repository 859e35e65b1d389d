"""Non-domination and hypervolume against Optuna's own."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna._hypervolume import compute_hypervolume
from optuna.study._multi_objective import _fast_non_domination_rank, _is_pareto_front

from rksearch.results.dominance import Reference, dominates, hypervolume, layers, non_dominated, on_front, pareto


def points_of(objectives: int) -> st.SearchStrategy[list[list[float]]]:
    """Points with few distinct values, so that ties and equal points are common."""
    point = st.lists(st.integers(0, 4).map(float), min_size=objectives, max_size=objectives)
    return st.lists(point, min_size=1, max_size=16)


POINTS = st.integers(1, 4).flatmap(points_of)


@settings(deadline=None)
@given(POINTS)
def test_the_front_is_optunas(points: list[list[float]]) -> None:
    expected = np.flatnonzero(_is_pareto_front(np.array(points), assume_unique_lexsorted=False)).tolist()
    found = non_dominated(points).tolist()
    assert sorted(found) == expected
    assert found == sorted(expected, key=lambda i: (points[i], i))


@settings(deadline=None)
@given(POINTS)
def test_the_distinct_front_has_the_first_of_equal_points(points: list[list[float]]) -> None:
    firsts = [i for i in non_dominated(points).tolist() if points[i] not in points[:i]]
    assert non_dominated(points, distinct=True).tolist() == firsts


@settings(deadline=None)
@given(POINTS)
def test_layers_are_optunas_ranks(points: list[list[float]]) -> None:
    assert layers(points) == _fast_non_domination_rank(np.array(points)).tolist()


@settings(deadline=None)
@given(POINTS)
def test_a_point_is_on_the_front_when_nothing_dominates_it(points: list[list[float]]) -> None:
    free = [i for i, own in enumerate(points) if not any(dominates(other, own) for other in points)]
    assert sorted(non_dominated(points).tolist()) == free
    assert not any(dominates(a, b) and dominates(b, a) for a, b in itertools.product(points, points))


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 6), st.integers(0, 6)), min_size=1, max_size=12))
def test_one_row_of_errors_has_the_front_of_its_points(points: list[tuple[int, int]]) -> None:
    costs, errors = zip(*points, strict=True)
    [row] = on_front(np.array([errors], dtype=float), costs)
    assert np.flatnonzero(row).tolist() == sorted(non_dominated(points).tolist())
    found = pareto(range(len(points)), cost=lambda i: costs[i], error=lambda i: errors[i])
    assert found == non_dominated(points).tolist()


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 10**7), st.floats(0, 100)), min_size=1, max_size=12))
def test_the_hypervolume_is_optunas(points: list[tuple[int, float]]) -> None:
    corner = Reference(cost=10**5, error_pct=90)
    costs, errors = (np.array(column, dtype=float) for column in zip(*points, strict=True))
    [found] = hypervolume(errors[None, :], costs, corner)
    clipped = np.stack([np.minimum(np.log10(costs), 5), np.minimum(errors, 90)], axis=1)
    assert found == pytest.approx(compute_hypervolume(clipped, np.array([5.0, 90.0])), abs=1e-9)


def test_no_points_have_no_front() -> None:
    assert non_dominated([]).tolist() == []
    assert layers([]) == []
    assert pareto([], cost=float, error=float) == []
