"""The package in ordinary studies: `pytest package/samplers/rksearch_frontier`, in the folder above `package`."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, IntDistribution

from rksearch.arch.cost import cost
from rksearch.space import load_space


@pytest.fixture(scope="module")
def package() -> ModuleType:
    found = importlib.util.spec_from_file_location("frontier", Path(__file__).parents[1] / "__init__.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_frontier_sampler_proposes_feasible_networks_once(package: ModuleType) -> None:
    space = load_space("quickstart")
    seen: set[str] = set()

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        choices = {name: trial.suggest_categorical(name, values) for name, values in space.dimensions().items()}
        spec = space.from_choices(choices)
        assert spec in space
        assert str(spec) not in seen
        seen.add(str(spec))
        params = float(cost(spec, space.definition.dataset).params)
        return 100 * params**-0.15, params

    study = optuna.create_study(directions=["minimize", "minimize"], sampler=package.FrontierSampler(space, seed=0))
    study.optimize(objective, n_trials=12)
    assert len(seen) == 12


def test_known_cost_sampler_proposes_feasible_parameters_once(package: ModuleType) -> None:
    space = {"layers": IntDistribution(1, 6), "width": CategoricalDistribution([8, 16, 32])}
    seen = set()

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        found = trial.suggest_int("layers", 1, 6), trial.suggest_categorical("width", [8, 16, 32])
        assert found not in seen
        seen.add(found)
        weights = found[0] * found[1] ** 2
        return 100 * weights**-0.15, weights

    sampler = package.KnownCostSampler(space, lambda p: [p["layers"] * p["width"] ** 2], seed=0)
    optuna.create_study(directions=["minimize", "minimize"], sampler=sampler).optimize(objective, n_trials=18)
    assert len(seen) == 18
