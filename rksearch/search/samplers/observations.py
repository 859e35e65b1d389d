"""A study as a sampler reads it: each state of a training, read once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from rksearch.arch import ArchSpec, parse
from rksearch.errors import SpaceError
from rksearch.search.objectives import objective
from rksearch.search.samplers import attributes
from rksearch.space import Space
from rksearch.space.plan import metric_of

NOT_PROPOSED = ("known", "baseline", "imported")
"""Roles of trainings that no sampler proposed."""

TrainingState = Literal["running", "paused", "pruned", "complete", "failed"]
"""State of a training: `running` has shown no epoch yet; `paused` has shown some and may continue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """State of one training, as a trial shows it.

    Attributes:
        arch: canonical name of a member of the space.
        trial: number of the trial.
        state: state of the training.
        val_errors_pct, train_losses: the error among the objectives and the training loss, one number per epoch so
            far; empty where the trial has no such attributes.
        values: the objectives in their order, with the error of the last epoch so far; NaN for one that was
            not measured. None for a training that has failed or has shown nothing. Only those of complete trainings may
            be compared with one another.
        replicate: index of the seed.
    """

    arch: str
    trial: int
    state: TrainingState
    val_errors_pct: Sequence[float] = ()
    train_losses: Sequence[float] = ()
    values: tuple[float, ...] | None = None
    replicate: int = 0

    @property
    def usable(self) -> bool:
        """Whether there are values, all of them finite."""
        return self.values is not None and all(map(math.isfinite, self.values))


class LastProposal:
    """The trial of a sampler's last proposal, by which its study is recognised.

    A name does not tell studies apart, nor does its number in a storage: another storage may have both, and so has a
    study that was deleted and created again. No trial of them began at the same microsecond. The objects of study and
    storage do not tell either: there may be several of one study, and others after a sampler was pickled.
    """

    def __init__(self) -> None:
        self._study_name: str | None = None
        self._number = 0
        self._began: datetime | None = None

    def is_of(self, study: Study) -> bool:
        """Whether this study holds the trial."""
        return study.study_name == self._study_name and self._began == _beginning(study, self._number)

    def set(self, study: Study, number: int) -> None:
        """Remember the trial that a proposal is made for."""
        self._study_name, self._number, self._began = study.study_name, number, _beginning(study, number)


