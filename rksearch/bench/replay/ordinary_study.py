"""One of our samplers in an ordinary Optuna study: every training runs to its end and reports final values alone."""

from __future__ import annotations

from collections.abc import Sequence

from rksearch.arch import parse
from rksearch.bench.replay.simulation import Work
from rksearch.bench.replay.table import Table
from rksearch.results.records import Epoch, TrialResult
from rksearch.search.samplers.base import distributions_of
from rksearch.search.samplers.registry import make_sampler
from rksearch.search.samplers.study import fail, ordinary_study
from rksearch.space.plan import DEFAULT_OBJECTIVES, ERROR


class OrdinaryStudy:
    """Plays `study.ask` and `study.tell` with the sampler, as anyone's script would.

    Args:
        table: where trainings are looked up.
        repetition: seed of the sampler; also decides which tabulated training an architecture shows.
        sampler: registered name of a sampler that proposes feasible architectures.
        trials: number of architectures that the search proposes.
        first: names of members that are enqueued before any proposal.
    """

    def __init__(self, table: Table, *, repetition: int, sampler: str, trials: int, first: Sequence[str] = ()) -> None:
        self._table = table
        self._repetition = repetition
        self._left = trials
        chosen = make_sampler(sampler, table.space, objectives=DEFAULT_OBJECTIVES, trials=trials, seed=repetition)
        self._study = ordinary_study(chosen, DEFAULT_OBJECTIVES)
        self._distributions = distributions_of(table.space)
        for arch in first:
            self._study.enqueue_trial(table.space.choices(parse(arch)))

    def next(self) -> Work | None:
        """The next proposal, trained to its end; None after the last."""
        if not self._left:
            return None
        self._left -= 1
        trial = self._study.ask(self._distributions)
        arch = str(self._table.space.from_choices(trial.params))
        training = self._table.training(arch, repetition=self._repetition, replicate=0)
        return Work(key=str(trial.number), arch=arch, training=training, first=1, last=self._table.epochs)

    def on_epoch(self, work: Work, epoch: Epoch) -> bool:
        """Continue: an ordinary study of several objectives takes no intermediate values."""
        return True

    def on_end(self, work: Work) -> TrialResult | None:
        """Report the final values, or the failure."""
        number, training = int(work.key), work.training
        if training.status != "complete":
            fail(self._study, number)
            return None
        values = {ERROR: training.epochs[-1].val_error_pct, "params": float(self._table.members[work.arch].params)}
        self._study.tell(number, [values[name] for name in DEFAULT_OBJECTIVES])
        return training
