"""Regret of the arms of a run, and the verdict on random search, beside brute force and simulation."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from rksearch.results.control import ControlVerdict, control_verdict
from rksearch.results.dominance import Reference
from rksearch.results.history import History
from rksearch.results.progress import CONTROL_ARM, DRAWS, SEARCH_ARM, arm_progress, regret_curves
from rksearch.results.records import SEARCHED, Role
from rksearch.results.summaries import ArchSummary, by_params, summarise
from rksearch.results.uncertainty import ErrorDraws, draw
from tests.helpers.ledgers import begin, candidates, complete, pruned, trial

CORNER = Reference(cost=200_000, error_pct=90)

Made = tuple[str, Role, int, Sequence[float]]
"""Name, role, parameters, and errors by seed."""


def recorded(path: Path, made: Sequence[Made]) -> History:
    ledger = begin(path)
    for arch, role, params, errors in made:
        for replicate, error in enumerate(errors):
            ledger.write_trial(trial(arch, replicate, role), complete(error, params=params), wall_time_s=3_600.0)
    return ledger.read()


def arms(rng: random.Random, number: int, better_by: float) -> list[Made]:
    """Networks of both arms in turn; those of the search have log-odds that are lower by `better_by`."""
    made: list[Made] = []
    for i, spec in enumerate(candidates(2 * number, seed=rng.randrange(10**6))):
        role: Role = "control" if i % 2 else "candidate"
        params = round(10 ** rng.uniform(4, 5))
        z = -0.2 - 0.8 * math.log10(params / 10_000) + rng.gauss(0, 0.15) - better_by * (role == "candidate")
        errors = [100 / (1 + math.exp(-(z + rng.gauss(0, 0.05)))) for _ in range(2)]
        made.append((spec.name, role, params, errors))
    return made


def strips(points: Sequence[tuple[int, float]], corner: Reference, low: float) -> float:
    """Mean height over log-cost of the staircase below the corner's error, from the cost `low` on."""
    edges = sorted({min(cost, corner.cost) for cost, _ in points} | {low, corner.cost})
    total = 0.0
    for left, right in itertools.pairwise(edges):
        least = min([error for cost, error in points if cost <= left], default=corner.error_pct)
        total += math.log10(right / left) * (corner.error_pct - min(least, corner.error_pct))
    return total / math.log10(corner.cost / low)


def test_regret_is_the_mean_distance_of_two_staircases(tmp_path: Path) -> None:
    history = recorded(tmp_path, arms(random.Random(3), 5, 0.2))
    items = summarise(history)
    draws = draw(items)
    curves = {curve.arm: curve for curve in regret_curves(history, items, draws, CORNER, by_params)}
    assert set(curves) == {SEARCH_ARM, CONTROL_ARM}
    by_name = {item.arch: item for item in items}
    column = {arch: i for i, arch in enumerate(draws.archs)}
    low = min(item.params for item in items)

    def area(archs: Sequence[str], row: int) -> float:
        return strips([(by_name[a].params, float(draws.errors_pct[row, column[a]])) for a in archs], CORNER, low)

    for arm, roles in ((SEARCH_ARM, SEARCHED), (CONTROL_ARM, ("control",))):
        found = arm_progress(history, roles)
        for at in (0, len(found.archs) - 1):
            regrets = [area(list(by_name), row) - area(found.archs[: at + 1], row) for row in range(DRAWS)]
            assert curves[arm].middle[at] == pytest.approx(math.fsum(regrets) / DRAWS)
            assert curves[arm].low[at] == pytest.approx(float(np.quantile(regrets, 0.05)), abs=1e-9)
        assert curves[arm].hours == pytest.approx(range(1, len(found.archs) + 1))
        assert curves[arm].epochs == tuple(8 * (i + 1) for i in range(len(found.archs)))


