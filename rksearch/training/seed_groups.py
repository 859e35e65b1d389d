"""Trainings of one architecture, each with a seed of its own, that run as one program."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

from rksearch.errors import TrialFailed
from rksearch.results.records import Epoch
from rksearch.training.engine.heap import freed_memory_kept
from rksearch.training.engine.programs import Programs, Recorder
from rksearch.training.trainer import Pass, Trainer, as_trial_failure, attempt


class SeedGroup:
    """Trainings that take each step at the same time, whatever epoch each is in.

    On a GPU their steps are branches of one graph, so that kernels of one fill what those of another leave idle; on a
    CPU they take turns. Each computes what it computes alone, by the same kernels: bit for bit the same numbers on a
    CPU.

    Args:
        trainers: at least one; networks that draw random numbers (dropout) would draw others than alone.
        record: see `rksearch.training.engine.programs.Programs`.

    Raises:
        ValueError: their batches differ in size, or some of them are compiled and some are not.
    """

    def __init__(self, trainers: Sequence[Trainer], record: Recorder | None = None) -> None:
        self._trainers = tuple(trainers)
        first = self._trainers[0]
        for other in self._trainers[1:]:
            if (other.step.sizes, other.choice.compiled) != (first.step.sizes, first.choice.compiled):
                raise ValueError("trainings of one program need batches of the same sizes and the same choice")
        self._programs = Programs([trainer.step for trainer in self._trainers], choice=first.choice, record=record)

    def run_epoch(self) -> list[Epoch | TrialFailed]:
        """Train and validate the next epoch of each; per training the epoch, or the reason for which it has failed.

        A loss that is no longer finite fails its own training; an error of the program fails all. The time of an epoch
        is an equal share of the time that all took.
        """
        count = len(self._trainers)
        try:
            with as_trial_failure(f"training {count} seeds together"):
                self.prepare()
                started = time.perf_counter()
                passes = self.train_pass()
                train_time_s = (time.perf_counter() - started) / count
        except TrialFailed as failure:
            return [failure] * count
        return [
            train if isinstance(train, TrialFailed) else attempt(partial(_end_epoch, trainer, train, train_time_s))
            for trainer, train in zip(self._trainers, passes, strict=True)
        ]

    def prepare(self) -> None:
        """Compile and record what is needed; see `rksearch.training.engine.programs.Programs`."""
        self._trainers[0].on_part("prepare")
        for trainer in self._trainers:
            trainer.model.train()
        self._programs.prepare()
        for trainer in self._trainers:
            trainer.choice = self._programs.choice

    def train_pass(self) -> list[Pass | TrialFailed]:
        """Train over all batches, a part of `run_epoch`; per training its loss and error, or why it has failed."""
        first = self._trainers[0]
        numbers = [len(trainer.epochs) + 1 for trainer in self._trainers]
        with freed_memory_kept(first.device):
            for trainer, number in zip(self._trainers, numbers, strict=True):
                trainer.begin_epoch(number)
            for size in first.step.sizes:
                first.on_part("step")
                for trainer in self._trainers:
                    trainer.fetch()
                self._programs.run(size)
        return [
            attempt(partial(trainer.end_pass, number)) for trainer, number in zip(self._trainers, numbers, strict=True)
        ]


def _end_epoch(trainer: Trainer, train: Pass, train_time_s: float) -> Epoch:
    with as_trial_failure(f"validating after epoch {len(trainer.epochs) + 1}"):
        return trainer.end_epoch(train, train_time_s)
