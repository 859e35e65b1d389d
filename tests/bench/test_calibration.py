"""Simulated runs of a run's shape, and how often the report's claims hold in them."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rksearch.bench.calibration import NOMINAL, calibrate
from rksearch.bench.simulated_runs import LARGEST_RUN, RunShape, SimulatedRun, run_shape, simulated_runs
from rksearch.errors import RunError
from rksearch.report.calibration import calibration_blocks
from rksearch.report.sections import Paragraph
from rksearch.results.calibration import (
    Calibration,
    CalibrationCase,
    ClaimCount,
    Coverage,
    Reliability,
    clustered_share,
    coverage,
    reliability,
)
from rksearch.results.history import History
from rksearch.results.ledger import Ledger
from rksearch.results.plan import RacingRule
from rksearch.results.stats import mean
from rksearch.results.summaries import summarise
from rksearch.results.uncertainty import draw, error_of, log_odds, predicted_runs
from tests.helpers.ledgers import BASELINES, KNOWN, full_run, large_run, summary


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    return full_run(tmp_path_factory.mktemp("full")).read()


def raced(history: History) -> History:
    """The same run, as if its candidates had raced."""
    assert history.run is not None
    rule = RacingRule(rungs=(2, 4), keep=0.5, bands=2, rank="train_loss_sum")
    return replace(history, run=replace(history.run, plan=replace(history.run.plan, racing=rule)))


def simulated(history: History, runs: int = 3) -> tuple[RunShape, list[SimulatedRun]]:
    items = summarise(history)
    assert history.plan is not None
    shape = run_shape(history, history.plan, items)
    return shape, list(simulated_runs(shape, items, runs, "normal", np.random.default_rng(0)))


def test_a_simulated_run_has_the_networks_sizes_and_seeds_of_its_run(history: History) -> None:
    shape, runs = simulated(history)
    sizes = {item.arch: (item.params, item.macs) for item in summarise(history)}
    assert {network.arch: (network.params, network.macs) for network in shape.networks} == sizes
    assert shape.images == 5_000
    for run in runs:
        items = summarise(run.history)
        assert {item.arch for item in items} == set(sizes)
        assert {item.seeds for item in items if item.is_baseline} == {3}
        front = [item for item in items if item.is_searched and item.seeds == 3]
        assert front, "the front got its further seeds"
        assert {item.seeds for item in items} <= {1, 2, 3}
        assert run.true_pct.keys() == sizes.keys()
        for item in items:
            # Errors are whole numbers of validation images.
            counts = [error * 50 for error in item.val_errors_pct]
            assert counts == pytest.approx([round(count) for count in counts])
        roles = {spec.arch: spec.role for spec, _ in run.history.trials.values()}
        assert {arch for arch, role in roles.items() if role == "baseline"} == set(BASELINES)
        assert {arch for arch, role in roles.items() if role == "known"} == set(KNOWN)


def test_racing_stops_candidates_of_simulated_runs_and_spares_the_papers(history: History) -> None:
    shape, runs = simulated(raced(history))
    assert shape.plan.recipe.epochs == 3
    for run in runs:
        stopped = run.history.pruned
        assert 0 < len(stopped) < len(shape.networks)
        assert {spec.role for spec, _ in stopped.values()} == {"candidate"}
        assert {len(result.epochs) for _, result in stopped.values()} <= {1, 2}


def test_which_network_is_good_differs_from_run_to_run(history: History) -> None:
    _, runs = simulated(history, 12)
    best = {min((a for a in run.true_pct if a not in BASELINES), key=run.true_pct.__getitem__) for run in runs}
    assert len(best) > 3
    # Baselines stay where they were seen.
    for item in summarise(history):
        if item.is_baseline:
            true = [run.true_pct[item.arch] for run in runs]
            assert mean(true) == pytest.approx(item.error_pct, abs=3)


def test_a_resampled_run_has_errors_and_seeds_of_its_run_and_no_others(history: History) -> None:
    items = summarise(history)
    assert history.plan is not None
    shape = run_shape(history, history.plan, items)
    runs = list(simulated_runs(shape, items, 4, "resampled", np.random.default_rng(1)))
    seen = {item.arch: float(log_odds(np.array([item.error_pct]))[0]) for item in items}
    strays: list[float] = []
    for item in items:
        if item.seeds > 1:
            logs = log_odds(np.array(item.errors_pct))
            strays += ((logs - logs.mean()) * math.sqrt(item.seeds / (item.seeds - 1))).tolist()
    image = 100 / 5_000
    for run in runs:
        for item in summarise(run.history):
            for error in item.val_errors_pct:
                # A training is a network's error with a seed's deviation, rounded to whole images.
                sources = [seen[item.arch]] if item.is_baseline else [z for a, z in seen.items() if a not in BASELINES]
                possible = error_of(np.array([[z + d, z - d] for z in sources for d in strays]))
                assert np.abs(possible - error).min() <= image / 2 + 1e-3
        assert len(set(run.true_pct.values())) == len(run.true_pct), "no two networks tie exactly"
    assert len({tuple(run.true_pct.values()) for run in runs}) == 4


def test_long_runs_are_thinned(tmp_path: Path) -> None:
    history = Ledger(large_run(tmp_path, 1_100, epochs=2)).read()
    assert history.plan is not None
    shape = run_shape(history, history.plan, summarise(history))
    kept = sum(network.role == "candidate" for network in shape.networks)
    assert kept <= LARGEST_RUN
    assert kept + shape.left_out == 1_100


def test_claims_are_counted_and_the_same_seed_counts_the_same(history: History) -> None:
    ended: list[None] = []
    found = calibrate(history, runs=2, on_run=lambda: ended.append(None))
    # As text: from Python 3.13 on a dataclass that holds a NaN does not equal itself.
    assert repr(found) == repr(calibrate(history, runs=2))
    assert len(ended) == 6
    assert [case.noise for case in found.cases] == ["normal", "heavy-tailed", "resampled"]
    for case in found.cases:
        assert [own.claim for own in case.coverages] == list(NOMINAL)
        for own in case.coverages:
            assert own.made == 0 or 0 <= own.low <= own.share <= own.high <= 1
        assert sum(own.networks for own in case.reliabilities) > 0
    gaps = found.cases[0].coverages[0]
    assert gaps.made <= 2 * 2 * len(BASELINES)
    assert (found.baselines, found.candidates) == (len(BASELINES), 24)


@pytest.mark.slow
def test_where_the_model_is_right_its_claims_hold_as_often_as_they_say(history: History) -> None:
    """The report's own intervals, seeds given to the front and rounding to images included."""
    normal = calibrate(history, runs=150).cases[0]
    for own in normal.coverages:
        if own.nominal is not None and own.made:
            assert own.high > own.nominal - 0.03, own
    for found in normal.reliabilities:
        assert found.networks == 0 or found.interval[0] - 0.08 <= found.claimed <= found.interval[1] + 0.08, found


