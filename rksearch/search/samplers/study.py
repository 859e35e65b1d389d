"""Optuna chooses, the space decides what is allowed.

The study lives in memory and learns from observations alone. Optuna's own proposals may repeat, break a budget or name
one network twice; each is mapped to the nearest architecture that is feasible, canonical and new, and the study is told
about the one that is really trained.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence, Set
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import TrialState, create_trial

from rksearch.arch import parse
from rksearch.search.objectives import ERROR
from rksearch.search.samplers.base import Observation
from rksearch.search.samplers.start import Start
from rksearch.space import Space


class StudySampler(ABC):
    """What the samplers on top of Optuna share.

    A training that racing stopped, for now or for good, is a pruned trial; when it is completed later, the
    architecture is a new, complete one. Failed trainings are failed trials. Costs are given as logarithms.

    Args:
        space: what may be proposed.
        start: the first proposals.
        objectives: names, in the order of the values of the observations.
        seed: of Optuna's sampler.
        proposed: how many were proposed before.
        most: so many complete trainings are modelled at most; beyond, the study begins anew with the better half of
            them (by layers of the front) and the latest.

    Attributes:
        studies: how many were begun.
    """

    def __init__(
        self, space: Space, start: Start, *, objectives: Sequence[str], seed: int, proposed: int, most: int
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._space = space
        self._start = start
        self._error = list(objectives).index(ERROR)
        self._directions = ["minimize"] * len(objectives)
        # Trials that were asked for in an earlier session are not asked for again, so neither are their numbers.
        self._seed = seed + proposed
        self._most = most
        self.studies = 0
        self._distributions: dict[str, BaseDistribution] = {
            key: CategoricalDistribution(values) for key, values in space.dimensions().items()
        }
        self._running: dict[str, int] = {}
        self._study = self._new_study()

    @abstractmethod
    def sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        """Optuna's sampler for a study."""

    def propose(self, taken: Set[str]) -> str | None:
        """What Optuna asks for, or the nearest architecture that is allowed."""
        arch = self._start.next(taken)
        if arch is None:
            trial = self._study.ask(self._distributions)
            wanted = trial.params
            spec = self._space.from_choices(wanted)
            if spec not in self._space or str(spec) in taken:
                nearest = self._space.nearest(spec, exclude=taken)
                if nearest is None:
                    self._study.tell(trial, state=TrialState.FAIL)
                    return None
                spec = nearest
            arch = str(spec)
            if self._space.choices(spec) == wanted:
                self._running[arch] = trial.number
                return arch
            # The study must learn from what is trained, not from what was asked for.
            self._study.tell(trial, state=TrialState.FAIL)
        self._running[arch] = self._enqueue(arch)
        return arch

    def observe(self, observation: Observation) -> None:
        """Tell the study."""
        spec = parse(observation.arch)
        if spec not in self._space:
            return
        number = self._running.pop(observation.arch, None)
        if number is None:
            number = self._enqueue(observation.arch)
        values = self._values(observation)
        if observation.status == "failed" or values is None:
            self._study.tell(number, state=TrialState.FAIL)
        elif observation.status == "complete":
            self._study.tell(number, values)
        else:
            self._study.tell(number, state=TrialState.PRUNED)
        if len(self._study.get_trials(deepcopy=False)) >= 2 * self._most:
            self._forget()

    def _values(self, observation: Observation) -> list[float] | None:
        values = observation.values
        if values is None or not all(map(math.isfinite, values)):
            return None
        return [v if i == self._error else math.log10(max(v, 1e-9)) for i, v in enumerate(values)]

    def _enqueue(self, arch: str) -> int:
        return self._add(self._space.choices(parse(arch)))

    def _add(self, choices: dict[str, Any]) -> int:
        """A running trial that Optuna did not ask for: asking would cost its sampler's whole effort."""
        trial = create_trial(state=TrialState.RUNNING, params=choices, distributions=self._distributions)
        self._study.add_trial(trial)
        return int(self._study.get_trials(deepcopy=False)[-1].number)

    def _new_study(self) -> optuna.Study:
        sampler = self.sampler(self._seed + 1_000_003 * self.studies)
        self.studies += 1
        return optuna.create_study(directions=self._directions, sampler=sampler)

    def _forget(self) -> None:
        """Begin a new study, so that neither time nor memory grows without end."""
        trials = self._study.get_trials(deepcopy=False)
        complete = [t for t in trials if t.state == TrialState.COMPLETE]
        kept = complete[-self._most // 2 :]
        older = complete[: len(complete) - len(kept)]
        ranks = layers([tuple(t.values) for t in older])
        best = sorted(range(len(older)), key=lambda i: (ranks[i], -i))[: self._most - len(kept)]
        kept = [older[i] for i in sorted(best)] + kept
        self._study = self._new_study()
        for trial in kept:
            self._study.tell(self._add(trial.params), trial.values)
        self._running = {arch: self._enqueue(arch) for arch in self._running}


def layers(points: Sequence[tuple[float, ...]]) -> list[int]:
    """In which layer of fronts each point lies: 0 on the front, 1 on the front of the others, ..."""
    found = [-1] * len(points)
    left = sorted(range(len(points)), key=lambda i: points[i])
    layer = 0
    while left:
        front: list[int] = []
        for i in left:
            # In lexicographic order nothing is dominated by what comes later.
            if not any(_dominates(points[j], points[i]) for j in front):
                front.append(i)
        for i in front:
            found[i] = layer
        left = [i for i in left if found[i] < 0]
        layer += 1
    return found


def _dominates(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a != b and all(x <= y for x, y in zip(a, b, strict=True))
