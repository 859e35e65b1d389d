"""A study with KnownCostSampler, loaded as OptunaHub loads packages; run it in the folder above `package`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import optuna
import optunahub
from optuna.distributions import CategoricalDistribution, IntDistribution

space = {"layers": IntDistribution(1, 12), "width": CategoricalDistribution([16, 32, 64, 128])}


def costs(params: Mapping[str, Any]) -> list[float]:
    """Number of weights."""
    return [params["layers"] * params["width"] ** 2]


def objective(trial: optuna.Trial) -> tuple[float, float]:
    """An error that falls with size, in place of a training."""
    trial.suggest_int("layers", 1, 12)
    trial.suggest_categorical("width", [16, 32, 64, 128])
    (weights,) = costs(trial.params)
    return 60 * weights**-0.15 * (1 + 0.02 * abs(trial.params["layers"] - 6)), weights


module = optunahub.load_local_module(package="samplers/rksearch_frontier", registry_root="./package/")
study = optuna.create_study(directions=["minimize", "minimize"], sampler=module.KnownCostSampler(space, costs, seed=0))
study.optimize(objective, n_trials=20)
print(study.best_trials)
