from __future__ import annotations

import random
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rksearch.results.dominance import Reference, hypervolume, on_front, pareto
from rksearch.results.fronts import front_band, membership, smallest
from rksearch.results.summaries import ArchSummary, by_macs, by_params
from rksearch.results.uncertainty import draw, error_of, log_odds
from tests.helpers.ledgers import summary

QUANTILES = np.array([statistics.NormalDist().inv_cdf((k + 0.5) / 99) for k in range(99)])

ERRORS = st.lists(st.floats(0, 100), min_size=1, max_size=4)
# Few distinct values, so that ties are common.
POINTS = st.lists(st.tuples(st.integers(1, 5), st.lists(st.integers(0, 4), min_size=3, max_size=3)), max_size=9)


def summaries(points: list[tuple[int, list[float]]]) -> list[ArchSummary]:
    roles = ("candidate", "baseline", "known")
    return [summary(f"a{i}", size, errors, role=roles[i % 3]) for i, (size, errors) in enumerate(points)]  # type: ignore[arg-type]


@given(st.floats(0, 100))
def test_log_odds_have_an_inverse(error: float) -> None:
    assert error_of(log_odds(np.array([error])))[0] == pytest.approx(error, abs=1e-9)


@settings(deadline=None)
@given(POINTS)
def test_each_row_has_the_front_that_pareto_finds(points: list[tuple[int, list[int]]]) -> None:
    costs = [cost for cost, _ in points]
    rows = np.array([[errors[row] for _, errors in points] for row in range(3)], dtype=float).reshape(3, len(points))
    found = on_front(rows, costs)
    for row, chosen in zip(rows, found, strict=True):
        expected = pareto(range(len(points)), cost=lambda i: costs[i], error=lambda i: row[i])  # noqa: B023
        assert sorted(np.flatnonzero(chosen)) == sorted(expected)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(1, 10**6), ERRORS), max_size=8), st.randoms())
def test_any_architectures_have_draws_that_do_not_depend_on_their_order(
    points: list[tuple[int, list[float]]], shuffle: random.Random
) -> None:
    items = summaries(points)
    found = draw(items, resamples=40)
    assert found.errors_pct.shape == (40, len(items))
    assert np.isfinite(found.errors_pct).all()
    assert found.errors_pct.min(initial=0) >= 0
    assert found.errors_pct.max(initial=0) <= 100
    assert found.spread_known <= any(len(set(errors)) > 1 for _, errors in points)
    shares = membership(items, resamples=40)
    assert set(shares) == {i.arch for i in items if not i.is_baseline}
    shuffle.shuffle(items)
    assert np.array_equal(draw(items, resamples=40).errors_pct, found.errors_pct)
    assert membership(items, resamples=40) == shares


def test_what_is_certain_has_probability_one_or_zero() -> None:
    items = [
        summary("alone at the small end", 1_000, [30.0, 30.2, 29.9]),
        summary("worse and larger", 2_000, [40.0, 40.1, 39.8]),
        summary("best", 9_000, [10.0, 10.1, 9.8]),
        summary("baseline", 500, [1.0, 1.1, 1.2], role="baseline"),
    ]
    assert membership(items) == {"alone at the small end": 1.0, "worse and larger": 0.0, "best": 1.0}
    assert membership([]) == {}


def test_twins_share_the_front_evenly() -> None:
    errors = [20.0, 21.0, 22.0]
    items = [summary("first", 1_000, errors), summary("second", 1_000, errors)]
    shares = membership(items, resamples=4_000)
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["first"] == pytest.approx(0.5, abs=0.04)


def test_the_front_of_macs_has_its_own_probabilities() -> None:
    items = [summary("shared", 10, [20.0, 20.5], macs=100), summary("lean", 50, [20.1, 20.4], macs=30)]
    by_size, by_work = membership(items, cost=by_params), membership(items, cost=by_macs)
    assert by_size["shared"] == by_work["lean"] == 1
    assert 0.2 < by_size["lean"] < 0.8
    assert 0.2 < by_work["shared"] < 0.8


def test_an_architecture_with_one_seed_borrows_the_spread_of_the_others() -> None:
    def widths(spread: float) -> float:
        many = [summary(f"b{i}", 1_000, [20 - spread, 20.0, 20 + spread], role="baseline") for i in range(8)]
        one = summary("one", 1_000, [20.0], role="baseline")
        return float(draw([*many, one]).of([one]).std())

    assert widths(0.2) == pytest.approx(0.2, rel=0.15)
    assert widths(2.0) == pytest.approx(2.0, rel=0.15)


def test_more_seeds_make_an_error_surer() -> None:
    rng = random.Random(3)
    items = [summary(f"n{n}", 1_000, [20 + rng.gauss(0, 1) for _ in range(n)], role="baseline") for n in (2, 8, 32)]
    few, more, many = draw(items).of(items).std(axis=0)
    assert few > 1.6 * more > 2.5 * many


