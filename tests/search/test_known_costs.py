"""KnownCostSampler in ordinary studies: any parameters, costs by a function."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from rksearch.errors import SpaceError
from rksearch.results.dominance import non_dominated
from rksearch.search.samplers import KnownCostSampler
from rksearch.search.samplers.known_costs import ParameterListing

SPACE: dict[str, BaseDistribution] = {
    "depth": IntDistribution(1, 12),
    "width": CategoricalDistribution([8, 16, 32, 64, 128]),
    "act": CategoricalDistribution(["relu", "silu", "gelu"]),
    "drop": FloatDistribution(0.0, 0.4, step=0.1),
    "norm": CategoricalDistribution([True, False]),
}
MOST = 150_000


def costs(params: Mapping[str, Any]) -> list[float] | None:
    weights = params["depth"] * params["width"] ** 2
    return None if weights > MOST else [weights]


def error_of(params: Mapping[str, Any]) -> float:
    weights = params["depth"] * params["width"] ** 2
    flaws = (params["act"] != "silu") * 0.25 + abs(params["drop"] - 0.2) + (not params["norm"]) * 0.2
    return float(60 * weights**-0.18 * (1 + flaws) * (1 + 0.05 * abs(params["depth"] - 6)))


def new_study(sampler: optuna.samplers.BaseSampler, objectives: int = 2) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(directions=["minimize"] * objectives, sampler=sampler)


def objective(trial: optuna.Trial) -> tuple[float, float]:
    for name, distribution in SPACE.items():
        trial._suggest(name, distribution)
    found = costs(trial.params)
    return (error_of(trial.params), found[0]) if found else (60.0, float(MOST))


def hypervolume(study: optuna.Study) -> float:
    """Area that the trials dominate below an error of 60 at most, over the logarithm of the cost."""
    points = np.array([(math.log10(t.values[1]), t.values[0]) for t in study.trials if t.values[0] < 60])
    front = points[sorted(non_dominated([tuple(point) for point in points]))]
    front = front[np.argsort(front[:, 0])]
    ends = np.append(front[1:, 0], math.log10(MOST))
    return float(((ends - front[:, 0]) * (60 - front[:, 1])).sum())


def test_it_finds_more_of_the_front_than_random_search() -> None:
    ratios = []
    for seed in range(2):
        ours, random = (
            new_study(KnownCostSampler(SPACE, costs, seed=seed)),
            new_study(optuna.samplers.RandomSampler(seed=seed)),
        )
        for study in (ours, random):
            study.optimize(objective, n_trials=25)
        ratios.append(hypervolume(ours) / hypervolume(random))
    assert min(ratios) > 1
    assert np.mean(ratios) > 1.05


def test_nothing_infeasible_and_nothing_twice_as_long_as_there_is_more() -> None:
    space = {"a": IntDistribution(0, 4), "b": CategoricalDistribution(["x", "y"])}

    def allowed(params: Mapping[str, Any]) -> list[float] | None:
        return None if params == {"a": 4, "b": "y"} else [1.0 + params["a"]]

    study = new_study(KnownCostSampler(space, allowed, seed=0))
    for i in range(9):
        trial = study.ask(space)
        assert allowed(trial.params) is not None
        study.tell(trial, [50 - i, 1.0 + trial.params["a"]])
    assert len({str(sorted(t.params.items())) for t in study.trials}) == 9
    assert allowed(study.ask(space).params) is not None, "a repetition when nothing else is left"


def test_what_runs_is_not_proposed_again_and_failures_do_not_count() -> None:
    study = new_study(KnownCostSampler(SPACE, costs, seed=1))
    study.optimize(objective, n_trials=6)
    asked = [study.ask(SPACE) for _ in range(5)]
    assert len({str(trial.params) for trial in asked}) == 5
    study.tell(asked[0], state=TrialState.FAIL)
    study.tell(asked[1], [math.inf, 64.0])
    assert study.ask(SPACE).params not in [trial.params for trial in asked]


def test_parameters_of_one_s_own_may_be_enqueued_and_repeated() -> None:
    study = new_study(KnownCostSampler(SPACE, costs, seed=1))
    own = {"depth": 3, "width": 16, "act": "silu", "drop": 0.2, "norm": True}
    for _ in range(3):
        study.enqueue_trial(own)
    study.optimize(objective, n_trials=8)
    assert [trial.params == own for trial in study.trials] == [True] * 3 + [False] * 5


def test_the_error_may_stand_anywhere_and_there_may_be_two_costs() -> None:
    def both(params: Mapping[str, Any]) -> list[float]:
        return [params["depth"] * params["width"] ** 2, 1.0 + params["depth"]]

    study = new_study(KnownCostSampler(SPACE, both, error=1, worst_error=60, seed=0), objectives=3)
    for _ in range(12):
        trial = study.ask(SPACE)
        weights, depth = both(trial.params)
        study.tell(trial, [weights, error_of(trial.params), depth])
    assert len(study.best_trials) >= 2


def test_the_same_seed_proposes_the_same() -> None:
    found = []
    for _ in range(2):
        study = new_study(KnownCostSampler(SPACE, costs, seed=3))
        study.optimize(objective, n_trials=9)
        found.append([trial.params for trial in study.trials])
    assert found[0] == found[1]


def test_a_sampler_may_go_from_one_study_to_another() -> None:
    sampler = KnownCostSampler(SPACE, costs, seed=3)
    for _ in range(2):
        study = new_study(sampler)
        study.optimize(objective, n_trials=6)
        assert len({str(trial.params) for trial in study.trials}) == 6


def test_rows_are_parameters_and_neighbours_differ_in_one() -> None:
    listing = ParameterListing(SPACE, costs, ["weights"])
    rows = listing.random(50, np.random.default_rng(0))
    assert len(np.unique(rows, axis=0)) == len(rows) == 50
    for row in rows:
        params = listing.params(row)
        assert costs(params) is not None
        assert (listing.row_of(params) == row).all()
    near = listing.neighbours(rows[:1])
    assert ((near != rows[0]).sum(axis=1) == 1).all()
    expected = sum(
        costs(listing.params(np.array([*rows[0][:i], other, *rows[0][i + 1 :]]))) is not None
        for i, count in enumerate((12, 5, 3, 5, 2))
        for other in range(count)
        if other != rows[0][i]
    )
    assert len(near) == expected
    assert listing.row_of({"depth": 99}) is None
    assert (
        sum(map(len, listing.everything()))
        == sum(depth * width**2 <= MOST for depth in range(1, 13) for width in (8, 16, 32, 64, 128)) * 3 * 5 * 2
    )
    many = ParameterListing({"a": IntDistribution(1, 5000)}, lambda p: [p["a"]], ["a"])
    assert 0 < len(many.neighbours(np.array([[2500]]))) < 40


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: KnownCostSampler({"a": FloatDistribution(0, 1)}, costs), "at most 10,000 values, but 'a' is Float"),
        (lambda: KnownCostSampler({"a": IntDistribution(0, 10**6)}, costs), "give a step, or choices"),
        (
            lambda: optuna.create_study(
                directions=["minimize", "maximize"], sampler=KnownCostSampler(SPACE, costs)
            ).ask(SPACE),
            "directions are minimize, maximize",
        ),
        (lambda: new_study(KnownCostSampler(SPACE, costs), 1).ask(SPACE), "must minimise an error"),
        (lambda: new_study(KnownCostSampler(SPACE, costs, error=2)).ask(SPACE), r"an error \(objective 2\)"),
        (lambda: new_study(KnownCostSampler(SPACE, lambda p: [0.0])).ask(SPACE), "1 finite numbers above 0"),
        (lambda: new_study(KnownCostSampler(SPACE, lambda p: [1.0, 2.0])).ask(SPACE), "gave .1.0, 2.0."),
        (lambda: new_study(KnownCostSampler(SPACE, lambda p: None)).ask(SPACE), "none are feasible"),
    ],
)
def test_what_does_not_fit_is_one_line(make: Any, reason: str) -> None:
    with pytest.raises(SpaceError, match=reason):
        make()