def test_an_arm_alone_ends_with_no_regret_and_counts_what_was_pruned(tmp_path: Path) -> None:
    ledger = begin(tmp_path)
    first, second, third = (spec.name for spec in candidates(3))
    ledger.write_trial(trial(first), pruned(50.0, epochs=2), wall_time_s=1800.0)
    ledger.write_trial(trial(second), complete(40.0, params=20_000), wall_time_s=1800.0)
    ledger.write_trial(trial(third), complete(30.0, params=30_000), wall_time_s=3600.0)
    ledger.write_trial(trial(third, 1), complete(31.0, params=30_000), wall_time_s=3600.0)
    history = ledger.read()
    items = summarise(history)
    (curve,) = regret_curves(history, items, draw(items), CORNER, by_params)
    assert (curve.epochs, curve.hours) == ((10, 18), (1.0, 2.0))
    assert curve.middle[0] > 1
    assert curve.middle[1] == curve.high[1] == 0
    assert regret_curves(begin(tmp_path / "empty").read(), [], draw([]), CORNER, by_params) == []


def judged(history: History) -> ControlVerdict:
    items = summarise(history)
    found = control_verdict(history, items, draw(items), CORNER)
    assert found is not None
    return found


def test_a_search_that_is_better_is_told_from_random_search(tmp_path: Path) -> None:
    better = judged(recorded(tmp_path / "better", arms(random.Random(5), 12, 0.8)))
    worse = judged(recorded(tmp_path / "worse", arms(random.Random(5), 12, -0.8)))
    assert (better.answer, worse.answer) == ("search better", "random better")
    assert better.gap_pct > 5
    assert better.matched < 0.2
    assert better.effort < 0.5
    assert worse.gap_pct < -5
    assert worse.matched > 0.8
    assert math.isinf(worse.effort)
    assert (better.epochs, better.searched, better.drawn) == (96, 12, 12)


def test_the_numbers_of_the_verdict_are_those_of_brute_force(tmp_path: Path) -> None:
    history = recorded(tmp_path, arms(random.Random(8), 4, 0.1))
    items = summarise(history)
    draws: ErrorDraws = draw(items)
    found = control_verdict(history, items, draws, CORNER)
    assert found is not None
    ours, theirs = ([i for i in items if i.role == role] for role in ("candidate", "control"))
    start = max(min(i.params for i in ours), min(i.params for i in theirs))
    edges = sorted({start, int(CORNER.cost), *(i.params for i in items if i.params > start)})

    def least(arm: Sequence[ArchSummary], row: int, cost: float) -> float:
        return min(float(draws.errors_pct[row, draws.archs.index(i.arch)]) for i in arm if i.params <= cost)

    gaps, matched = [], []
    whole = math.log10(CORNER.cost / start)
    for row in range(0, len(draws.errors_pct)):
        gap = share = 0.0
        for left, right in itertools.pairwise(edges):
            width = math.log10(right / left) / whole
            difference = least(theirs, row, left) - least(ours, row, left)
            gap += width * difference
            share += width * (difference <= 0)
        gaps.append(gap)
        matched.append(share)
    assert found.gap_pct == pytest.approx(float(np.median(gaps)))
    assert found.gap_interval_pct == pytest.approx(tuple(np.quantile(gaps, (0.025, 0.975))))
    assert found.matched == pytest.approx(float(np.median(matched)))


def test_the_effort_is_the_first_completion_with_the_hypervolume_of_random_search(tmp_path: Path) -> None:
    names = [spec.name for spec in candidates(5)]
    made: list[Made] = [
        (names[0], "candidate", 20_000, (60.0, 60.1)),
        (names[1], "candidate", 20_000, (40.0, 40.1)),
        (names[2], "candidate", 20_000, (20.0, 20.1)),
        (names[3], "control", 20_000, (50.0, 50.1)),
        (names[4], "control", 20_000, (45.0, 45.1)),
    ]
    found = judged(recorded(tmp_path, made))
    # Both arms are granted the 16 epochs of the control; the search had a lower error after its second network.
    assert (found.epochs, found.searched, found.drawn) == (16, 2, 2)
    assert found.effort == 1.0
    assert found.matched == 0.0


def test_equal_arms_are_told_apart_as_rarely_as_chance_allows(tmp_path: Path) -> None:
    rng = random.Random(13)
    answers = [judged(recorded(tmp_path / str(i), arms(rng, 8, 0.0))).answer for i in range(10)]
    # One in twenty is expected.
    assert len(answers) - answers.count("not distinguishable") <= 2


def test_no_verdict_without_both_arms(tmp_path: Path) -> None:
    history = recorded(tmp_path, [(candidates(1)[0].name, "candidate", 20_000, (10.0, 11.0))])
    items = summarise(history)
    assert control_verdict(history, items, draw(items), CORNER) is None