def test_probabilities_that_are_wrong_stand_in_the_first_sentence() -> None:
    held = Coverage(claim="An interval holds", nominal=0.9, made=100, share=0.91, low=0.85, high=0.97)
    right = Reliability(low=0.5, high=0.9, networks=80, claimed=0.7, happened=0.69, interval=(0.6, 0.78))
    wrong = replace(right, happened=0.3, interval=(0.2, 0.4))
    none = Reliability(low=0.1, high=0.5, networks=0, claimed=math.nan, happened=math.nan, interval=(0.0, 1.0))

    def answer(*cases: CalibrationCase) -> str:
        found = Calibration(
            runs=9, seed=0, candidates=9, baselines=0, left_out=0, raced=False, trainings=9.0, cases=cases
        )
        first = calibration_blocks(found)[0]
        assert isinstance(first, Paragraph)
        return first.text

    fine = CalibrationCase(noise="normal", coverages=(held,), reliabilities=(right, none))
    assert answer(fine).startswith("Yes")
    said = "of those at 70 % on average, 30 % are (resampled run)"
    bad = CalibrationCase(noise="resampled", coverages=(held,), reliabilities=(wrong, none))
    assert answer(fine, bad).startswith("Not all")
    assert said in answer(fine, bad)
    short = replace(bad, coverages=(replace(held, share=0.7, low=0.6, high=0.8),))
    assert "1 of 2 hold" in answer(fine, short)
    assert said in answer(fine, short)