def test_the_luckiest_of_many_with_one_seed_is_expected_to_be_worse_than_it_looked() -> None:
    rng = random.Random(5)
    bases = [summary(f"b{i}", 1_000, [20 + rng.gauss(0, 1) for _ in range(3)], role="baseline") for i in range(6)]
    # All alike in truth: the least error seen is luck alone.
    items = [summary(f"c{i}", 1_000 + i, [20 + rng.gauss(0, 1)]) for i in range(60)]
    luckiest = min(items, key=lambda i: i.val_error_pct)
    assert luckiest.val_error_pct < 18.5
    assert 19 < draw([*bases, *items]).of([luckiest]).mean() < 20.5


def world(rng: random.Random, number: int) -> tuple[list[ArchSummary], list[float]]:
    """A search whose truth is known: one seed each, three for what looks best, and the true errors."""
    items, truth = [], []
    for i in range(number):
        size = round(10 ** rng.uniform(3.5, 5))
        theta = -1 - 0.5 * (np.log(size) - 9.7) + rng.gauss(0, 0.25)
        seeds = 3 if i % 4 == 0 else 1
        items.append(summary(f"a{i}", size, [float(error_of(theta + rng.gauss(0, 0.2))) for _ in range(seeds)]))
        truth.append(float(error_of(theta + 0.2 * QUANTILES).mean()))
    return items, truth


def test_simulated_searches_find_the_probabilities_calibrated() -> None:
    rng = random.Random(17)
    inside, claimed, happened, areas = [], [], [], []
    whole, pointwise = [], []
    corner = Reference(cost=10**5, error_pct=90)
    for _ in range(40):
        items, truth = world(rng, 40)
        draws = draw(items, resamples=400).of(items)
        low, high = np.quantile(draws, (0.05, 0.95), axis=0)
        inside += list((low <= truth) & (truth <= high))
        sizes = [i.params for i in items]
        by_size = np.argsort(sizes)
        front = np.minimum.accumulate(np.array(truth)[by_size])
        bottom, top = (np.array(end) for end in front_band(draws[:, by_size], 0.9))
        whole.append(((bottom <= front) & (front <= top)).all())
        least = np.minimum.accumulate(draws[:, by_size], axis=1)
        each = np.quantile(least, (0.05, 0.95), axis=0)
        pointwise.append(((each[0] <= front) & (front <= each[1])).all())
        claimed += list(on_front(draws, sizes).mean(axis=0))
        happened += list(on_front(np.array([truth]), sizes)[0])
        true_area = hypervolume(np.array([truth]), sizes, corner)[0]
        areas.append((hypervolume(draws, sizes, corner) < true_area).mean())
    assert np.mean(inside) == pytest.approx(0.9, abs=0.03)
    # The band holds whole fronts as often as it says; that of each size by itself does not.
    assert np.mean(whole) >= 0.82
    assert np.mean(pointwise) < 0.7
    # Ranks of the true hypervolumes among the draws: neither extreme nor all on one side.
    assert np.mean([0.05 <= rank <= 0.95 for rank in areas]) >= 0.75
    assert 0.3 < np.mean(areas) < 0.7
    probability, member = np.array(claimed), np.array(happened)
    assert probability.mean() == pytest.approx(member.mean(), abs=0.015)
    for low, high in ((0, 0.1), (0.1, 0.3), (0.3, 0.7), (0.7, 1.01)):
        chosen = (probability >= low) & (probability < high)
        assert chosen.sum() > 40
        assert member[chosen].mean() == pytest.approx(probability[chosen].mean(), abs=0.08)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 60), st.integers(1, 12), st.floats(0.05, 1), st.integers(0, 2**32 - 1))
def test_a_band_is_the_narrowest_envelope_of_ranks_that_holds_its_share(
    rows: int, columns: int, confidence: float, seed: int
) -> None:
    errors = np.random.default_rng(seed).integers(0, 30, size=(rows, columns)).astype(float)
    least = np.minimum.accumulate(errors, axis=1)
    low, high = (np.array(end) for end in front_band(errors, confidence))
    ordered = np.sort(least, axis=0)

    def held(k: int) -> float:
        return float(((ordered[k] <= least) & (least <= ordered[rows - 1 - k])).all(axis=1).mean())

    (k, *_) = [k for k in range(rows) if (ordered[k] == low).all() and (ordered[rows - 1 - k] == high).all()]
    assert held(k) >= confidence - 1e-9
    deeper = [k for k in range((rows + 1) // 2) if held(k) >= confidence - 1e-9]
    assert (ordered[max(deeper, default=0)] == low).all()


def test_the_smallest_is_on_every_front_unless_another_is_as_small() -> None:
    items = [summary("a", 10, [50.0, 60.0]), summary("b", 20, [20.0, 21.0])]
    items.append(summary("base", 5, [1.0], role="baseline"))
    assert smallest(items) == "a"
    assert membership(items)["a"] == 1
    assert smallest([*items, summary("c", 10, [40.0])]) is None
    assert smallest(items[2:]) is None
    assert smallest([]) is None


def test_fewer_draws_than_one_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least 1, but got 0"):
        draw([], resamples=0)
