"""KnownCostSampler in ordinary studies: any parameters, costs by a function."""

import math
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from rksearch.errors import SpaceError
from rksearch.results.dominance import non_dominated
from rksearch.search.samplers import KnownCostSampler
from rksearch.search.samplers.known_costs import ParameterListing, _values

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


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_errors_have_any_unit(unit: float) -> None:
    found = []
    for factor in (1.0, unit):
        study = new_study(KnownCostSampler(SPACE, costs, seed=3))
        for _ in range(20):
            trial = study.ask(SPACE)
            study.tell(trial, [factor * error_of(trial.params), (costs(trial.params) or [math.nan])[0]])
        found.append([trial.params for trial in study.trials])
    assert found[0] == found[1]


@pytest.mark.parametrize("error", [0.0, -2.5])
def test_errors_without_a_logarithm_are_refused_where_a_trial_is_complete(error: float) -> None:
    study = new_study(KnownCostSampler(SPACE, costs, seed=3))
    failed, pruned, whole = (study.ask(SPACE) for _ in range(3))
    study.tell(failed, [math.nan, 64.0])
    study.tell(pruned, state=TrialState.PRUNED)
    study.ask(SPACE)
    study.tell(whole, [error, 64.0])
    with pytest.raises(SpaceError, match=f"errors must be above 0, .* but trial 2 has {error:g} as objective 0; take"):
        study.ask(SPACE)


STEPS = FloatDistribution(0.0, 0.3, step=0.1)  # 0.0 + 3 * 0.1 is more than 0.3


@pytest.mark.filterwarnings("ignore:The distribution is specified")  # its end is moved to the last step
@settings(max_examples=20, deadline=None)
@given(
    low=st.floats(-20, 20),
    step=st.floats(0.01, 3),
    number=st.integers(1, 8),
    first=st.integers(1, 20),
    whole=st.integers(1, 3),
    log=st.booleans(),
)
@example(low=2.0, step=0.22084765831978023, number=2, first=1, whole=1, log=True)  # Optuna counts one value here
def test_nothing_twice_while_there_is_more(
    low: float, step: float, number: int, first: int, whole: int, log: bool
) -> None:
    space: dict[str, BaseDistribution] = {
        "float": FloatDistribution(low, low + (number - 0.5) * step, step=step),
        "int": IntDistribution(first, first + 3, log=True) if log else IntDistribution(first, first + 3, step=whole),
    }
    sampler = KnownCostSampler(space, lambda params: [params["int"]], seed=0)
    study = new_study(sampler)
    size = math.prod(len(_values(name, one)) for name, one in space.items())
    for i in range(size):
        trial = study.ask(space)
        study.tell(trial, [10.0 + i % 3, trial.params["int"]])
    assert len({tuple(trial.params.values()) for trial in study.trials}) == size


@pytest.mark.parametrize("log", [False, True])
def test_a_float_of_one_value_needs_no_step(log: bool) -> None:
    space: dict[str, BaseDistribution] = {
        "layers": IntDistribution(1, 8),
        "lr": FloatDistribution(0.1, 0.1, log=log),
    }
    study = new_study(KnownCostSampler(space, lambda params: [params["layers"]], seed=0))
    for _ in range(8):
        trial = study.ask(space)
        study.tell(trial, [1 / trial.params["layers"], trial.params["layers"]])
    assert {(trial.params["layers"], trial.params["lr"]) for trial in study.trials} == {(n, 0.1) for n in range(1, 9)}


@pytest.mark.parametrize(
    ("own", "count"),
    [
        (STEPS, 4),
        (FloatDistribution(0.0, 0.4, step=0.1), 5),  # 0.0 + 3 * 0.1 is not 0.3, which is what people write
        (IntDistribution(1, 4, log=True), 4),
        (CategoricalDistribution([1, True, math.nan, None]), 3),  # a study holds 1 in the place of True
    ],
    ids=str,
)
def test_values_are_those_of_optuna(own: BaseDistribution, count: int) -> None:
    space = {"own": own, "other": CategoricalDistribution(["x", "y"])}
    values = _values("own", own)
    assert len(values) == count
    listing = ParameterListing(space, lambda params: [1.0], ["cost"])
    for value in values:
        assert own._contains(own.to_internal_repr(value))
        row = listing.row_of({"own": value, "other": "y"})
        assert row is not None
        assert repr(listing.params(row)["own"]) == repr(value)
    study = new_study(KnownCostSampler(space, lambda params: [1.0], seed=0))
    written = [0.3] if isinstance(own, FloatDistribution) else [values[-1]]
    for value in written:
        study.enqueue_trial({"own": value, "other": "x"})
    for _ in range(2 * count):
        study.tell(study.ask(space), [1.0, 1.0])
    taken = {tuple(map(float, listing.row_of(trial.params))) for trial in study.trials}  # type: ignore[arg-type]
    assert len(taken) == 2 * count
    for strange in ({"own": 0.25, "other": "x"}, {"own": math.inf, "other": "x"}, {"own": "x", "other": "x"}):
        assert listing.row_of(strange) is None


