"""The run's own study: an ordinary Optuna study in memory that holds every proposal and result of the run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence, Set
from typing import Any

import optuna
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState, create_trial

from rksearch.arch import parse
from rksearch.results.records import TrialResult, TrialSpec
from rksearch.search.objectives import objective, values_of
from rksearch.search.samplers import attributes
from rksearch.search.samplers.base import distributions_of
from rksearch.search.samplers.draws import feasible
from rksearch.search.samplers.mapping import feasible_and_new
from rksearch.space import Space
from rksearch.space.plan import metric_of


def ordinary_study(
    sampler: optuna.samplers.BaseSampler, objectives: Sequence[str], *, storage: InMemoryStorage | None = None
) -> optuna.Study:
    """A study that minimises the objectives, in memory; Optuna reports no more than warnings from then on."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(storage=storage, sampler=sampler, directions=["minimize"] * len(objectives))


def fail(study: optuna.Study, number: int) -> None:
    """End a trial as failed."""
    study.tell(number, state=TrialState.FAIL)


class RunStudy:
    """Proposes architectures by any Optuna sampler, from a study that the ledger's results are copied to.

    The study holds the members of the space that were or are being trained: an architecture's first training is one
    trial, RUNNING until it is complete, has failed or was pruned for good; each replicate is a trial of its own. What
    values cannot say stands in the attributes of `rksearch.search.samplers.attributes`.

    Args:
        space: architectures that may be proposed.
        sampler: chooses the parameters of a trial.
        objectives: names of the minimised objectives, in the order of a trial's values.
        start: names of architectures to propose first; those that are not in the space are left out.

    Attributes:
        study: the study; only this class changes it.

    Raises:
        SpecError: one of `start` is no name of an architecture.
    """

    def __init__(
        self,
        space: Space,
        sampler: optuna.samplers.BaseSampler,
        *,
        objectives: Sequence[str],
        start: Sequence[str] = (),
    ) -> None:
        self._space = space
        self._objectives = tuple(map(objective, objectives))
        self._metric = metric_of(objectives)
        self._distributions = distributions_of(space)
        self._start = feasible(space, start)[::-1]
        self._storage = InMemoryStorage()
        self.study = ordinary_study(sampler, objectives, storage=self._storage)
        self._id = self._storage.get_study_id_from_name(self.study.study_name)
        self._open: dict[str, int] = {}
        self._pauses: dict[str, list[tuple[int, int]]] = {}
        self._members: set[str] = set()
        self._observed = 0

    def add_imported(self, arch: str, values: Sequence[float | None]) -> None:
        """Let the sampler learn a result of another run; one of an architecture outside of the space teaches nothing.

        Args:
            arch: canonical name.
            values: the objectives in their order; None for one that was not measured.
        """
        known = [value for value in values if value is not None and math.isfinite(value)]
        if len(known) == len(self._objectives) and parse(arch) in self._space:
            own = {attributes.ARCH: arch, attributes.ROLE: "imported"}
            self._add(arch, own, state=TrialState.COMPLETE, values=known)

    def started(self, archs: Iterable[str], role: str) -> None:
        """Add architectures whose first training has begun, or soon will, without a proposal of this session."""
        for arch in archs:
            if arch not in self._members and parse(arch) in self._space:
                self._begin(arch, role)

    def update(self, results: Iterable[tuple[TrialSpec, TrialResult]]) -> None:
        """Copy results of the ledger to the study, in their order; a paused training may come several times."""
        for spec, result in results:
            if spec.arch not in self._members:
                continue
            if spec.replicate:
                self._add_replicate(spec, result)
            elif spec.arch in self._open:
                self._set_state(spec, result)

    def propose(self, taken: Set[str]) -> str | None:
        """Name of a feasible, canonical architecture that is not taken, or None when there is none left.

        Args:
            taken: all architectures that were ever proposed in the run, and those that it began with.
        """
        while self._start:
            arch = self._start.pop()
            if arch not in taken:
                self._begin(arch, "candidate")
                return arch
        trial = self.study.ask(self._distributions)
        proposed = feasible_and_new(self._space, trial.params, taken)
        if proposed is not None and self._space.choices(parse(proposed)) == trial.params:
            self._set(trial.number, attributes.ARCH, proposed)
            self._members.add(proposed)
            self._open[proposed] = trial.number
            return proposed
        # The study must hold what is trained, not what was asked for.
        self._set(trial.number, attributes.REPLACED_BY, proposed)
        self.study.tell(trial, state=TrialState.FAIL)
        if proposed is not None:
            self._begin(proposed, "candidate")
        return proposed

    def _begin(self, arch: str, role: str) -> None:
        own = {attributes.ARCH: arch, attributes.ROLE: role}
        self._members.add(arch)
        self._open[arch] = self._add(arch, own, state=TrialState.RUNNING)

    def _set_state(self, spec: TrialSpec, result: TrialResult) -> None:
        """Copy the state of a first training; once it has ended, its trial no longer changes."""
        number = self._open[spec.arch]
        for key, value in self._attributes(result).items():
            self._set(number, key, value)
        if result.status == "paused":
            pauses = self._pauses.setdefault(spec.arch, [])
            pauses.append((self._observed, len(result.epochs)))
            self._set(number, attributes.PAUSES, list(pauses))
            return
        del self._open[spec.arch]
        self._pauses.pop(spec.arch, None)
        values = self._values(spec, result)
        if values is not None:
            self.study.tell(number, values)
        else:
            self.study.tell(number, state=TrialState.PRUNED if result.status == "pruned" else TrialState.FAIL)

    def _add_replicate(self, spec: TrialSpec, result: TrialResult) -> None:
        if result.status not in ("complete", "failed"):
            return
        own = {attributes.ARCH: spec.arch, attributes.ROLE: spec.role, attributes.REPLICATE: spec.replicate}
        values = self._values(spec, result)
        state = TrialState.FAIL if values is None else TrialState.COMPLETE
        self._add(spec.arch, {**own, **self._attributes(result)}, state=state, values=values)

    def _attributes(self, result: TrialResult) -> dict[str, Any]:
        self._observed += 1
        found: dict[str, Any] = {attributes.OBSERVED: self._observed}
        if result.status == "failed":
            return {**found, attributes.FAILURE: f"{result.failure}: {result.message}"}
        if result.epochs:
            found[attributes.VAL_ERRORS] = [epoch.error_pct(self._metric) for epoch in result.epochs]
            found[attributes.TRAIN_LOSSES] = [epoch.train_loss for epoch in result.epochs]
        return found

    def _values(self, spec: TrialSpec, result: TrialResult) -> tuple[float, ...] | None:
        """The objectives of a complete training; None where it has none, or one that is not finite."""
        if result.status != "complete":
            return None
        values = values_of(spec, result, self._objectives)
        return values if all(map(math.isfinite, values)) else None

    def _set(self, number: int, key: str, value: Any) -> None:
        self._storage.set_trial_user_attr(
            self._storage.get_trial_id_from_study_id_trial_number(self._id, number), key, value
        )

    def _add(self, arch: str, own: dict[str, Any], *, state: TrialState, values: Sequence[float] | None = None) -> int:
        """Add a trial that no sampler was asked for; returns its number."""
        trial = create_trial(
            state=state,
            params=self._space.choices(parse(arch)),
            distributions=self._distributions,
            values=values,
            user_attrs=own,
        )
        self.study.add_trial(trial)
        return len(self.study.get_trials(deepcopy=False)) - 1
