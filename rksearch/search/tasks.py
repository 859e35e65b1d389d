"""The pieces of work that a run is made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Literal, Protocol

from rksearch.arch import draws_random_numbers, parse
from rksearch.results.ledger import History
from rksearch.results.records import TrialSpec


@dataclass(frozen=True, slots=True)
class Task:
    """A piece of work: train a trial, read the test set with a trained one, or write a trial down as pruned.

    Attributes:
        action: what is to be done; `prune` takes no worker.
        trial: with which trial.
        until: epoch after which a training pauses; None to train to the end.
        alone: whether it wants a whole device, because it ran out of memory or its worker died beside others.
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
        """What it does, trial by trial."""
        return [replace(self, trial=trial, beside=()) for trial in (self.trial, *self.beside)]

    def to_json(self) -> dict[str, Any]:
        """Plain values; `from_json` is the inverse."""
        return {
            "action": self.action,
            "trial": self.trial.to_json(),
            "until": self.until,
            "alone": self.alone,
            "beside": [trial.to_json() for trial in self.beside],
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Task:
        """The task that `to_json` wrote."""
        return cls(
            record["action"],
            TrialSpec.from_json(record["trial"]),
            record["until"],
            record["alone"],
            tuple(map(TrialSpec.from_json, record["beside"])),
        )


def first_training(
    trials: Iterable[TrialSpec], history: History, running: Mapping[str, Task], together: int
) -> Task | None:
    """To train, to the end, the first of the trials that is neither finished nor running.

    Up to `together` seeds of its architecture are trained in one task, as far as they are among the trials and have not
    failed together before; networks that draw random numbers would find other ones than alone.
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
"""What the budget of time allows: new candidates, only what follows them, or nothing more."""


class Agenda(Protocol):
    """Decides what to do next."""

    def next(self, history: History, running: Mapping[str, Task], phase: Phase, together: int) -> Task | None:
        """The next task, each handed out once, or None when nothing can be started before something running ends.

        Args:
            history: of the run.
            running: the trials of the tasks that are under way, one by one.
            phase: see `Phase`.
            together: most seeds of one architecture in one task.
        """

    def remaining(self, history: History) -> Remaining:
        """What is still to be done, as far as one can tell."""


@dataclass(frozen=True, slots=True)
class Remaining:
    """Work ahead, running work included.

    Attributes:
        tasks: trainings, or readings of the test set.
        epochs: of training; with racing an estimate.
    """

    tasks: int
    epochs: float
