"""Wins, ties and losses: error counts, test gaps, costs of both kinds, and the size ladder."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rksearch.results.comparisons import (
    BaselineRow,
    baseline_rows,
    compare,
    compare_tested,
    ladder,
    surely_dominated,
    tally,
)
from rksearch.results.fronts import front_rows, rk_front
from rksearch.results.records import Role, TestResult
from rksearch.results.summaries import (
    ArchSummary,
    by_macs,
    by_params,
    exact_mean,
    size_band,
    summarise,
)
from rksearch.results.uncertainty import draw, draw_tested
from tests.helpers.ledgers import begin, complete, summary, trial

COUNTS = st.lists(st.integers(0, 899), min_size=1, max_size=8)


@given(COUNTS, st.integers(899, 10_000), st.randoms())
def test_the_mean_of_counts_is_their_quotient_rounded_once(
    counts: list[int], images: int, shuffle: random.Random
) -> None:
    errors = [100 * count / images for count in counts]
    assert exact_mean(errors, images) == float(Fraction(100 * sum(counts), images * len(counts)))
    # Moving an error from one training to another changes no mean, whatever the order of the operations.
    moved = list(counts)
    for _ in range(20):
        i, j = shuffle.randrange(len(moved)), shuffle.randrange(len(moved))
        if i != j and moved[i] > 0 and moved[j] < 899:
            moved[i], moved[j] = moved[i] - 1, moved[j] + 1
    assert exact_mean([100 * (count / images) for count in moved], images) == exact_mean(errors, images)


def test_errors_that_are_no_counts_are_rounded() -> None:
    assert exact_mean([10.123, 20.0], 1_000) == 15.0615
    assert exact_mean([0.1 + 0.2]) == exact_mean([0.3])
    with pytest.raises(ValueError, match="at least one"):
        exact_mean([])


def counted(wrong: int, images: int = 5_000, params: int = 1_000) -> object:
    return complete(100 * wrong / images, params=params)


def test_as_many_errors_are_a_tie_and_dominate_nothing(tmp_path: Path) -> None:
    """31 and 31 wrong images have the mean of 30 and 32, whatever the last bit of a float says."""
    small, other = "RKNet-k4-m1_1_1-1x1_1x1_1x1", "RKNet-k4-m1_1_1-1x2_1x1_1x1"
    ledger = begin(tmp_path)
    for name, role, counts in (
        ("ResNet-8", "baseline", (777, 777, 777)),
        (small, "candidate", (776, 777, 778)),
        (other, "candidate", (770, 777, 784)),
    ):
        for replicate, wrong in enumerate(counts):
            ledger.write_trial(trial(name, replicate, role), counted(wrong), wall_time_s=1.0)  # type: ignore[arg-type]
    items = summarise(ledger.read())
    assert len({item.val_error_pct for item in items}) == 1
    assert {i.arch for i in rk_front(items)} == {small, other}
    assert all(row.beaten_by == () for row in front_rows(items))
    (row,) = baseline_rows(items, draw(items))
    assert row.comparison is not None
    assert (row.comparison.gap_pct, row.comparison.gap_images, row.outcome) == (0.0, 0.0, "tie")


def with_images(item: ArchSummary, images: int) -> ArchSummary:
    return replace(item, val_images=images)


def test_less_than_one_image_is_a_tie_and_one_may_be_a_win() -> None:
    """The spread of these seeds is far below an image, so that an interval alone would decide."""
    base = with_images(summary("base", 10, [5.0, 5.001, 4.999], role="baseline"), 100)
    close = with_images(summary("close", 9, [4.1, 4.101, 4.099], role="baseline"), 100)
    apart = with_images(summary("apart", 9, [4.0, 4.001, 3.999], role="baseline"), 100)
    draws = draw([base, close, apart])
    near = compare(close, base, draws)
    assert near.interval_pct is not None
    assert near.interval_pct[1] < 0
    assert near.gap_images == pytest.approx(-0.9)
    assert near.outcome == "tie"
    assert compare(apart, base, draws).outcome == "win"
    assert compare(base, apart, draws).outcome == "loss"


def test_without_seeds_nothing_is_decided_but_equality() -> None:
    a, b, c = (summary(name, 10, [error]) for name, error in (("a", 5.0), ("b", 5.0), ("c", 4.0)))
    draws = draw([a, b, c])
    assert compare(a, b, draws).outcome == "tie"
    assert compare(a, c, draws).outcome == "open"


def with_tests(item: ArchSummary, errors: list[float]) -> ArchSummary:
    return replace(
        item, test_errors_pct=tuple(errors), test_error_pct=math.fsum(errors) / len(errors), test_seeds=len(errors)
    )


def test_a_win_that_the_test_set_does_not_bear_says_so() -> None:
    base = with_tests(summary("base", 100, [20.0, 20.2, 19.8], role="baseline"), [20.0, 20.2, 19.8])
    good = with_tests(summary("good", 90, [15.0, 15.2, 14.8]), [15.1, 15.3, 14.9])
    lucky = with_tests(summary("lucky", 90, [15.0, 15.2, 14.8]), [20.5, 20.7, 20.3])
    unread = summary("unread", 90, [15.0, 15.2, 14.8])
    for rival, bears in ((good, True), (lucky, False), (unread, None)):
        items = [base, rival]
        (row,) = baseline_rows(items, draw(items), tested=draw_tested(items))
        assert row.outcome == "win"
        assert row.test_bears is bears
        assert (row.tested is None) == (bears is None)
        found = tally([row])
        assert (found.wins, found.borne, found.not_borne) == (1, int(bears is True), int(bears is False))


def test_trainings_made_for_the_test_set_are_not_set_beside_those_of_the_search(tmp_path: Path) -> None:
    ledger = begin(tmp_path)
    base, small = "ResNet-8", "RKNet-k8-m2_2_2-1x2s_1x2s_1x2s"

    def read(arch: str, replicate: int, role: Role, error_pct: float) -> None:
        made = trial(arch, replicate, role)
        if role == "final":
            ledger.write_trial(made, complete(error_pct), wall_time_s=1.0)
        ledger.write_test(made, TestResult(test_error_pct=error_pct, test_loss=1.0, test_images=10_000))

    def gap() -> float | None:
        items = {item.arch: item for item in summarise(ledger.read())}
        found = compare_tested(items[small], items[base], draw_tested(list(items.values())))
        return None if found is None else found.gap_pct

    made: list[tuple[str, Role, float]] = [(base, "baseline", 20.0), (small, "candidate", 18.0)]
    for name, role, error_pct in made:
        for replicate in range(2):
            ledger.write_trial(trial(name, replicate, role), complete(error_pct), wall_time_s=1.0)
            read(name, replicate, role, error_pct + 1)
    assert gap() == pytest.approx(-2.0)
    # Of more images: lower by six points, whatever the network.
    read(small, 0, "final", 13.0)
    assert gap() is None
    read(base, 0, "final", 15.0)
    assert gap() == pytest.approx(-2.0)


def test_intervals_of_test_gaps_cover_the_truth_as_often_as_they_say() -> None:
    rng = random.Random(21)
    covered, runs = 0, 100
    for _ in range(runs):
        items = [
            with_tests(summary(f"n{i}", 1_000 + i, [50.0]), [rng.gauss(20 + i, 1) for _ in range(3)]) for i in range(6)
        ]
        found = compare_tested(items[0], items[4], draw_tested(items))
        assert found is not None
        assert found.interval_pct is not None
        covered += found.interval_pct[0] <= -4 <= found.interval_pct[1]
    assert covered / runs == pytest.approx(0.95, abs=0.04)


def test_draws_of_test_errors_look_at_no_validation_error() -> None:
    items = [with_tests(summary(f"n{i}", 1_000 * (i + 1), [50.0 - i]), [20.0 + i, 21.0 + i]) for i in range(4)]
    other = [replace(item, val_errors_pct=(1.0,), val_error_pct=1.0) for item in items]
    first, second = draw_tested(items), draw_tested(other)
    assert first.archs == second.archs
    assert (first.errors_pct == second.errors_pct).all()
    assert draw_tested([summary("unread", 10, [1.0])]).archs == ()


def test_a_win_with_more_of_the_other_cost_is_half_a_win() -> None:
    base = summary("base", 1_000, [20.0, 20.2, 19.8], role="baseline", macs=1_000)
    shared = summary("shared", 500, [15.0, 15.2, 14.8], macs=3_400)
    lean = summary("lean", 900, [16.0, 16.2, 15.8], macs=900)
    for items, half in (([base, shared], True), ([base, lean], False)):
        (row,) = baseline_rows(items, draw(items))
        assert (row.outcome, row.is_half) == ("win", half)
    (row,) = baseline_rows([base, shared], draw([base, shared]))
    assert (row.params_ratio, row.macs_ratio) == (0.5, 3.4)
    assert tally([row]).half_wins == 1
    items = [base, shared, lean]
    (by_work,) = baseline_rows(items, draw(items), cost=by_macs)
    assert by_work.rival == lean
    assert not by_work.is_half


def test_dominance_is_borne_where_the_interval_leaves_out_zero() -> None:
    items = [
        summary("near", 100, [20.0, 20.4, 19.6]),
        summary("far", 900, [15.0, 15.4, 14.6]),
        summary("close base", 90, [19.9, 20.3, 19.5], role="baseline"),
        summary("good base", 800, [5.0, 5.4, 4.6], role="baseline"),
    ]
    rows = front_rows(items)
    assert [row.beaten_by for row in rows] == [("close base",), ("good base",)]
    assert surely_dominated(rows, items, draw(items)) == ["far"]


ITEMS = st.lists(
    st.tuples(st.integers(1, 300), st.integers(1, 300), st.integers(0, 9), st.sampled_from(["candidate", "baseline"])),
    min_size=1,
    max_size=12,
)


@given(ITEMS, st.sampled_from([by_params, by_macs]))
def test_the_ladder_has_the_best_of_each_band(points: list[tuple[int, int, int, str]], cost: object) -> None:
    of = by_params if cost is by_params else by_macs
    items = [
        summary(f"a{i}", params, [float(error)], role=role, macs=macs)  # type: ignore[arg-type]
        for i, (params, macs, error, role) in enumerate(points)
    ]
    rows = baseline_rows(items, draw(items, resamples=5), cost=of)
    steps = ladder(rows, items, cost=of)
    bands = {size_band(int(of(i))) for i in items}
    assert [step.band for step in steps] == sorted(bands)
    for step in steps:
        mine = [i for i in items if size_band(int(of(i))) == step.band]
        bases = [i for i in mine if i.is_baseline]
        assert (step.row is None) == (not bases)
        assert (step.best is None) == bool(bases)
        if step.row is not None:
            assert step.row.item.error_pct == min(i.error_pct for i in bases)
            cheaper = [i.error_pct for i in items if i.is_searched and of(i) <= of(step.row.item)]
            assert (step.row.rival is None) == (not cheaper)
            if step.row.rival is not None:
                assert step.row.rival.error_pct == min(cheaper)
                assert of(step.row.rival) <= of(step.row.item)
        elif step.best is not None:
            assert step.best.error_pct == min(i.error_pct for i in mine)


def test_outcomes_are_counted_once_each() -> None:
    base = summary("base", 10, [5.0], role="baseline")
    none = BaselineRow(item=base, rival=None, comparison=None)
    found = tally([none])
    assert (found.wins, found.ties, found.losses, found.undecided, found.unmatched) == (0, 0, 0, 0, 1)


def test_test_errors_of_a_summary_are_those_of_its_readings(tmp_path: Path) -> None:
    ledger = begin(tmp_path)
    for replicate, reading in enumerate((31, 32)):
        asked = trial("ResNet-8", replicate, "baseline")
        ledger.write_trial(asked, complete(10.0), wall_time_s=1.0)
        ledger.write_test(asked, TestResult(test_error_pct=100 * reading / 899, test_loss=1.0, test_images=899))
    (item,) = summarise(ledger.read())
    assert item.test_errors_pct == (100 * 31 / 899, 100 * 32 / 899)
    assert item.test_error_pct == 100 * 63 / (2 * 899)
    assert (item.val_images, item.test_images) == (5_000, 899)
