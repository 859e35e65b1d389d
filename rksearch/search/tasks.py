"""The pieces of work that a run consists of, and who decides them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal, Protocol

from rksearch.arch import draws_random_numbers, parse
from rksearch.results.history import History
from rksearch.results.records import Role, TrialResult, TrialSpec


@dataclass(frozen=True, slots=True)
class Task:
    """A piece of work: train a trial, read the test set with a trained one, or record a trial as pruned.

    Attributes:
        action: kind of work; `prune` takes no worker.
        trial: the trial.
        until: epoch after which a training pauses; None to train to the end.
        alone: whether it needs a whole device, because it ran out of memory or its worker died beside others.
        beside: other seeds of the trial that are trained with it, as one program.
    """

    action: Literal["train", "test", "prune"]
    trial: TrialSpec
    until: int | None = None
    alone: bool = False
    beside: tuple[TrialSpec, ...] = ()

    @property
    def id(self) -> str:
        """`ResNet-20@0`, or `test:ResNet-20@0`."""
        return self.trial.id if self.action == "train" else f"{self.action}:{self.trial.id}"

    @property
    def epochs(self) -> int:
        """The epoch up to which a training is wanted."""
        return self.until or self.trial.recipe.epochs

    def each(self) -> list[Task]:
        """One task for each of its trials."""
        return [replace(self, trial=trial, beside=()) for trial in (self.trial, *self.beside)]


def first_training(
    trials: Iterable[TrialSpec], history: History, running: Mapping[str, Task], together: int
) -> Task | None:
    """The task that trains, to the end, the first of the trials that is neither finished nor running.

    Up to `together` seeds of its architecture are trained in one task, as far as they are among the trials and have not
    failed together before. Networks that draw random numbers are trained alone: together they would draw others.
    """
    waiting = (trial for trial in trials if trial.id not in history.trials and trial.id not in running)
    first = next(waiting, None)
    if first is None:
        return None
    if first.id in history.retried:
        return Task("train", first, alone=True)
    if together == 1 or draws_random_numbers(parse(first.arch)):
        return Task("train", first)
    seeds = (t for t in waiting if replace(t, replicate=first.replicate) == first and t.id not in history.retried)
    return Task("train", first, beside=tuple(islice(seeds, together - 1)))


Phase = Literal["search", "refine", "over"]
"""Work that the time budget still allows: new candidates, only what follows them, or nothing."""


class Proposer(Protocol):
    """Proposes architectures, and learns from results of the ledger."""

    def started(self, archs: Iterable[str], role: Role) -> None:
        """Take note of architectures whose first training has begun, or soon will, without a proposal."""

    def update(self, results: Iterable[tuple[TrialSpec, TrialResult]]) -> None:
        """Learn from trainings that have ended or paused, in this order; a paused one may come several times."""

    def propose(self, taken: Set[str]) -> str | None:
        """Name of a feasible, canonical architecture that is not taken, or None when there is none left.

        Args:
            taken: all architectures that were ever proposed, and those that the run began with.
        """


class Agenda(Protocol):
    """Decides on the next task."""

    def next(self, history: History, running: Mapping[str, Task], phase: Phase, together: int) -> Task | None:
        """The next task, each given once, or None when nothing can be started before something running ends.

        Args:
            history: of the run.
            running: the tasks that are running, one per trial.
            phase: see `Phase`.
            together: most seeds of one architecture in one task.
        """

    def remaining(self, history: History) -> Remaining:
        """Estimate of the work that is left."""


@dataclass(frozen=True, slots=True)
class Remaining:
    """Work ahead, running work included.

    Attributes:
        tasks: trainings, or readings of the test set.
        epochs: epochs of training; an estimate where trials race.
        seeds: those of the tasks that train a further seed of an architecture.
    """

    tasks: int
    epochs: float
    seeds: int = 0