class StudyReader:
    """Reads what is new in a study since it was last read.

    Args:
        space: architectures that are of interest; trials of others are ignored.
        objectives: names of the objectives, in the order of a trial's values.

    Attributes:
        taken: names of the members that the study holds, whatever became of them; imported ones are left out.
        proposed: number of proposals that the study held when it was first read.
    """

    def __init__(self, space: Space, objectives: Sequence[str]) -> None:
        self._space = space
        self._objectives = tuple(objectives)
        self._error = metric_of(objectives).field
        self._dimensions = frozenset(space.dimensions())
        self._last = LastProposal()
        self.taken: set[str] = set()
        self.proposed = 0
        self._read = 0
        self._open: dict[int, FrozenTrial | None] = {}
        self._pauses: dict[int, int] = {}
        self._specs: dict[int, tuple[str, ArchSpec]] = {}

    def begins(self, study: Study, *, own: int) -> bool:
        """Whether the study was not the last one that was read; it is then read from its first trial on.

        Args:
            study: the study.
            own: number of the trial that a proposal is wanted for.

        Raises:
            SpaceError: the study's directions do not fit the objectives.
        """
        if self._last.is_of(study):
            self._last.set(study, own)
            return False
        names = self._objectives
        if study.directions != [StudyDirection.MINIMIZE] * len(names):
            found = ", ".join(direction.name.lower() for direction in study.directions)
            raise SpaceError(
                f"the study must minimise {', '.join(names)}, but its directions are {found}; create it with "
                f"directions={['minimize'] * len(names)}, or give the sampler other objectives"
            )
        self._last.set(study, own)
        self._read, self._open, self._pauses, self._specs, self.taken = 0, {}, {}, {}, set()
        earlier = (t for t in study.get_trials(deepcopy=False) if t.number != own and _is_proposal(t))
        self.proposed = len({member[0] for trial in earlier if (member := self._spec(trial)) is not None})
        return True

    def news(self, study: Study, *, own: int) -> list[Observation]:
        """The states of trials that are new since the last call, in the order in which they became known."""
        trials = study.get_trials(deepcopy=False)
        changed = [trials[number] for number, before in self._open.items() if _has_changed(trials[number], before)]
        changed += trials[self._read :]
        begun = self._read > 0
        found: list[tuple[int, Observation]] = []
        for trial in changed:
            if trial.number != own:
                first = begun and (trial.number >= self._read or self._open.get(trial.number) is None)
                found += self._states(trial, first=first)
            if trial.state.is_finished():
                self._open.pop(trial.number, None)
                self._pauses.pop(trial.number, None)
            else:
                self._open[trial.number] = None if trial.number == own else trial
        self._read = len(trials)
        found.sort(key=lambda state: (state[0], state[1].trial))
        return [observation for _, observation in found]

    def take(self, arch: str) -> None:
        """Count an architecture as taken from now on, whatever the study says of it later."""
        self.taken.add(arch)

    def _states(self, trial: FrozenTrial, *, first: bool) -> list[tuple[int, Observation]]:
        """States of a trial that were not read yet, each with the number of `OBSERVED` at which it became known.

        Args:
            trial: the trial.
            first: whether the trial began since the last proposal: its beginning comes before what it shows by now.
        """
        last = self._observation(trial)
        if last is None:
            return []
        found = []
        if first and not last.replicate and last.state != "running":
            found.append((-1, Observation(arch=last.arch, trial=trial.number, state="running")))
        pauses = trial.user_attrs.get(attributes.PAUSES) or ()
        new = pauses[self._pauses.get(trial.number, 0) :]
        self._pauses[trial.number] = len(pauses)
        # The last pause of a training that still waits is its present state.
        for observed, epochs in new[:-1] if last.state == "paused" else new:
            found.append((observed, self._paused(last, epochs)))
        return [*found, (trial.user_attrs.get(attributes.OBSERVED, -1), last)]

    def _paused(self, later: Observation, epochs: int) -> Observation:
        """The state of a training when it paused after a number of epochs, from a later state of it."""
        errors = later.val_errors_pct[:epochs]
        return Observation(
            arch=later.arch,
            trial=later.trial,
            state="paused",
            val_errors_pct=errors,
            train_losses=later.train_losses[:epochs],
            values=self._values(parse(later.arch), errors[-1]) if errors else None,
        )

    def _observation(self, trial: FrozenTrial) -> Observation | None:
        """The present state of a training; None where the trial is of no member, or of no training."""
        own = trial.user_attrs
        if attributes.REPLACED_BY in own or (known := self._spec(trial)) is None:
            return None
        arch, spec = known
        if trial.state.is_finished():
            self._specs.pop(trial.number, None)
        if own.get(attributes.ROLE) != "imported":
            self.taken.add(arch)
        errors: Sequence[float] = own.get(attributes.VAL_ERRORS) or ()
        losses: Sequence[float] = own.get(attributes.TRAIN_LOSSES) or [math.nan] * len(errors)
        state = _state_of(trial, begun=bool(errors))
        values: tuple[float, ...] | None = None
        if state == "complete":
            values = tuple(trial.values)
        elif errors and state != "failed":
            values = self._values(spec, errors[-1])
        return Observation(
            arch=arch,
            trial=trial.number,
            state=state,
            val_errors_pct=errors,
            train_losses=losses,
            values=values,
            replicate=own.get(attributes.REPLICATE, 0),
        )

    def _values(self, spec: ArchSpec, error_pct: float) -> tuple[float, ...]:
        data = self._space.definition.dataset
        known = [objective(name).known for name in self._objectives]
        return tuple(
            error_pct if name == self._error else cost(spec, data) if cost else math.nan
            for name, cost in zip(self._objectives, known, strict=True)
        )

    def _decisions(self, trial: FrozenTrial) -> dict[str, Any]:
        """The parameters of a trial that are decisions of the space: an objective may suggest others beside."""
        return {key: value for key, value in trial.params.items() if key in self._dimensions}

    def _spec(self, trial: FrozenTrial) -> tuple[str, ArchSpec] | None:
        """Name and spec of the member that a trial is about; None for none, or while its parameters are chosen."""
        if trial.number in self._specs:
            return self._specs[trial.number]
        arch = trial.user_attrs.get(attributes.ARCH)
        try:
            spec = parse(arch) if arch else self._space.from_choices(self._decisions(trial))
        except SpaceError:
            return None
        if spec not in self._space:
            return None
        self._specs[trial.number] = str(spec), spec
        return self._specs[trial.number]


def _beginning(study: Study, number: int) -> datetime | None:
    """Time at which a trial began; None where the study has no such trial, or it waits."""
    trials = study.get_trials(deepcopy=False)
    return trials[number].datetime_start if 0 <= number < len(trials) else None


def _has_changed(trial: FrozenTrial, before: FrozenTrial | None) -> bool:
    """Whether a trial is not as it was read before; one that was not read has changed."""
    # A storage in memory replaces the record with each change; others, and copies, make records as they are read.
    return trial is not before and trial != before


def _is_proposal(trial: FrozenTrial) -> bool:
    own = trial.user_attrs
    return (
        attributes.REPLACED_BY not in own
        and own.get(attributes.ROLE) not in NOT_PROPOSED
        and not own.get(attributes.REPLICATE, 0)
        and trial.state != TrialState.WAITING
    )


def _state_of(trial: FrozenTrial, *, begun: bool) -> TrainingState:
    match trial.state:
        case TrialState.COMPLETE:
            return "complete"
        case TrialState.FAIL:
            return "failed"
        case TrialState.PRUNED:
            return "paused" if trial.user_attrs.get(attributes.WAITING) else "pruned"
        case _:
            return "paused" if begun else "running"
