"""Functional-ANOVA importances of the choices of design, by Optuna, beside what chance alone would give them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rksearch.arch import parse
from rksearch.arch.arrays import Floats
from rksearch.results.contrasts import Factors, factors_of
from rksearch.results.history import History
from rksearch.results.summaries import summarise
from rksearch.results.uncertainty import log_odds

LEAST_ARCHS = 12
"""Least number of architectures that shares are computed from."""

MOST_ARCHS = 150
"""Greatest number of architectures that shares are computed from: some, drawn at random, of more."""

PERMUTATIONS = 19
"""Shufflings of the errors: a share above all of them is expected once in twenty runs in which nothing matters."""

TREES = 8
"""Trees of each random forest, the same for the errors and for their shufflings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Importance:
    """The share of the variance of the log-odds of an error that one choice explains by itself.

    Attributes:
        choice: the choice, `stages s, period 1`.
        share: share of the variance, from 0 to 1.
        by_chance: greatest share that any choice has in any shuffling of the errors, where nothing matters.
    """

    choice: str
    share: float
    by_chance: float

    @property
    def is_beyond_chance(self) -> bool:
        """Whether the share is larger than chance gave to any choice; 5 % of runs in which nothing matters have one."""
        return self.share > self.by_chance


def importances(history: History) -> list[Importance]:
    """The importances of the choices, the largest first.

    They are computed over all searched architectures that were trained to the end; a choice that not every one of them
    makes, or that all make alike, is left out. Empty below `LEAST_ARCHS` architectures.
    """
    items = sorted((i for i in summarise(history) if not i.is_baseline), key=lambda i: i.arch)
    read = [(factors_of(parse(item.arch)), item.error_pct) for item in items]
    read = [(found, error) for found, error in read if found]
    if len(read) < LEAST_ARCHS:
        return []
    generator = np.random.default_rng(0)
    if len(read) > MOST_ARCHS:
        read = [read[i] for i in sorted(generator.choice(len(read), MOST_ARCHS, replace=False))]
    values = {key: {found.get(key) for found, _ in read} for key in read[0][0]}
    varied = {key: sorted(v, key=_order) for key, v in values.items() if len(v) > 1 and None not in v}
    z = log_odds(np.array([error for _, error in read]))
    if not varied or np.ptp(z) == 0:
        return []
    rows = [found for found, _ in read]
    shares = _shares(rows, varied, z)
    chance = max(max(_shares(rows, varied, generator.permutation(z)).values()) for _ in range(PERMUTATIONS))
    found = [Importance(choice=name, share=share, by_chance=chance) for name, share in shares.items()]
    return sorted(found, key=lambda i: (-i.share, i.choice))


def _shares(rows: Sequence[Factors], varied: Mapping[tuple[str, int], list[Any]], z: Floats) -> dict[str, float]:
    """Share of each choice, by name."""
    import optuna

    distributions = {_name(key): optuna.distributions.CategoricalDistribution(v) for key, v in varied.items()}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(storage=optuna.storages.InMemoryStorage())
    for found, value in zip(rows, z.tolist(), strict=True):
        params = {_name(key): found[key] for key in varied}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=value))
    evaluator = optuna.importance.FanovaImportanceEvaluator(n_trees=TREES, seed=0)
    with warnings.catch_warnings():
        # Without normalisation, the rest of the variance is due to chance and to choices taken together.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        shares = optuna.importance.get_param_importances(study, evaluator=evaluator, normalize=False)
    return {name: float(share) for name, share in shares.items()}


def _name(key: tuple[str, int]) -> str:
    factor, period = key
    return f"{factor}, period {period}" if period else factor


def _order(value: Any) -> tuple[bool, Any]:
    return isinstance(value, str), value
