"""Multi-objective TPE."""

from __future__ import annotations

from collections.abc import Sequence

import optuna

from rksearch.search.samplers.start import Start
from rksearch.search.samplers.study import StudySampler
from rksearch.space import Space

MODELLED = 256
"""Complete trainings that are modelled at most; the time of a proposal grows with them."""


class TpeSampler(StudySampler):
    """Optuna's multivariate tree-structured Parzen estimators; what is running counts as bad (constant liar).

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
        """TPE."""
        return optuna.samplers.TPESampler(multivariate=True, n_startup_trials=1, constant_liar=True, seed=seed)
