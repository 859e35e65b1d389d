"""Ray Tune's stock search, driven in virtual time as Tune's own controller drives it.

Ray's part: `OptunaSearch` with its default sampler (TPE) over one `CategoricalDistribution` per decision of the
space, and `ASHAScheduler`. Our part is the controller's alone, in the order in which
`ray.tune.execution.TuneController` (2.60) does it: `suggest`, `on_trial_add`; after each epoch the scheduler's
`on_trial_result`, and the searcher's unless the scheduler said STOP; at the end `on_trial_complete` of both. Neither
part asks more of a trial than its id, which is what `_Trial` has.

Where stock use leaves a choice:

- a configuration is asked for when a worker is free, where Tune asks for one ahead;
- one that names no network of the space (over budget, say) costs neither epochs nor one of `num_samples`: the budget of
  epochs alone ends the search. The searcher is told the error of guessing and the largest number of parameters:
  `OptunaSearch` would learn nothing from a trial that failed, and ask for the like of it again;
- a network proposed again is trained again, as Tune would, but with another seed; when the table has no further one to
  hand out, the trial costs nothing and ends with what the network showed last, or with an error while it is still being
  trained;
- only trainings that ran to the last epoch count as results, as for all strategies, although Tune lists those that
  ASHA stopped beside them;
- `tell` receives the error of the last epoch that ran, which `OptunaSearch` passes on by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rksearch.arch import parse
from rksearch.bench.replay.lookup import Lookup
from rksearch.bench.replay.simulation import Work
from rksearch.bench.replay.table import Table
from rksearch.results.records import Epoch, TrialResult

METRIC = "val_error_pct"

ASKED_MOST = 100
"""Configurations in a row that are asked for at most before one can be trained."""


@dataclass(frozen=True, slots=True)
class _Trial:
    """All that searcher and scheduler read of a trial."""

    trial_id: str


class StockRay:
    """Plays `OptunaSearch`, with or without `ASHAScheduler`.

    Args:
        table: what is searched.
        repetition: decides the seeds of the trainings, and the sampler's.
        two_objectives: whether validation error and parameters are both to be small, or the error alone.
        asha: whether `ASHAScheduler` stops trials by their error, with `max_t` the epochs of a full training and all
            other arguments as Ray has them (`grace_period` 1, `reduction_factor` 4, one bracket).
        first: names of members that are tried before any proposal (`points_to_evaluate`).
    """

    def __init__(
        self,
        table: Table,
        *,
        repetition: int,
        two_objectives: bool,
        asha: bool,
        first: Sequence[str] = (),
    ) -> None:
        import optuna
        from ray.tune.schedulers import ASHAScheduler, FIFOScheduler
        from ray.tune.search.optuna import OptunaSearch

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._table = table
        self._lookup = Lookup(table, repetition=repetition)
        space = {
            name: optuna.distributions.CategoricalDistribution(values)
            for name, values in table.space.dimensions().items()
        }
        metric, mode = ([METRIC, "params"], ["min", "min"]) if two_objectives else (METRIC, "min")
        self._searcher: Any = OptunaSearch(
            space,
            metric=metric,
            mode=mode,
            seed=repetition,
            points_to_evaluate=[table.space.choices(parse(arch)) for arch in first] or None,
        )
        self._scheduler: Any = (
            ASHAScheduler(time_attr="training_iteration", metric=METRIC, mode="min", max_t=table.epochs)
            if asha
            else FIFOScheduler()
        )
        self._asked = 0
        guessing = 100 * (1 - 1 / table.space.definition.dataset.classes)
        self._worst = {METRIC: guessing, "params": table.space.largest.params, "training_iteration": table.epochs}
        self._results: dict[str, dict[str, Any]] = {}
        self._shown: dict[str, dict[str, Any]] = {}
        self._stopped: set[str] = set()

    def next(self) -> Work | None:
        """The network of the next configuration; None when none is found."""
        for _ in range(ASKED_MOST):
            self._asked += 1
            key = f"{self._asked:05d}"
            arch = self._lookup.arch(self._searcher.suggest(key))
            if arch is None:
                self._searcher.on_trial_complete(key, result=self._worst)
                continue
            training = self._lookup.training(arch)
            if training is None:
                known = self._shown.get(arch)
                self._searcher.on_trial_complete(key, result=known, error=known is None)
                continue
            self._scheduler.on_trial_add(None, _Trial(key))
            return Work(key=key, arch=arch, training=training, first=1, last=self._table.epochs)
        return None

    def on_epoch(self, work: Work, epoch: Epoch) -> bool:
        """Report an epoch as `tune.report` would; False when the scheduler stops the trial."""
        result = {
            METRIC: epoch.val_error_pct,
            "params": self._table.members[work.arch].params,
            "training_iteration": epoch.epoch,
        }
        self._results[work.key] = result
        if self._scheduler.on_trial_result(None, _Trial(work.key), result) == self._scheduler.STOP:
            self._stopped.add(work.key)
            return False
        self._searcher.on_trial_result(work.key, result)
        return True

    def on_end(self, work: Work) -> TrialResult | None:
        """Report the end of a trial that was stopped, has failed, or is complete."""
        result = self._results.pop(work.key, None)
        if result is None or (work.training.status == "failed" and work.key not in self._stopped):
            self._scheduler.on_trial_error(None, _Trial(work.key))
            self._searcher.on_trial_complete(work.key, error=True)
            return None
        self._shown[work.arch] = result
        self._scheduler.on_trial_complete(None, _Trial(work.key), result)
        self._searcher.on_trial_complete(work.key, result=result)
        return work.training if result["training_iteration"] == self._table.epochs else None
