"""Syne Tune's multi-objective asynchronous successive halving (MOASHA), driven in virtual time as its tuner drives it.

Syne Tune's part is `MOASHA` (Schmucker and others 2021) with its defaults: configurations at random, trials stopped at
epochs 1, 3, 9, ... unless they are in the better third by non-dominated sorting of error and parameters. Our part is
the tuner's: `suggest`, `on_trial_add`, `on_trial_result` after each epoch, and `on_trial_complete` at the end. As for
Ray's search a configuration that names no network costs nothing, a network proposed again is trained with another seed
while the table has one, and only trainings that ran to the end count as results.

Syne Tune is no dependency of rksearch: it requires XGBoost, and with it another build of NCCL than torch's. MOASHA
needs neither: `pip install --no-deps syne-tune dill`.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rksearch.bench.replay.lookup import Lookup
from rksearch.bench.replay.simulation import Work
from rksearch.bench.replay.table import Table
from rksearch.results.records import Epoch, TrialResult

ASKED_MOST = 100_000
"""Configurations that are asked for at most before a network is found."""


@dataclass(frozen=True, slots=True)
class _Choice:
    """Values of a decision, drawn from a generator of our own: Syne Tune's draws from NumPy's global one."""

    values: Sequence[Any]
    rng: random.Random

    def sample(self) -> Any:
        """One of the values, all with the same probability."""
        return self.rng.choice(self.values)


@dataclass(frozen=True, slots=True)
class _TrialNumber:
    """All that the scheduler reads of a trial."""

    trial_id: int


class Moasha:
    """Plays `MOASHA`.

    Args:
        table: what is searched.
        repetition: decides the seeds of the trainings, and of the configurations.
        first: names of members that are trained before any proposal.
    """

    def __init__(self, table: Table, *, repetition: int, first: Sequence[str] = ()) -> None:
        from syne_tune.optimizer.schedulers.multiobjective.moasha import MOASHA

        self._table = table
        self._lookup = Lookup(table, repetition=repetition)
        self._first = list(first)[::-1]
        rng = random.Random(repetition)
        choices = {name: _Choice(values, rng) for name, values in table.space.dimensions().items()}
        self._scheduler: Any = MOASHA(
            choices, metrics=["val_error_pct", "params"], max_t=table.epochs, random_seed=repetition
        )
        self._trials = 0
        self._results: dict[str, dict[str, Any]] = {}

    def next(self) -> Work | None:
        """The network of the next configuration; None when none is found."""
        for _ in range(ASKED_MOST):
            arch = self._first.pop() if self._first else self._lookup.arch(self._scheduler.suggest().config)
            training = self._lookup.training(arch) if arch is not None else None
            if arch is None or training is None:
                continue
            self._trials += 1
            self._scheduler.on_trial_add(_TrialNumber(self._trials))
            return Work(key=str(self._trials), arch=arch, training=training, first=1, last=self._table.epochs)
        return None

    def on_epoch(self, work: Work, epoch: Epoch) -> bool:
        """Report an epoch; False when the scheduler stops the trial."""
        result = {
            "val_error_pct": epoch.val_error_pct,
            "params": self._table.members[work.arch].params,
            "training_iteration": epoch.epoch,
        }
        self._results[work.key] = result
        return bool(self._scheduler.on_trial_result(_TrialNumber(int(work.key)), result) == "CONTINUE")

    def on_end(self, work: Work) -> TrialResult | None:
        """Report the end of a trial that was stopped, has failed, or is complete."""
        trial, result = _TrialNumber(int(work.key)), self._results.pop(work.key, None)
        if result is None or result["training_iteration"] < self._table.epochs:
            self._scheduler.on_trial_remove(trial)
            return None
        self._scheduler.on_trial_complete(trial, result)
        return work.training if work.training.status == "complete" else None
