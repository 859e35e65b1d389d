from __future__ import annotations

import itertools
import math
import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rksearch.results.comparisons import baseline_rows, compare
from rksearch.results.dominance import Reference, pareto
from rksearch.results.fronts import front_rows, hypervolume_band, rk_front
from rksearch.results.records import Role, TestResult
from rksearch.results.summaries import ArchSummary, best_per_band, by_macs, size_band, summarise
from rksearch.results.uncertainty import draw
from tests.helpers.ledgers import begin, complete, failed, pruned, summary, trial

# Few distinct values, so that ties are common.
POINTS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=14)


def item(name: str, params: int, error: float, *, role: Role = "candidate", macs: int | None = None) -> ArchSummary:
    return summary(name, params, [error], role=role, macs=params if macs is None else macs)


@given(POINTS)
def test_pareto_equals_brute_force(points: list[tuple[int, int]]) -> None:
    def beats(a: tuple[int, int], b: tuple[int, int]) -> bool:
        return a[0] <= b[0] and a[1] <= b[1] and a != b

    labelled = list(enumerate(points))
    expected = [(i, p) for i, p in labelled if not any(beats(q, p) for q in points)]
    found = pareto(labelled, cost=lambda x: x[1][0], error=lambda x: x[1][1])
    assert found == sorted(expected, key=lambda x: (x[1], x[0]))


def test_pareto_leaves_out_what_cannot_be_compared() -> None:
    points = [(1.0, math.nan), (2.0, 5.0), (math.nan, 0.0), (3.0, 4.0)]
    assert pareto(points, cost=lambda p: p[0], error=lambda p: p[1]) == [(2.0, 5.0), (3.0, 4.0)]


def test_summaries_hold_means_over_complete_trials(tmp_path: Path) -> None:
    ledger = begin(tmp_path)
    for replicate, error in ((1, 12.0), (0, 10.0)):
        ledger.write_trial(trial("ResNet-8", replicate, "baseline"), complete(error), wall_time_s=1.0)
    ledger.write_trial(trial("ResNet-8", 2, "baseline"), failed(), wall_time_s=1.0)
    ledger.write_trial(trial("ResNet-14"), failed(), wall_time_s=1.0)
    ledger.write_trial(trial("ResNet-20"), complete(9.0, params=7, seconds=16.0), wall_time_s=1.0)
    for reading in (20.0, 30.0):
        ledger.write_test(trial("ResNet-8", 0), TestResult(test_error_pct=reading, test_loss=1.0, test_images=10))
    first, second = summarise(ledger.read())
    assert (first.arch, first.role, first.seeds, first.val_error_pct) == ("ResNet-8", "baseline", 2, 11.0)
    assert first.val_error_sd_pct == pytest.approx(math.sqrt(2))
    assert first.trial_ids == ("ResNet-8@0", "ResNet-8@1")
    assert (first.test_error_pct, first.test_error_sd_pct, first.test_seeds) == (20.0, None, 1)
    assert (second.arch, second.seeds, second.val_error_sd_pct) == ("ResNet-20", 1, None)
    assert (second.params, second.family, second.train_time_s) == (7, "resnet", 16.0)


def test_only_full_trainings_with_a_validation_error_count(tmp_path: Path) -> None:
    ledger = begin(tmp_path)
    rk = "RKNet-k4-m1_1_1-1x1_1x1_1x1"
    ledger.write_trial(trial(rk, 0, "candidate"), complete(30.0), wall_time_s=1.0)
    ledger.write_trial(trial(rk, 0, "control"), complete(20.0), wall_time_s=1.0)
    ledger.write_trial(trial("ResNet-8", 0, "baseline"), pruned(50.0), wall_time_s=1.0)
    unseen = replace(complete(1.0), epochs=tuple(replace(e, val_error_pct=1.0) for e in complete(1.0).epochs))
    ledger.write_trial(trial(rk, 7, "final"), unseen, wall_time_s=1.0)
    (only,) = summarise(ledger.read())
    assert (only.arch, only.role, only.seeds, only.val_errors_pct) == (rk, "candidate", 2, (30.0, 20.0))


def test_an_architecture_of_the_paper_stays_known_when_the_search_repeats_it(tmp_path: Path) -> None:
    ledger = begin(tmp_path)
    ledger.write_trial(trial("ResNet-8", 0, "known"), complete(10.0), wall_time_s=1.0)
    ledger.write_trial(trial("ResNet-8", 1, "candidate"), complete(10.0), wall_time_s=1.0)
    assert [s.role for s in summarise(ledger.read())] == ["known"]


def test_baselines_are_compared_with_the_front_and_never_on_it() -> None:
    items = [
        item("small", 10, 30.0),
        item("large", 30, 10.0),
        item("poor", 31, 11.0),
        item("tiny base", 5, 40.0, role="baseline"),
        item("good base", 20, 5.0, role="baseline"),
        item("equal base", 30, 10.0, role="baseline"),
    ]
    assert [f.arch for f in rk_front(items)] == ["small", "large"]
    assert [(r.item.arch, r.beaten_by) for r in front_rows(items)] == [("small", ()), ("large", ("good base",))]
    rows = {r.item.arch: r for r in baseline_rows(items, draw(items))}
    assert rows["tiny base"].rival is None
    assert rows["tiny base"].comparison is None
    rival = rows["good base"].rival
    assert rival is not None
    assert rival.arch == "small"
    comparison = rows["equal base"].comparison
    assert comparison is not None
    assert (comparison.gap_pct, comparison.verdict) == (0.0, "not distinguishable")


