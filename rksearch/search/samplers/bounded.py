"""A sampler of Optuna's that chooses from a bounded part of a study: the time of its choices grows with the trials."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any

import optuna
from optuna.trial import TrialState, create_trial

from rksearch.arch import parse
from rksearch.results.dominance import layers
from rksearch.search.samplers.base import PacedSampler
from rksearch.search.samplers.draws import SpreadStart
from rksearch.search.samplers.observations import Observation
from rksearch.space import Space
from rksearch.space.plan import DEFAULT_OBJECTIVES, error_place


class BoundedSampler(PacedSampler):
    """Asks another sampler, which sees a small study of its own.

    Its study holds the same trainings, with costs as logarithms. A training that has paused or was pruned is a pruned
    trial there; when it is completed later, it is a new, complete one. When there are too many, a new study follows
    with the better half of the complete ones (by layers of the front) and the latest.

    The first proposals are spread over sizes. Later ones are the other sampler's, and may break a budget or repeat.

    Args:
        space: architectures that may be proposed.
        sampler: makes the other sampler, given a seed.
        most: limit of the number of complete trainings in its study.
        objectives: names of the minimised objectives, in the order of a trial's values.
        trials: number of architectures that the search proposes; None without a limit.
        seed: seed of all random choices; None for one that differs each time.
        on_add: called with each study and the number of a trial that was added without asking; None for nothing.

    Attributes:
        studies: number of studies so far.
    """

    def __init__(
        self,
        space: Space,
        sampler: Callable[[int], optuna.samplers.BaseSampler],
        *,
        most: int,
        objectives: Sequence[str] = DEFAULT_OBJECTIVES,
        trials: int | None = None,
        seed: int | None = None,
        on_add: Callable[[optuna.Study, int], None] | None = None,
    ) -> None:
        super().__init__(space, objectives=objectives, trials=trials, seed=seed)
        self._sampler = sampler
        self._most = most
        self._on_add = on_add
        self._error = error_place(self.objectives)
        self.studies = 0

    def begin(self, proposed: int) -> None:
        """Forget everything."""
        self._start = SpreadStart(self.space, trials=self.trials, seed=self.seed)
        # Trials that were asked for in an earlier session are not asked for again, so neither are their numbers.
        self._first_seed = self.seed + proposed
        self._running: dict[str, int] = {}
        self._asked: tuple[int, int] | None = None
        self.studies = 0
        self._study = self._new_study()

    def choose(self, taken: Set[str], trial: int) -> Mapping[str, Any]:
        """What the other sampler chooses."""
        if self._asked is not None:
            # Something else was trained in its place; that is in the study already.
            self._study.tell(self._asked[1], state=TrialState.FAIL)
            self._asked = None
        if (arch := self._start.next(taken)) is not None:
            return self.space.choices(parse(arch))
        own = self._study.ask(self._distributions)
        self._asked = trial, own.number
        return dict(own.params)

    def observe(self, observation: Observation) -> None:
        """Pass the state of a training on to the other study."""
        if observation.replicate:
            return
        arch = observation.arch
        if self._asked is not None and observation.trial == self._asked[0]:
            self._running[arch], self._asked = self._asked[1], None
        if observation.state == "running":
            if arch not in self._running:
                self._running[arch] = self._enqueue(arch)
            return
        number = self._running.pop(arch, None)
        if number is None:
            number = self._enqueue(arch)
        if observation.state == "failed" or observation.values is None or not observation.usable:
            self._study.tell(number, state=TrialState.FAIL)
        elif observation.state == "complete":
            self._study.tell(number, self._values(observation.values))
        else:
            self._study.tell(number, state=TrialState.PRUNED)
        if len(self._study.get_trials(deepcopy=False)) >= 2 * self._most:
            self._forget()

    def _values(self, values: Sequence[float]) -> list[float]:
        return [v if i == self._error else math.log10(max(v, 1e-9)) for i, v in enumerate(values)]

    def _enqueue(self, arch: str) -> int:
        return self._add(self.space.choices(parse(arch)))

    def _add(self, choices: Mapping[str, Any]) -> int:
        """Add a running trial without asking: asking would cost the sampler's whole effort."""
        trial = create_trial(state=TrialState.RUNNING, params=dict(choices), distributions=self._distributions)
        self._study.add_trial(trial)
        number = len(self._study.get_trials(deepcopy=False)) - 1
        if self._on_add is not None:
            self._on_add(self._study, number)
        return number

    def _new_study(self) -> optuna.Study:
        sampler = self._sampler(self._first_seed + 1_000_003 * self.studies)
        self.studies += 1
        return optuna.create_study(directions=["minimize"] * len(self.objectives), sampler=sampler)

    def _forget(self) -> None:
        """Begin a new study, so that neither time nor memory grows without limit."""
        trials = self._study.get_trials(deepcopy=False)
        complete = [t for t in trials if t.state == TrialState.COMPLETE]
        kept = complete[-self._most // 2 :]
        older = complete[: len(complete) - len(kept)]
        ranks = layers([tuple(t.values) for t in older])
        best = sorted(range(len(older)), key=lambda i: (ranks[i], -i))[: self._most - len(kept)]
        kept = [older[i] for i in sorted(best)] + kept
        asked = None if self._asked is None else trials[self._asked[1]].params
        self._study = self._new_study()
        for trial in kept:
            self._study.tell(self._add(trial.params), trial.values)
        self._running = {arch: self._enqueue(arch) for arch in self._running}
        if self._asked is not None and asked is not None:
            self._asked = self._asked[0], self._add(asked)