def product(params: Mapping[str, Any]) -> list[float]:
    return [math.prod(params.values())]


@pytest.mark.parametrize("count", [4, 6], ids=["listed", "too many to list"])
@pytest.mark.parametrize("seed", range(2))
def test_the_cheapest_and_the_costliest_are_among_the_first(count: int, seed: int) -> None:
    space: dict[str, BaseDistribution] = {f"x{i}": IntDistribution(1, 7) for i in range(count)}
    study = new_study(KnownCostSampler(space, product, seed=seed))
    proposed = []
    for _ in range(6):
        trial = study.ask(space)
        proposed += product(trial.params)
        study.tell(trial, [60 * proposed[-1] ** -0.2, proposed[-1]])
    assert {min(proposed[:5]), max(proposed[:5])} == {1, 7**count}


def test_costs_beyond_those_known_at_first_are_worth_something() -> None:
    """A valley of infeasible parameters keeps the costliest ones apart; a trial of one's own leads there."""

    def valley(params: Mapping[str, Any]) -> list[float] | None:
        cost = math.prod(params.values())
        return None if 3_000 < cost < 2e10 else [cost]

    space: dict[str, BaseDistribution] = {f"x{i}": IntDistribution(1, 12) for i in range(10)}
    study = new_study(KnownCostSampler(space, valley, worst_error=8, seed=0))
    for _ in range(8):
        trial = study.ask(space)
        (cost,) = valley(trial.params) or [math.nan]
        assert cost <= 3_000
        study.tell(trial, [60 * cost**-0.1, cost])
    study.enqueue_trial(dict.fromkeys(space, 11))
    proposed = []
    for _ in range(12):
        trial = study.ask(space)
        (cost,) = valley(trial.params) or [math.nan]
        proposed.append(cost)
        study.tell(trial, [60 * cost**-0.1, cost])
    assert max(proposed) > 11**10


def test_a_second_study_of_the_same_name_is_another_study(tmp_path: Path) -> None:
    sampler, found = KnownCostSampler({"own": STEPS}, lambda params: [1.0 + params["own"]], seed=3), []
    for storage in (None, None, f"sqlite:///{tmp_path}/one.db", f"sqlite:///{tmp_path}/two.db"):
        study = optuna.create_study(
            study_name="mine", storage=storage, directions=["minimize", "minimize"], sampler=sampler
        )
        for i in range(4):
            trial = study.ask({"own": STEPS})
            study.tell(trial, [10.0 - i, 1.0 + trial.params["own"]])
        found.append({trial.params["own"] for trial in study.trials})
    assert found == [{0.0, 0.1, 0.2, 0.3}] * 4


def test_another_study_of_the_same_name_has_its_own_objectives() -> None:
    sampler = KnownCostSampler(SPACE, lambda params: [1.0, 2.0], seed=3)
    optuna.create_study(study_name="mine", directions=["minimize"] * 3, sampler=sampler).ask(SPACE)
    with pytest.raises(SpaceError, match=r"1 finite numbers above 0"):
        optuna.create_study(study_name="mine", directions=["minimize"] * 2, sampler=sampler).ask(SPACE)


def test_a_sampler_that_was_pickled_continues_as_it_would_have() -> None:
    study = new_study(pickle.loads(pickle.dumps(KnownCostSampler(SPACE, costs, seed=3))))
    study.optimize(objective, n_trials=7)
    copied = pickle.loads(pickle.dumps(study))
    study.sampler = pickle.loads(pickle.dumps(study.sampler))
    for own in (study, copied):
        own.optimize(objective, n_trials=7)
    alone = new_study(KnownCostSampler(SPACE, costs, seed=3))
    alone.optimize(objective, n_trials=14)
    trials = [[trial.params for trial in one.trials] for one in (study, copied, alone)]
    assert trials[0] == trials[1] == trials[2]


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
        (
            lambda: KnownCostSampler({"a": FloatDistribution(1e8, 1e8 + 1, step=0.1)}, costs),
            "a step must be large enough for floats to tell its values apart, but 'a' is Float",
        ),
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
