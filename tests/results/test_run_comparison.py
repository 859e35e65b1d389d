"""Comparisons of runs: the same draws for all, effort, the ladder, and refusals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rksearch.errors import RunError
from rksearch.recipes.shipped import recipe
from rksearch.report.comparison import comparison_content
from rksearch.report.markdown import report_markdown
from rksearch.results.dominance import hypervolume
from rksearch.results.history import History
from rksearch.results.ledger import Ledger
from rksearch.results.plan import Plan
from rksearch.results.records import Role, TestResult
from rksearch.results.run_comparison import compare_runs, mismatches
from rksearch.results.stats import mean
from rksearch.results.summaries import summarise
from rksearch.results.uncertainty import draw
from tests.helpers.ledgers import (
    candidates,
    complete,
    environment_record,
    failed,
    full_run,
    large_run,
    plan_record,
    pruned,
    space_record,
    ticking,
    trial,
)

NAMES = [net.name for net in candidates(12)]

Trainings = list[tuple[str, int, Role, float, int]]
"""Architecture, replicate, role, error in percent and parameters."""


def run_of(path: Path, trainings: Trainings, *, split: str | None = None, **plan: Any) -> History:
    """The history of a run that made these trainings, of 8 epochs each, in this order."""
    ledger = Ledger(path, clock=ticking())
    made: Plan = plan_record(baselines=(), known=(), **plan)
    ledger.write_run(name=path.name, space=space_record(), plan=made)
    ledger.write_session(environment=environment_record(), options={})
    for arch, replicate, role, error, params in trainings:
        spec = replace(trial(arch, replicate, role), recipe=made.recipe, train_images=made.train_images)
        result = complete(error, params=params, macs=100 * params)
        ledger.write_trial(spec, replace(result, split=split) if split else result, wall_time_s=10.0)
    return ledger.read()


def two_seeds(archs: list[str], error: float, *, first_size: int = 10_000) -> Trainings:
    """Two seeds of each, larger and better one by one."""
    found: Trainings = []
    for i, arch in enumerate(archs):
        for replicate, shift in enumerate((-0.3, 0.3)):
            found.append((arch, replicate, "candidate", error - 2 * i + shift, first_size * 2**i))
    return found


def test_a_run_beside_itself_differs_in_nothing(tmp_path: Path) -> None:
    history = full_run(tmp_path).read()
    found = compare_runs({"a": history, "b": history})
    assert found.pooled
    assert found.shared == sum(item.is_searched for item in summarise(history))
    for difference in found.differences:
        assert (difference.of_means, difference.expected, difference.interval) == (0, 0, (0, 0))
        assert difference.verdict == "not distinguishable"
    for rung in found.rungs:
        assert rung.best[0] == rung.best[1]
        assert rung.comparisons[0] is None
        assert rung.comparisons[1] is None or rung.comparisons[1].gap_pct == 0


def test_the_hypervolumes_of_one_run_are_those_of_its_report(tmp_path: Path) -> None:
    history = full_run(tmp_path).read()
    found = compare_runs({"a": history, "b": history})
    items = [item for item in summarise(history) if item.is_searched]
    drawn = hypervolume(draw(summarise(history)).of(items), [i.params for i in items], found.references["params"])
    side = found.sides[0]
    assert side.hypervolume is not None
    assert side.hypervolume.expected == pytest.approx(float(np.median(drawn)))
    assert found.references["params"].cost == 149_810
    assert found.references["params"].error_pct == 90


def test_a_clearly_better_run_has_the_larger_hypervolume(tmp_path: Path) -> None:
    good = run_of(tmp_path / "good", two_seeds(NAMES[:4], 20.0))
    bad = run_of(tmp_path / "bad", two_seeds(NAMES[4:8], 40.0))
    found = compare_runs({"good": good, "bad": bad})
    for cost in ("params", "macs"):
        difference = found.difference("good", "bad", cost)
        assert difference is not None
        assert difference.interval is not None
        assert difference.interval[0] > 0
        assert difference.verdict == "larger"
    assert {r.comparisons[1].verdict for r in found.rungs if r.comparisons[1]} == {"higher"}
    other = compare_runs({"bad": bad, "good": good}).difference("bad", "good", "params")
    assert other is not None
    assert other.verdict == "smaller"
    assert other.of_means == pytest.approx(-found.difference("good", "bad", "params").of_means)  # type: ignore[union-attr]


def test_the_ladder_has_the_test_gap_where_both_were_read(tmp_path: Path) -> None:
    def tested(path: Path, archs: list[str], error: float, readings: Mapping[str, float]) -> History:
        run_of(path, two_seeds(archs, error, first_size=15_000))
        ledger = Ledger(path, clock=ticking())
        for arch, reading in readings.items():
            for replicate, shift in enumerate((-0.2, 0.2)):
                read = TestResult(test_error_pct=reading + shift, test_loss=1.0, test_images=10_000)
                ledger.write_test(trial(arch, replicate), read)
        return ledger.read()

    # The larger networks were read for both, the smaller ones for one side alone.
    a = tested(tmp_path / "a", NAMES[:2], 30.0, {NAMES[0]: 31.0, NAMES[1]: 29.0})
    b = tested(tmp_path / "b", NAMES[2:4], 25.0, {NAMES[3]: 33.0})
    found = [rung for rung in compare_runs({"a": a, "b": b}).rungs if rung.cost == "params"]
    assert [[item and item.arch for item in rung.best] for rung in found] == [
        [NAMES[0], NAMES[2]],
        [NAMES[1], NAMES[3]],
    ]
    small, large = (rung.tested for rung in found)
    assert small == (None, None)
    assert large[0] is None
    assert large[1] is not None
    # Better on the validation images, and worse on the test set.
    assert found[1].comparisons[1].outcome == "win"  # type: ignore[union-attr]
    assert large[1].gap_pct == pytest.approx(4.0)
    assert large[1].outcome == "loss"
    assert large[1].interval_pct is not None
    assert large[1].interval_pct[0] < 4 < large[1].interval_pct[1]


def test_test_errors_of_more_images_are_not_set_beside_others(tmp_path: Path) -> None:
    def tested(name: str, arch: str, role: Role) -> History:
        run_of(tmp_path / name, two_seeds([arch], 30.0))
        ledger = Ledger(tmp_path / name, clock=ticking())
        for replicate in range(2):
            made = trial(arch, replicate, role)
            if role == "final":
                ledger.write_trial(made, complete(25.0), wall_time_s=1.0)
            ledger.write_test(made, TestResult(test_error_pct=31.0, test_loss=1.0, test_images=10_000))
        return ledger.read()

    a, b = tested("a", NAMES[0], "candidate"), tested("b", NAMES[1], "final")
    found = compare_runs({"a": a, "b": b})
    assert found.mismatches == ()
    assert {tested for rung in found.rungs for tested in rung.tested} == {None}
    page = report_markdown(comparison_content(found))
    assert "by one kind of training: those of the search, or those made for it on more images" in page
    assert "Test gap (95 %)" not in page
    assert page.count("| 31.00 ± 0.00 % (fresh) |") == page.count("| 31.00 ± 0.00 % |") == 1
    assert "A test error marked as fresh is of trainings made for the test set" in page
    c = tested("c", NAMES[2], "final")
    page = report_markdown(comparison_content(compare_runs({"b": b, "c": c})))
    assert "Test gap (95 %)" in page
    assert "fresh" not in page


def test_a_network_of_two_runs_has_the_seeds_of_both_and_the_same_seed_once(tmp_path: Path) -> None:
    arch = NAMES[0]
    first = run_of(tmp_path / "a", [(arch, 0, "candidate", 20.0, 10_000), (arch, 1, "candidate", 21.0, 10_000)])
    second = run_of(tmp_path / "b", [(arch, 0, "candidate", 20.0, 10_000), (arch, 2, "candidate", 24.0, 10_000)])
    found = compare_runs({"a": first, "b": second})
    for side in found.sides:
        assert side.front[0].val_errors_pct == (20.0, 21.0, 24.0)
    assert found.shared == 1
    assert found.difference("a", "b", "params").interval == (0, 0)  # type: ignore[union-attr]


def test_a_training_that_one_run_stopped_counts_where_another_completed_it(tmp_path: Path) -> None:
    first = run_of(tmp_path / "a", two_seeds(NAMES[1:3], 30.0))
    stopped = replace(
        first,
        trials={
            **first.trials,
            f"{NAMES[0]}@0": (trial(NAMES[0]), pruned(60.0)),
            f"{NAMES[3]}@0": (trial(NAMES[3]), failed()),
        },
    )
    second = run_of(tmp_path / "b", [(NAMES[0], 0, "candidate", 15.0, 10_000)])
    found = compare_runs({"a": stopped, "b": second})
    a, b = found.sides
    assert NAMES[0] not in {item.arch for item in a.front}, "the side did not find it"
    assert [item.arch for item in b.front] == [NAMES[0]]
    # `pruned` ran two epochs, each of the two first trainings eight.
    assert (a.trained, a.pruned, a.failed, a.epochs) == (2, 1, 1, 18)
    assert a.hours == pytest.approx(20 / 3600)


def test_at_equal_effort_both_are_cut_at_the_shorter_ones_last_discovery(tmp_path: Path) -> None:
    long = run_of(tmp_path / "long", two_seeds(NAMES[:6], 40.0))
    short = run_of(tmp_path / "short", two_seeds(NAMES[6:8], 30.0))
    found = compare_runs({"long": long, "short": short})
    equal = found.difference("long", "short", "params", equal=True)
    assert equal is not None
    assert equal.epochs == 16
    cut = compare_runs({"long": run_of(tmp_path / "cut", two_seeds(NAMES[:2], 40.0)), "short": short})
    expected = cut.difference("long", "short", "params")
    assert expected is not None
    # The mean errors of the two networks are the same with and without the four that came later.
    assert equal.of_means == pytest.approx(expected.of_means)
    whole = found.difference("long", "short", "params")
    assert whole is not None
    assert whole.of_means > equal.of_means


def test_the_ladder_has_the_best_at_each_size_as_a_naive_search_finds_it(tmp_path: Path) -> None:
    first = Ledger(large_run(tmp_path / "a", 60, epochs=3, seed=1)).read()
    second = Ledger(large_run(tmp_path / "b", 60, epochs=3, seed=2)).read()
    found = compare_runs({"a": first, "b": second})
    pooled = replace(first, trials={**second.trials, **first.trials})
    errors = {item.arch: item.error_pct for item in summarise(pooled)}
    rungs = [rung for rung in found.rungs if rung.cost == "params"]
    assert [rung.limit for rung in rungs] == sorted(rung.limit for rung in rungs)
    for rung in rungs:
        for best, history in zip(rung.best, (first, second), strict=True):
            own = {s.arch: r.params for s, r in history.trials.values() if s.is_searched}
            small = {arch for arch, params in own.items() if params is not None and params <= rung.limit}
            least = min((errors[arch] for arch in small), default=math.nan)
            assert (best is None) == (not small)
            assert best is None or best.error_pct == least


def test_a_control_arm_is_a_side_of_its_own(tmp_path: Path) -> None:
    history = Ledger(large_run(tmp_path, 80, epochs=3, control=30)).read()
    found = compare_runs({"run": history})
    assert [(side.label, side.is_control) for side in found.sides] == [("run", False), ("run (control)", True)]
    search, control = found.sides
    assert (search.trained, control.trained) == (50, 30)
    assert control.epochs == 90
    assert found.difference("run", "run (control)", "params") is not None
    with pytest.raises(RunError, match="two runs, or one with a control arm, but got one run without"):
        compare_runs({"run": full_run(tmp_path / "without").read()})


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"recipe": recipe("short", epochs=9)}, "recipe.epochs"),
        ({"recipe": replace(recipe("short", epochs=8), lr=0.05)}, "recipe.lr"),
        ({"train_images": 5_000}, "train_images"),
        ({"dataset": "cifar100"}, "dataset"),
        ({"objectives": ("balanced_val_error_pct", "params")}, "metric"),
        ({"split": "ffff000011112222"}, "split"),
    ],
)
def test_runs_that_differ_in_what_makes_errors_comparable_are_refused(
    tmp_path: Path, changes: Mapping[str, Any], field: str
) -> None:
    first = run_of(tmp_path / "a", two_seeds(NAMES[:2], 30.0))
    changes = dict(changes)
    metric = changes.pop("objectives", None)
    second = run_of(tmp_path / "b", two_seeds(NAMES[:2], 30.0), **changes)
    if metric:
        assert second.run is not None
        second = replace(second, run=replace(second.run, plan=replace(second.run.plan, objectives=metric)))
    histories = {"a": first, "b": second}
    assert next(mismatch.field for mismatch in mismatches(histories)) == field
    with pytest.raises(RunError, match=rf"but {field} is .* in a and .* in b.*; give --allow-differences"):
        compare_runs(histories)
    if not metric:  # without balanced errors there is nothing to compare by
        allowed = compare_runs(histories, allow_differences=True)
        assert [mismatch.field for mismatch in allowed.mismatches] == [field]
        assert not allowed.pooled


def test_a_recipe_of_another_name_is_the_same_recipe(tmp_path: Path) -> None:
    first = run_of(tmp_path / "a", two_seeds(NAMES[:2], 30.0))
    second = run_of(tmp_path / "b", two_seeds(NAMES[:2], 30.0), recipe=replace(recipe("short", epochs=8), name="mine"))
    assert mismatches({"a": first, "b": second}) == []


def test_without_pooling_runs_are_independent_even_where_their_ledgers_are_alike(tmp_path: Path) -> None:
    trainings = two_seeds(NAMES[:4], 30.0)
    first = run_of(tmp_path / "a", trainings)
    second = run_of(tmp_path / "b", trainings, split="ffff000011112222")
    found = compare_runs({"a": first, "b": second}, allow_differences=True)
    difference = found.difference("a", "b", "params")
    assert difference is not None
    assert difference.of_means == 0
    assert difference.interval is not None
    low, high = difference.interval
    assert low < -0.01 < 0.01 < high
    first_area = compare_runs({"a": first, "b": first}).sides[0].hypervolume
    assert first_area is not None
    assert first_area.band is not None
    # The spread of a difference of two independent areas of the same spread.
    width = first_area.band[1] - first_area.band[0]
    assert (high - low) / width == pytest.approx(math.sqrt(2) * 1.96 / 1.645, rel=0.15)


def test_a_run_without_a_network_is_a_side_without_a_front(tmp_path: Path) -> None:
    found = compare_runs({"a": run_of(tmp_path / "a", two_seeds(NAMES[:2], 30.0)), "b": run_of(tmp_path / "b", [])})
    assert found.sides[1].front == ()
    assert found.sides[1].hypervolume is None
    assert found.differences == ()
    assert all(rung.best[1] is None for rung in found.rungs)
    empty = compare_runs({"a": run_of(tmp_path / "c", []), "b": run_of(tmp_path / "d", [])})
    assert (empty.rungs, empty.differences) == ((), ())


def test_one_seed_each_gives_differences_without_intervals(tmp_path: Path) -> None:
    single: list[Trainings] = [
        [(arch, 0, "candidate", 30.0 - i, 10_000 * (i + 1)) for i, arch in enumerate(names)]
        for names in (NAMES[:3], NAMES[3:6])
    ]
    found = compare_runs({str(i): run_of(tmp_path / str(i), own) for i, own in enumerate(single)})
    assert {difference.interval for difference in found.differences} == {None}
    assert {difference.verdict for difference in found.differences} == {"not distinguishable"}
    assert all(comparison.interval_pct is None for rung in found.rungs if (comparison := rung.comparisons[1]))


def test_a_ledger_without_a_plan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="that of b has none"):
        compare_runs({"a": full_run(tmp_path).read(), "b": History()})


def test_errors_of_the_sides_are_means_over_all_seeds(tmp_path: Path) -> None:
    found = compare_runs(
        {
            "a": run_of(tmp_path / "a", two_seeds(NAMES[:2], 30.0)),
            "b": run_of(tmp_path / "b", two_seeds(NAMES[2:4], 31.0)),
        }
    )
    for side in found.sides:
        for item in side.front:
            assert item.error_pct == pytest.approx(mean(item.val_errors_pct))
