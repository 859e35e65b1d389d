"""Optuna's own samplers as they are, choosing from a bounded part of the study."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import optuna

from rksearch.search.samplers.bounded import BoundedSampler
from rksearch.space import Space

TPE_MODELLED = 256
"""Limit of the number of complete trainings that TPE models; the time of a proposal grows with them."""

NSGA2_MODELLED = 512
"""Limit of the number of complete trainings that NSGA-II remembers: more than any population and its parents."""

GP_MODELLED = 64
"""Limit of the number of complete trainings that the Gaussian processes model; the time of a proposal grows with their
third power."""

SMALLEST_POPULATION, LARGEST_POPULATION = 4, 50

GENERATIONS = 10
"""Number of generations that a search should see."""


def tpe(space: Space, *, objectives: Sequence[str], trials: int, seed: int) -> BoundedSampler:
    """Multivariate tree-structured Parzen estimators; what is running counts as bad (constant liar)."""
    return BoundedSampler(space, _tpe, most=TPE_MODELLED, objectives=objectives, trials=trials, seed=seed)


def nsga2(space: Space, *, objectives: Sequence[str], trials: int, seed: int) -> BoundedSampler:
    """NSGA-II.

    It learns from complete trainings alone: those that racing stopped neither fill a generation nor become parents,
    which is their selection already. A population is a tenth of the search, so that generations fill all the same.
    """
    population = max(SMALLEST_POPULATION, min(LARGEST_POPULATION, trials // GENERATIONS))
    return BoundedSampler(
        space,
        partial(_nsga2, population),
        most=NSGA2_MODELLED,
        objectives=objectives,
        trials=trials,
        seed=seed,
        on_add=_join_generation,
    )


def _join_generation(study: optuna.Study, number: int) -> None:
    """Give a trial that was not asked for a generation: without one it would never be in a population."""
    if isinstance(study.sampler, optuna.samplers.NSGAIISampler):
        study.sampler.get_trial_generation(study, study.get_trials(deepcopy=False)[number])


def gp(space: Space, *, objectives: Sequence[str], trials: int, seed: int) -> BoundedSampler:
    """Gaussian processes of every objective, with the logarithm of the expected hypervolume improvement.

    Architectures that are running count by what the model expects of them. Pruned trainings teach it nothing. A
    proposal takes seconds, most of them to climb the expected improvement: for trainings that take much longer.
    """
    return BoundedSampler(space, _gp, most=GP_MODELLED, objectives=objectives, trials=trials, seed=seed)


def _tpe(seed: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.TPESampler(multivariate=True, n_startup_trials=1, constant_liar=True, seed=seed)


def _nsga2(population: int, seed: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.NSGAIISampler(population_size=population, seed=seed)


def _gp(seed: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.GPSampler(seed=seed, n_startup_trials=4)