def test_a_run_too_small_to_tell_its_shape_is_refused(tmp_path: Path, history: History) -> None:
    with pytest.raises(RunError, match="at least 8 of its searched networks are trained to the end, but there are 0"):
        calibrate(History())
    single = {key: pair for key, pair in history.trials.items() if pair[0].replicate == 0}
    with pytest.raises(RunError, match="two seeds that differ, but none has"):
        calibrate(replace(history, trials=single))
    with pytest.raises(ValueError, match="runs must be at least 1, but got 0"):
        calibrate(history, runs=0)


def test_predicted_runs_have_the_trend_scatter_and_spread_that_were_seen() -> None:
    rng = np.random.default_rng(3)
    sizes = np.exp(rng.uniform(math.log(1e4), math.log(1e5), 80)).astype(int)
    z = -1 - 0.5 * np.log(sizes / 3e4) + rng.normal(0, 0.3, 80)
    items = [
        summary(f"a{i}", int(size), error_of(own + rng.normal(0, 0.1, 2)).tolist())
        for i, (size, own) in enumerate(zip(sizes, z, strict=True))
    ]
    found = predicted_runs(items, [(i.params, i.macs) for i in items], runs=400, generator=np.random.default_rng(0))
    assert found.z.shape == (400, 80)
    assert (found.z - found.trend).std() == pytest.approx(0.3, rel=0.15)
    assert np.median(found.sd(found.z)) == pytest.approx(0.1, rel=0.2)
    slope = np.polyfit(np.log(sizes), found.trend.mean(axis=0), 1)[0]
    assert slope == pytest.approx(-0.5, abs=0.12)
    # The networks' own results do not count.
    seen = draw(items).medians_pct
    assert abs(np.corrcoef(found.z.mean(axis=0) - found.trend.mean(axis=0), seen)[0, 1]) < 0.3
    with pytest.raises(ValueError, match="but got none"):
        predicted_runs([replace(items[0], role="baseline")], [(1, 1)], runs=1, generator=rng)


def test_a_share_has_an_interval_that_knows_of_runs() -> None:
    alike = [ClaimCount(made=10, held=9.0)] * 50
    assert clustered_share(alike)[0] == pytest.approx(0.9)
    # Claims of a run that hold or fail together are as good as one.
    together = [ClaimCount(made=10, held=10.0)] * 45 + [ClaimCount(made=10, held=0.0)] * 5
    share, (low, high) = clustered_share(together)
    assert share == pytest.approx(0.9)
    assert high - low == pytest.approx(2 * 2.01 * math.sqrt(0.9 * 0.1 / 49), rel=0.02)
    always = clustered_share([ClaimCount(made=4, held=4.0)] * 20)
    assert always[0] == 1
    assert 0.8 < always[1][0] < 0.9
    with pytest.raises(ValueError, match="at least one claim"):
        clustered_share([ClaimCount(made=0, held=0.0)])
    never = coverage("x", 0.95, [ClaimCount(made=0, held=0.0)])
    assert (never.made, never.low, never.high) == (0, 0.0, 1.0)
    assert math.isnan(never.share)
    none = reliability(0.1, 0.5, [], [ClaimCount(made=0, held=0.0)])
    assert none.networks == 0
