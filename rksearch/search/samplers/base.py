"""What the samplers of this package have in common: whole architectures, chosen from what a study says."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence, Set
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.samplers import RandomSampler as OptunaRandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from rksearch.arch import parse
from rksearch.search.samplers.lock import SamplerLock
from rksearch.search.samplers.observations import Observation, StudyReader
from rksearch.space import Space
from rksearch.space.plan import DEFAULT_OBJECTIVES


def distributions_of(space: Space) -> dict[str, BaseDistribution]:
    """The parameters of a trial: one categorical distribution per decision of the space."""
    return {key: CategoricalDistribution(values) for key, values in space.dimensions().items()}


class LearningSampler(BaseSampler, ABC):
    """Chooses all parameters of a trial together, after it has learned what is new in the study.

    Threads may share it. It need not be stored to resume a study: a new one learns from the study's first trial on. One
    that was pickled continues as it would have.

    Args:
        space: architectures that may be proposed.
        objectives: names of the minimised objectives, in the order of a trial's values.
        seed: seed of all random choices; None for one that differs each time.
    """

    def __init__(
        self, space: Space, *, objectives: Sequence[str] = DEFAULT_OBJECTIVES, seed: int | None = None
    ) -> None:
        self.space = space
        self.objectives = tuple(objectives)
        self.seed = random.SystemRandom().randrange(2**31) if seed is None else seed
        self._distributions = distributions_of(space)
        self._reader = StudyReader(space, self.objectives)
        self._others = OptunaRandomSampler(seed=self.seed)
        self._lock = SamplerLock()

    @abstractmethod
    def begin(self, proposed: int) -> None:
        """Forget everything: a study follows that already holds this number of proposals."""

    @abstractmethod
    def observe(self, observation: Observation) -> None:
        """Learn the state of a training; each state is passed once, in the order in which they became known."""

    @abstractmethod
    def choose(self, taken: Set[str], trial: int) -> Mapping[str, Any]:
        """The parameters of a trial.

        Args:
            taken: names of the architectures that the study holds.
            trial: number of the trial.
        """

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """All decisions of the space: they are chosen together."""
        return dict(self._distributions)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The parameters of a new trial; nothing for one that was enqueued with all of them."""
        if self._distributions.keys() <= trial.system_attrs.get("fixed_params", {}).keys():
            return {}
        with self._lock:
            if self._reader.begins(study, own=trial.number):
                self.begin(self._reader.proposed)
            for observation in self._reader.news(study, own=trial.number):
                self.observe(observation)
            return dict(self.choose(self._reader.taken, trial.number))

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A parameter that is no decision of the space, at random."""
        return self._others.sample_independent(study, trial, param_name, param_distribution)


class PacedSampler(LearningSampler):
    """Begins with a share of the search's proposals that is spread over sizes.

    Args:
        space: architectures that may be proposed.
        objectives: names of the minimised objectives, in the order of a trial's values.
        trials: number of architectures that the search proposes; None without a limit.
        seed: seed of all random choices; None for one that differs each time.
    """

    def __init__(
        self,
        space: Space,
        *,
        objectives: Sequence[str] = DEFAULT_OBJECTIVES,
        trials: int | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__(space, objectives=objectives, seed=seed)
        self.trials = trials


class ArchitectureSampler(LearningSampler):
    """Proposes feasible, canonical architectures that the study does not hold yet, as long as there are any."""

    @abstractmethod
    def propose(self, taken: Set[str]) -> str | None:
        """Name of a feasible, canonical architecture that is not taken, or None when there is none left."""

    def choose(self, taken: Set[str], trial: int) -> Mapping[str, Any]:
        """The decisions of the proposal; of any member when all are taken."""
        arch = self.propose(taken)
        if arch is None:
            arch = str(self.space.at(random.Random(f"{self.seed} {trial}").randrange(len(self.space))))
        self._reader.take(arch)
        return self.space.choices(parse(arch))