def test_the_front_of_macs_is_another_one() -> None:
    items = [item("shared", 10, 20.0, macs=100), item("lean", 50, 20.0, macs=30)]
    assert [f.arch for f in rk_front(items)] == ["shared"]
    assert [f.arch for f in rk_front(items, cost=by_macs)] == ["lean"]


@pytest.mark.parametrize(
    ("gap", "spread", "seeds", "verdict"),
    [
        (-5.0, 0.5, 3, "lower"),
        (5.0, 0.5, 3, "higher"),
        (-0.5, 0.5, 3, "not distinguishable"),
        (-5.0, 0.5, 1, "not distinguishable"),
        (-5.0, 0.0, 2, "not distinguishable"),
    ],
)
def test_a_difference_counts_only_when_seeds_support_it(gap: float, spread: float, seeds: int, verdict: str) -> None:
    offsets = {1: (0.0,), 2: (-spread, spread), 3: (-spread, 0.0, spread)}[seeds]
    a, b = (
        summary(name, 1, [error + o for o in offsets], role="baseline") for name, error in (("a", 20 + gap), ("b", 20))
    )
    found = compare(a, b, draw([a, b]))
    assert found.gap_pct == pytest.approx(gap)
    assert found.verdict == verdict
    assert (found.interval_pct is None) == (seeds == 1 or spread == 0)


def test_intervals_of_gaps_cover_the_truth_as_often_as_they_say() -> None:
    rng = random.Random(2)
    covered = 0
    for _ in range(150):
        items = [
            summary(f"b{i}", 1_000 + i, [rng.gauss(20 + i, 1) for _ in range(3)], role="baseline") for i in range(4)
        ]
        found = compare(items[0], items[3], draw(items, resamples=600)).interval_pct
        assert found is not None
        covered += found[0] <= -3 <= found[1]
    assert covered / 150 == pytest.approx(0.95, abs=0.04)


def test_the_gap_of_a_lucky_pick_is_not_taken_at_face_value() -> None:
    rng = random.Random(4)
    base = summary("base", 2_000, [rng.gauss(20, 1) for _ in range(3)], role="baseline")
    # Every candidate is exactly as good as the baseline.
    seen = [summary(f"c{i}", 1_000 + i, [rng.gauss(20, 1) for _ in range(1 + 2 * (i < 4))]) for i in range(40)]
    (row,) = baseline_rows([base, *seen], draw([base, *seen]))
    assert row.comparison is not None
    assert row.comparison.gap_pct < -1.5
    assert row.comparison.verdict == "not distinguishable"


def test_hypervolume_is_the_area_of_the_staircase_and_its_band_holds_the_draws() -> None:
    items = [summary("a", 10, [40.0, 42.0]), summary("b", 100, [20.0, 22.0]), summary("c", 10_000, [1.0])]
    items.append(summary("base", 10, [5.0, 6.0], role="baseline"))
    found = hypervolume_band(items, draw(items), Reference(cost=1000, error_pct=90))
    assert found is not None
    assert found.band is not None
    # A decade at 90 - 41 percent, another at 90 - 21; whatever is beyond the reference adds nothing.
    assert found.of_means == pytest.approx(49 + 69)
    assert found.band[0] < found.expected < found.band[1]
    assert found.expected == pytest.approx(49 + 69, abs=5)
    assert hypervolume_band(items[3:], draw(items), found.reference) is None
    single = [summary("a", 10, [40.0])]
    alone = hypervolume_band(single, draw(single), found.reference)
    assert alone is not None
    assert alone.band is None


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(1, 400), st.integers(0, 100)), min_size=1, max_size=8))
def test_hypervolume_equals_a_sum_over_thin_strips(points: list[tuple[int, int]]) -> None:
    items = [summary(f"a{i}", cost, [float(error)]) for i, (cost, error) in enumerate(points)]
    found = hypervolume_band(items, draw(items, resamples=1), Reference(cost=200, error_pct=90))
    assert found is not None
    edges = sorted({min(cost, 200) for cost, _ in points} | {200})
    strips = [
        math.log10(right / left) * max(0.0, 90 - min(error for cost, error in points if cost <= left))
        for left, right in itertools.pairwise(edges)
    ]
    assert found.of_means == pytest.approx(math.fsum(strips))


@given(st.integers(1, 10**9))
def test_bands_hold_their_sizes_and_follow_one_another(params: int) -> None:
    low, high = size_band(params)
    assert low <= params < high
    assert size_band(high)[0] == high
    assert str(low).rstrip("0") in {"1", "2", "5"}


def test_best_of_each_band_leaves_out_baselines() -> None:
    items = [item("a", 12, 30.0), item("b", 19, 20.0), item("c", 25, 50.0), item("base", 13, 1.0, role="baseline")]
    assert {band: i.arch for band, i in best_per_band(items).items()} == {(10, 20): "b", (20, 50): "c"}


def test_no_size_below_one() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        size_band(0)
