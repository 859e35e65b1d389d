"""Functional-ANOVA importances of the choices of design, by Optuna."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from rksearch.arch import parse
from rksearch.results.contrasts import Factors, factors_of
from rksearch.results.history import History
from rksearch.results.summaries import summarise
from rksearch.results.uncertainty import log_odds

LEAST_ARCHS = 12
"""Least number of architectures that shares are computed from."""


def importances(history: History) -> dict[str, float]:
    """Share of the variance of the log-odds of an error that each choice explains by itself.

    It is computed over all searched architectures that were trained to the end; a choice that not every one of them
    makes, or that all make alike, is left out. Empty below `LEAST_ARCHS` architectures.
    """
    import optuna

    items = sorted((i for i in summarise(history) if not i.is_baseline), key=lambda i: i.arch)
    read = [(factors_of(parse(item.arch)), item.error_pct) for item in items]
    read = [(found, error) for found, error in read if found]
    if len(read) < LEAST_ARCHS:
        return {}
    values = {key: {found.get(key) for found, _ in read} for key in read[0][0]}
    varied = {key: sorted(v, key=_order) for key, v in values.items() if len(v) > 1 and None not in v}
    z = log_odds(np.array([error for _, error in read]))
    if not varied or np.ptp(z) == 0:
        return {}
    distributions = {_name(key): optuna.distributions.CategoricalDistribution(v) for key, v in varied.items()}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(storage=optuna.storages.InMemoryStorage())
    for (found, _), value in zip(read, z.tolist(), strict=True):
        study.add_trial(_trial(optuna, found, list(varied), distributions, value))
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    with warnings.catch_warnings():
        # Without normalisation, the rest of the variance is due to chance and to choices taken together.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        shares = optuna.importance.get_param_importances(study, evaluator=evaluator, normalize=False)
    return {name: float(share) for name, share in shares.items()}


def _trial(
    optuna: Any, found: Factors, keys: list[tuple[str, int]], distributions: dict[str, Any], value: float
) -> Any:
    params = {_name(key): found[key] for key in keys}
    return optuna.trial.create_trial(params=params, distributions=distributions, value=value)


def _name(key: tuple[str, int]) -> str:
    factor, period = key
    return f"{factor}, period {period}" if period else factor


def _order(value: Any) -> tuple[bool, Any]:
    return isinstance(value, str), value
