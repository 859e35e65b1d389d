from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rksearch.front import (
    ArchSummary,
    baseline_rows,
    best_per_band,
    by_macs,
    compare,
    front_rows,
    pareto,
    rk_front,
    size_band,
    summarise,
)
from rksearch.records import Role
from tests.ledgers import begin, complete, failed, summary, trial

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
        ledger.write_test(trial("ResNet-8", 0), {"test_error_pct": reading, "test_loss": 1.0, "test_images": 10})
    first, second = summarise(ledger.read())
    assert (first.arch, first.role, first.seeds, first.val_error_pct) == ("ResNet-8", "baseline", 2, 11.0)
    assert first.val_error_sd_pct == pytest.approx(math.sqrt(2))
    assert first.trial_ids == ("ResNet-8@0", "ResNet-8@1")
    assert (first.test_error_pct, first.test_error_sd_pct, first.test_seeds) == (20.0, None, 1)
    assert (second.arch, second.seeds, second.val_error_sd_pct) == ("ResNet-20", 1, None)
    assert (second.params, second.family, second.train_time_s) == (7, "resnet", 16.0)


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
    rows = {r.item.arch: r for r in baseline_rows(items)}
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
def test_a_difference_counts_only_when_the_seeds_support_it(
    gap: float, spread: float, seeds: int, verdict: str
) -> None:
    offsets = {1: (0.0,), 2: (-spread, spread), 3: (-spread, 0.0, spread)}[seeds]
    a, b = summary("a", 1, [20.0 + gap + o for o in offsets]), summary("b", 1, [20.0 + o for o in offsets])
    found = compare(a, b)
    assert found.gap_pct == pytest.approx(gap)
    assert found.verdict == verdict
    assert (found.interval_pct is None) == (seeds == 1 or spread == 0)


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
