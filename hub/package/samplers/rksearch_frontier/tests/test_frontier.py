"""The package in an ordinary study; `pytest package/samplers/rksearch_frontier` in the registry's folder."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import optuna

from rksearch.arch.cost import cost
from rksearch.space import load_space


def test_it_proposes_feasible_networks_once() -> None:
    """Feasible and new, as long as there are any."""
    found = importlib.util.spec_from_file_location("frontier", Path(__file__).parents[1] / "__init__.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)

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

    study = optuna.create_study(directions=["minimize", "minimize"], sampler=module.FrontierSampler(space, seed=0))
    study.optimize(objective, n_trials=12)
    assert len(seen) == 12
