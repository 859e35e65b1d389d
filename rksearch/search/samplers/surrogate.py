"""Model of the default sampler: errors of members, their front, and the expected gain by another member."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rksearch.arch.arrays import Floats
from rksearch.results.dominance import non_dominated
from rksearch.search.samplers.candidates import Candidates, Listing, Rows
from rksearch.search.samplers.improvement import expected_improvement
from rksearch.search.samplers.ladder import final_errors
from rksearch.search.samplers.process import Observed, Process
from rksearch.space import Space
from rksearch.space.plan import error_place

MODELLED = 192
"""Maximum number of trainings that are modelled: the nearest to the front, and others evenly."""

FRONT = 16
"""Maximum number of members of the front whose neighbours are candidates, and that cut the space of several costs."""

BEYOND = 0.01
"""Decades by which the hypervolume ends beyond the largest cost."""

REFIT = 1.1
"""Factor of growth of the observations after which hyperparameters are fitted again."""


@dataclass(frozen=True, slots=True)
class Seen:
    """State of a training in the model.

    Attributes:
        curve: see `rksearch.search.samplers.ladder.curve`.
        values: the objectives, in their order.
        eligible: whether it is or may still become complete.
        trainings: number of complete trainings whose mean this is.
        whole: whether the curve is the final value alone, of a training whose epochs are not known.
    """

    curve: Floats
    values: tuple[float, ...]
    eligible: bool
    trainings: int = 1
    whole: bool = False


class Surrogate:
    """A model of the error, and of every objective that is not known before training.

    Args:
        listing: listing of the members that are modelled.
        objectives: names, in the order of the values of what is seen.
        error: place of the error among them.
        most: of each cost that the listing knows, the largest, by name; other objectives are learned.
        worst_error: error that is worth nothing; None for the largest seen.

    Attributes:
        front: rows of the members on the front of the model's means.
    """

    def __init__(
        self,
        listing: Listing,
        objectives: Sequence[str],
        *,
        error: int,
        most: Mapping[str, float],
        worst_error: float | None,
    ) -> None:
        self._listing = listing
        self._objectives = tuple(objectives)
        self._error = error
        self._costs = [i for i in range(len(self._objectives)) if i != self._error]
        self._models = {i: Process(listing.groups) for i, name in enumerate(self._objectives) if name not in most}
        self._most = {i: np.log10(most[self._objectives[i]]) for i in self._costs if self._objectives[i] in most}
        self._worst_error = worst_error
        self._fitted_at = 0
        self._worst: Floats = np.zeros(len(self._objectives))
        self.front: Rows = np.zeros((0, 0), dtype=np.int64)

    @classmethod
    def of(cls, space: Space, listing: Listing, objectives: Sequence[str]) -> Surrogate:
        """The model of the members of a space, whose listing knows params and MACs."""
        return cls(
            listing,
            objectives,
            error=error_place(objectives),
            most={"params": float(space.largest.params), "macs": float(space.most_macs.macs)},
            # The corner of the hypervolume of reports: guessing, at the cost of the costliest member.
            worst_error=100 * (1 - 1 / space.definition.dataset.classes),
        )

    def learn(self, seen: Mapping[str, tuple[Rows, Seen]], running: Sequence[Rows]) -> None:
        """Learn from all trainings, and add those that are running with their expected errors."""
        targets = final_errors({arch: own.curve for arch, (_, own) in seen.items()})
        everything = self._listing.candidates(np.stack([row for row, _ in seen.values()]))
        y = np.array([t.value for t in targets.values()])
        extra = np.array([t.variance for t in targets.values()])
        values = np.array([own.values for _, own in seen.values()])
        eligible = np.array([own.eligible for _, own in seen.values()])
        logs = np.log(np.maximum(values, 1e-9))
        logs[:, self._error] = y
        costs = (
            np.stack([self._known(i, everything, logs[:, i]) for i in self._costs], axis=1)
            if self._costs
            else (np.zeros((len(y), 0)))
        )
        kept = nearest_to_front(costs, y, MODELLED)
        trainings = np.array([own.trainings for _, own in seen.values()], dtype=float)
        refit = len(y) >= REFIT * self._fitted_at
        learnt = {}
        for i, model in self._models.items():
            observed = Observed(
                x=everything.features[kept],
                y=logs[kept, i],
                extra=extra[kept] if i == self._error else np.zeros(len(kept)),
                trainings=trainings[kept],
            )
            if refit:
                model.fit(observed)
            model.condition(observed)
            learnt[i] = observed
        self._fitted_at = len(y) if refit else self._fitted_at
        members = everything.take(np.flatnonzero(eligible))
        if running:
            expected = self._listing.candidates(np.stack(running))
            members = Candidates(
                np.concatenate([members.rows, expected.rows]),
                {k: np.concatenate([v, expected.costs[k]]) for k, v in members.costs.items()},
                np.concatenate([members.features, expected.features]),
            )
            for i, model in self._models.items():
                believed = model.predict(expected.features)[0]
                model.condition(learnt[i].and_expected(expected.features, believed))
        if not len(members):
            members = everything
        errors = np.exp(self._models[self._error].predict(members.features)[0])
        worst_error = float(np.exp(y.max())) if self._worst_error is None else self._worst_error
        self._worst = np.array([*(self._end(i, logs[:, i]) for i in self._costs), worst_error])
        own_costs = self._cost_columns(members)
        front = non_dominated(np.concatenate([own_costs, errors[:, None]], axis=1), distinct=True)
        if len(front) > FRONT and len(self._costs) > 1:
            front = front[np.linspace(0, len(front) - 1, FRONT).astype(np.int64)]
        self._front_costs, self._front_errors = own_costs[front], errors[front]
        few = front if len(front) <= FRONT else front[np.linspace(0, len(front) - 1, FRONT).astype(np.int64)]
        self.front = members.rows[few]

    def reach(self, candidates: Candidates) -> None:
        """Let the hypervolume end at the largest costs of these candidates, where they exceed those known so far."""
        for place, i in enumerate(self._costs):
            if i in self._most:
                self._most[i] = max(self._most[i], np.log10(candidates.costs[self._objectives[i]].max()))
                self._worst[place] = self._most[i] + BEYOND

    def gains(self, candidates: Candidates) -> Floats:
        """Expected gain in hypervolume of each candidate.

        It is the gain of the front of means by one more training: where the model knows nearly as much as a training
        would teach, a training moves the mean little, however uncertain both are.
        """
        error = self._models[self._error]
        mean, sd = error.predict(candidates.features)
        moved = sd**2 / np.hypot(sd, error.noise_sd)
        return expected_improvement(
            self._cost_columns(candidates), mean, moved, self._front_costs, self._front_errors, self._worst
        )

    def _cost_columns(self, candidates: Candidates) -> Floats:
        """Logarithms to base 10 of the costs, as known or as expected."""
        columns = [
            np.log10(candidates.costs[self._objectives[i]])
            if i not in self._models
            else self._models[i].predict(candidates.features)[0] / np.log(10)
            for i in self._costs
        ]
        return np.stack(columns, axis=1) if columns else np.zeros((len(candidates), 0))

    def _known(self, i: int, candidates: Candidates, seen: Floats) -> Floats:
        return np.log(candidates.costs[self._objectives[i]]) if i not in self._models else seen

    def _end(self, i: int, seen: Floats) -> float:
        return float(self._most.get(i, seen.max() / np.log(10))) + BEYOND


def nearest_to_front(costs: Floats, y: Floats, most: int) -> npt.NDArray[np.int64]:
    """Places of the trainings to keep: half of them the nearest to the front and half evenly from the others.

    Args:
        costs: (trainings, costs).
        y: logarithms of errors.
        most: number of trainings to keep; all where there are no more.
    """
    if len(y) <= most:
        return np.arange(len(y))
    affords = (costs[None, :, :] <= costs[:, None, :]).all(axis=2)
    best = np.where(affords, y[None, :], np.inf).min(axis=1)
    order = np.argsort(y - best, kind="stable")
    near, far = order[: most // 2], np.sort(order[most // 2 :])
    even = far[np.linspace(0, len(far) - 1, most - len(near)).astype(np.int64)]
    return np.sort(np.concatenate([near, even]))
