"""NSGA-II."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import optuna

from rksearch.search.samplers.start import Start
from rksearch.search.samplers.study import StudySampler
from rksearch.space import Space

MODELLED = 512
"""Complete trainings that are remembered at most: more than any population and its parents."""

SMALLEST, LARGEST = 4, 50
"""Of a population."""

GENERATIONS = 10
"""So many generations a search should see."""


class Nsga2Sampler(StudySampler):
    """Optuna's NSGA-II.

    It learns from complete trainings alone: those that racing stopped neither fill a generation nor become parents,
    which is their selection already. So that generations fill all the same, a population is a tenth of the search.

    Args:
        space: what may be proposed.
        start: the first proposals.
        objectives: names, in the order of the values of the observations.
        trials: how many architectures the search will propose; decides the size of a population.
        seed: of Optuna's sampler.
        proposed: how many were proposed before.
    """

    def __init__(
        self,
        space: Space,
        start: Start,
        *,
        objectives: Sequence[str],
        trials: int,
        seed: int,
        proposed: int = 0,
    ) -> None:
        self._population = max(SMALLEST, min(LARGEST, trials // GENERATIONS))
        super().__init__(space, start, objectives=objectives, seed=seed, proposed=proposed, most=MODELLED)

    def _add(self, choices: dict[str, Any]) -> int:
        number = super()._add(choices)
        # Without a generation it would never be in a population.
        self._study.sampler.get_trial_generation(self._study, self._study.get_trials(deepcopy=False)[number])
        return number

    def sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        """NSGA-II."""
        return optuna.samplers.NSGAIISampler(population_size=self._population, seed=seed)
