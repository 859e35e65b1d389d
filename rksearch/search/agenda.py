"""What to do next, decided from the ledger alone: no Ray, no Optuna, no clock.

Work comes in this order, so that a run that is cut short has the comparisons first:

1. baselines, then the paper's known configurations;
2. candidates that the proposer chooses, until the plan's number is reached or the space is exhausted;
3. further seeds for the baselines, and, once no first training is left, for what then stands on the front (by
   parameters or by MACs), until every member of the front has all its seeds;
4. one reading of the test set for every training of front and baselines.

An interrupted run goes on by the same rules: whatever was started and not finished is simply not done yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from rksearch.front import ArchSummary, by_macs, by_params, rk_front, summarise
from rksearch.ledger import History
from rksearch.records import Role, TrialSpec
from rksearch.search.settings import Settings


@dataclass(frozen=True, slots=True)
class Task:
    """A piece of work for one worker: train a trial, or read the test set with a trained one."""

    action: Literal["train", "test"]
    trial: TrialSpec

    @property
    def id(self) -> str:
        """`ResNet-20@0`, or `test:ResNet-20@0`."""
        return self.trial.id if self.action == "train" else f"test:{self.trial.id}"

    def to_json(self) -> dict[str, Any]:
        """Plain values; `from_json` is the inverse."""
        return {"action": self.action, "trial": self.trial.to_json()}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Task:
        """The task that `to_json` wrote."""
        return cls(record["action"], TrialSpec.from_json(record["trial"]))


class Proposer(Protocol):
    """Chooses architectures."""

    def propose(self, taken: set[str]) -> str | None:
        """Name of a feasible architecture that is not in `taken`, or None when there is none left."""

    def tell(self, arch: str, val_error_pct: float | None) -> None:
        """The validation error of an architecture's first training, or None when it failed."""


class Agenda:
    """Hands out tasks, each once, given what is finished and what is running."""

    def __init__(self, settings: Settings, proposer: Proposer, history: History) -> None:
        self._settings = settings
        self._proposer = proposer
        first = (*settings.baselines, *settings.known)
        candidates = (spec_id.rpartition("@")[0] for spec_id in history.started)
        self._candidates = list(dict.fromkeys(arch for arch in candidates if arch not in first))
        self._exhausted = False

    @property
    def exhausted(self) -> bool:
        """Whether the space ran out of new architectures before the plan's number was reached."""
        return self._exhausted

    @property
    def architectures(self) -> list[str]:
        """Everything that is or will be trained so far: baselines, known, candidates, in this order."""
        return [*self._settings.baselines, *self._settings.known, *self._candidates]

    def next(self, history: History, running: Mapping[str, Task]) -> Task | None:
        """The next task, or None when nothing can be started before something that is running ends."""
        busy = set(running)
        for trial in self._first_trainings():
            if trial.id not in history.trials and trial.id not in busy:
                return Task("train", trial)
        if candidate := self._new_candidate():
            return Task("train", candidate)
        for trial in self._replicates(self._settings.baselines):
            if trial.id not in history.trials and trial.id not in busy:
                return Task("train", trial)
        if any(trial.id in busy for trial in self._first_trainings()):
            return None  # the front may still change
        front = [item.arch for item in self.front(history)]
        for trial in self._replicates(front):
            if trial.id not in history.trials and trial.id not in busy:
                return Task("train", trial)
        if any(task.action == "train" for task in running.values()):
            return None  # the test set is read after all training
        return next((t for t in self._readings(history, front) if t.id not in busy), None)

    def remaining_trainings(self, history: History) -> int:
        """Trainings that are not finished, given what stands on the front now."""
        front = [item.arch for item in self.front(history)]
        wanted = {t.id for t in (*self._first_trainings(), *self._replicates((*self._settings.baselines, *front)))}
        unknown = 0 if self._exhausted else max(0, self._settings.trials - len(self._candidates))
        return len(wanted - set(history.trials)) + unknown * self._settings.search_seeds

    def front(self, history: History) -> list[ArchSummary]:
        """The architectures on the front of parameters or of MACs, by rising parameters."""
        items = summarise(history)
        both = {i.arch: i for cost in (by_params, by_macs) for i in rk_front(items, cost=cost)}
        return sorted(both.values(), key=lambda i: (i.params, i.arch))

    def _new_candidate(self) -> TrialSpec | None:
        if self._exhausted or len(self._candidates) >= self._settings.trials:
            return None
        arch = self._proposer.propose(set(self.architectures))
        if arch is None:
            self._exhausted = True
            return None
        self._candidates.append(arch)
        return self._trial(arch, 0)

    def _first_trainings(self) -> Iterator[TrialSpec]:
        for arch in self.architectures:
            for replicate in range(self._settings.search_seeds):
                yield self._trial(arch, replicate)

    def _replicates(self, archs: tuple[str, ...] | list[str]) -> Iterator[TrialSpec]:
        for replicate in range(self._settings.search_seeds, self._settings.final_seeds):
            for arch in archs:
                yield self._trial(arch, replicate)

    def _readings(self, history: History, front: list[str]) -> Iterator[Task]:
        read = {test["trial"] for test in history.tests}
        archs = (*self._settings.baselines, *front)
        for trial, result in history.trials.values():
            if trial.arch in archs and result.status == "complete" and trial.id not in read:
                yield Task("test", trial)

    def _trial(self, arch: str, replicate: int) -> TrialSpec:
        s = self._settings
        role: Role = "baseline" if arch in s.baselines else "known" if arch in s.known else "candidate"
        return TrialSpec(
            arch=arch,
            dataset=s.dataset,
            recipe=s.recipe,
            train_images=s.train_images,
            replicate=replicate,
            role=role,
        )
