"""Optuna chooses, the space decides what is allowed.

The study lives in memory and is rebuilt from the ledger, which is the truth. Optuna's own proposals may repeat, break
a budget or name one network twice; each is mapped to the nearest architecture that is feasible, canonical and new, and
the study is told about the one that is really trained.
"""

from __future__ import annotations

import math
import random
from typing import Any

import optuna

from rksearch.cost import cost
from rksearch.space import Space
from rksearch.spec import parse

STARTUP_SHARE = 1 / 3
"""Share of the candidates that is spread evenly over sizes before the sampler takes over."""


class OptunaProposer:
    """Multi-objective TPE over validation error and log10 of the parameters, both to be small.

    Args:
        space: what may be proposed.
        trials: how many candidates the run will propose; the first third is stratified by size.
        seed: of the sampler and of the stratified start.
        proposed: how many candidates earlier sessions of the run have proposed.
    """

    def __init__(self, space: Space, *, trials: int, seed: int, proposed: int = 0) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._space = space
        self._distributions: dict[str, optuna.distributions.BaseDistribution] = {
            key: optuna.distributions.CategoricalDistribution(values) for key, values in space.dimensions().items()
        }
        # A resumed run must not draw the same numbers again, and need not: its study is rebuilt from the ledger.
        sampler = optuna.samplers.TPESampler(
            multivariate=True, n_startup_trials=1, constant_liar=True, seed=seed + proposed
        )
        self._study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)
        self._waiting: dict[str, optuna.trial.Trial] = {}
        startup = min(math.ceil(trials * STARTUP_SHARE), len(space))
        self._startup = [str(s) for s in space.sample_stratified(startup, random.Random(seed))][proposed:]

    def propose(self, taken: set[str]) -> str | None:
        """A feasible architecture that is not in `taken`, or None when every one is."""
        while self._startup:
            arch = self._startup.pop(0)
            if arch not in taken:
                self._waiting[arch] = self._enqueue(self._space.choices(parse(arch)))
                return arch
        trial = self._study.ask(self._distributions)
        spec = self._space.nearest(trial.params, exclude=taken)
        if spec is None:
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
            return None
        choices = self._space.choices(spec)
        if choices != trial.params:
            # The study must learn from what is trained, not from what was asked for.
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
            trial = self._enqueue(choices)
        self._waiting[str(spec)] = trial
        return str(spec)

    def tell(self, arch: str, val_error_pct: float | None) -> None:
        """Learn from a first training; architectures outside of the space (baselines, for one) teach nothing."""
        spec = parse(arch)
        if spec not in self._space:
            return
        trial = self._waiting.pop(arch, None) or self._enqueue(self._space.choices(spec))
        if val_error_pct is None or not math.isfinite(val_error_pct):
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            size = math.log10(cost(spec, self._space.definition.dataset).params)
            self._study.tell(trial, [val_error_pct, size])

    def _enqueue(self, choices: dict[str, Any]) -> optuna.trial.Trial:
        self._study.enqueue_trial(choices)
        return self._study.ask(self._distributions)
