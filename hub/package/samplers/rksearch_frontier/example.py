"""A study with FrontierSampler, loaded as OptunaHub loads packages; run it in the folder above `package`."""

from __future__ import annotations

import optuna
import optunahub

from rksearch.arch.cost import cost
from rksearch.space import load_space

space = load_space("quickstart")


def objective(trial: optuna.Trial) -> tuple[float, float]:
    """An error that falls with size, in place of a training."""
    choices = {name: trial.suggest_categorical(name, values) for name, values in space.dimensions().items()}
    params = float(cost(space.from_choices(choices), space.definition.dataset).params)
    return 100 * params**-0.15, params


module = optunahub.load_local_module(package="samplers/rksearch_frontier", registry_root="./package/")
study = optuna.create_study(
    directions=["minimize", "minimize"], sampler=module.FrontierSampler(space, trials=20, seed=0)
)
study.optimize(objective, n_trials=20)
print(study.best_trials)
