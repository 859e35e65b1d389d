"""Optuna's Gaussian processes."""

from __future__ import annotations

from collections.abc import Sequence

import optuna

from rksearch.search.samplers.start import Start
from rksearch.search.samplers.study import StudySampler
from rksearch.space import Space

MODELLED = 64
"""Complete trainings that are modelled at most; the time of a proposal grows with their third power."""


class GpSampler(StudySampler):
    """Optuna's Gaussian process of every objective, with the logarithm of the expected hypervolume improvement.

    Architectures that are running count by what the model expects of them. Pruned trainings teach it nothing. A
    proposal takes seconds, most of them to climb the expected improvement: for trainings that take much longer.

    Args:
        space: what may be proposed.
        start: the first proposals.
        objectives: names, in the order of the values of the observations.
        seed: of Optuna's sampler.
        proposed: how many were proposed before.
    """

    def __init__(self, space: Space, start: Start, *, objectives: Sequence[str], seed: int, proposed: int = 0) -> None:
        super().__init__(space, start, objectives=objectives, seed=seed, proposed=proposed, most=MODELLED)

    def sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        """A Gaussian process."""
        return optuna.samplers.GPSampler(seed=seed, n_startup_trials=4)
