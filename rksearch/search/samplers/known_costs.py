"""The default sampler's model for any parameters: costs are a function of the user's, only the error is learned."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.samplers import RandomSampler as OptunaRandomSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from rksearch.arch.arrays import Floats
from rksearch.errors import SpaceError
from rksearch.search.samplers.candidates import CHUNK, Candidates, Rows
from rksearch.search.samplers.frontier import FEWEST, POOL, STARTING, mean_of
from rksearch.search.samplers.lock import SamplerLock
from rksearch.search.samplers.observations import LastProposal
from rksearch.search.samplers.surrogate import REFIT, Seen, Surrogate

Costs: TypeAlias = "Callable[[Mapping[str, Any]], Sequence[float] | None]"
"""The cost objectives of a trial's parameters, in their order, each above 0; None for what is not feasible."""

MOST_VALUES = 10_000
"""Maximum number of values of one parameter."""

LISTED = 4 * POOL
"""Maximum number of combinations that are all listed, and are all candidates at each proposal."""

SAME_STEP = 1e-8
"""Part of a step by which a float may differ from one of its values and still be it, as Optuna has it."""

FEW_VALUES = 16
"""Maximum number of values of a parameter whose combinations all count as neighbours."""

MOST_CHANGES = 100
"""Maximum number of changes that lead to the cheapest and to the costliest combinations."""

DRAWS = 64
"""Number of times that as many random combinations as are wanted are drawn, where few are feasible."""


class ParameterListing:
    """Combinations of parameters as rows of numbers; see `rksearch.search.samplers.candidates.Listing`.

    Args:
        space: a distribution of finitely many values for each parameter.
        costs: see `Costs`.
        names: names of the cost objectives.

    Raises:
        SpaceError: a distribution is continuous, or its step too small for floats; nothing is feasible.
    """

    def __init__(self, space: Mapping[str, BaseDistribution], costs: Costs, names: Sequence[str]) -> None:
        self._space = dict(space)
        self._values = {name: _values(name, distribution) for name, distribution in space.items()}
        self._costs, self._cost_names = costs, tuple(names)
        self._prices: dict[bytes, tuple[float, ...] | None] = {}
        self._tables = [_features(values) for values in self._values.values()]
        kinds = [1 + i for i, table in enumerate(self._tables) for _ in range(table.shape[1])]
        self.groups = np.array([0] * len(self._cost_names) + kinds, dtype=np.int64)
        self.size = math.prod(map(len, self._values.values()))
        self._whole = np.concatenate(list(self.everything())) if self.size <= LISTED else None
        known = np.log(self._cost_columns(self.pool(POOL, np.random.default_rng(0))))
        self._middle, self._spread = known.mean(axis=0), np.maximum(known.std(axis=0), 0.1)

    def params(self, row: Rows) -> dict[str, Any]:
        """The parameters of a row."""
        return {name: values[i] for (name, values), i in zip(self._values.items(), row.tolist(), strict=True)}

    def row_of(self, params: Mapping[str, Any]) -> Rows | None:
        """The row of parameters; None where one is missing or is none of its values."""
        try:
            places = [_place(self._space[name], values, params[name]) for name, values in self._values.items()]
        except (KeyError, ValueError):
            return None
        return np.array(places, dtype=np.int64)

    def candidates(self, rows: Rows) -> Candidates:
        """Costs and features of feasible rows."""
        costs = self._cost_columns(rows)
        own = [table[rows[:, i]] for i, table in enumerate(self._tables)]
        features = np.concatenate([(np.log(costs) - self._middle) / self._spread, *own], axis=1)
        return Candidates(rows, {name: costs[:, i] for i, name in enumerate(self._cost_names)}, features)

    def feasible(self, rows: Rows) -> Rows:
        """The feasible ones among rows."""
        return rows[[self._price(row) is not None for row in rows]] if len(rows) else rows

    def random(self, count: int, rng: np.random.Generator) -> Rows:
        """About `count` different feasible rows at random; all of them where there are no more.

        Raises:
            SpaceError: none is found.
        """
        if self._whole is not None:
            return self._whole[rng.permutation(len(self._whole))[:count]]
        sizes = [len(values) for values in self._values.values()]
        found = np.zeros((0, len(sizes)), dtype=np.int64)
        for _ in range(DRAWS):
            drawn = self.feasible(np.unique(rng.integers(0, sizes, (count, len(sizes))), axis=0))
            found = np.unique(np.concatenate([found, drawn]), axis=0)
            if len(found) >= count:
                break
        if not len(found):
            raise SpaceError(
                f"costs must be known for some parameters, but {DRAWS * count:,} random ones were not feasible; "
                "narrow the search space"
            )
        return found[rng.permutation(len(found))[:count]]

    def neighbours(self, rows: Rows) -> Rows:
        """Feasible rows that differ from any of the rows in one parameter: see `_others`."""
        found = [rows[:0]]
        for row in rows:
            for i, values in enumerate(self._values.values()):
                others = _others(len(values), int(row[i]))
                changed = np.repeat(row[None, :], len(others), axis=0)
                changed[:, i] = others
                found.append(changed)
        return self.feasible(np.unique(np.concatenate(found), axis=0))

    def ends(self, rows: Rows) -> Rows:
        """The cheapest and the costliest rows, by each cost, that changes of one parameter lead to from these."""
        found = []
        for i, sign in itertools.product(range(len(self._cost_names)), (-1, 1)):
            own, costs = rows, sign * self._cost_columns(rows)[:, i]
            for _ in range(MOST_CHANGES):
                best = own[int(np.argmax(costs))]
                own = np.concatenate([best[None, :], self.neighbours(best[None, :])])
                costs = sign * self._cost_columns(own)[:, i]
                if costs[0] >= costs.max():
                    break
            found.append(best)
        return np.unique(np.stack(found), axis=0)

    def everything(self) -> Iterator[Rows]:
        """All feasible rows, in chunks.

        Raises:
            SpaceError: there is none.
        """
        combinations = itertools.product(*(range(len(values)) for values in self._values.values()))
        found = 0
        while chunk := list(itertools.islice(combinations, CHUNK)):
            rows = self.feasible(np.array(chunk, dtype=np.int64))
            found += len(rows)
            yield rows
        if not found:
            raise SpaceError("costs must be known for some parameters, but none are feasible; widen the search space")

    def row(self, arch: str) -> Rows:
        """Not known: parameters have no names."""
        raise KeyError(arch)

    def names(self, rows: Rows) -> list[str]:
        """Parameters in words."""
        return [str(self.params(row)) for row in rows]

    def pool(self, count: int, rng: np.random.Generator) -> Rows:
        """All feasible rows where all combinations are listed, else about `count` at random and their `ends`."""
        if self._whole is not None:
            return self._whole
        found = self.random(count, rng)
        return np.concatenate([found, self.ends(found)])

    def _cost_columns(self, rows: Rows) -> Floats:
        return np.array([self._price(row) for row in rows], dtype=float).reshape(len(rows), len(self._cost_names))

    def _price(self, row: Rows) -> tuple[float, ...] | None:
        key = row.tobytes()
        if key not in self._prices:
            self._prices[key] = self._checked(self.params(row))
        return self._prices[key]

    def _checked(self, params: dict[str, Any]) -> tuple[float, ...] | None:
        found = self._costs(params)
        if found is None:
            return None
        costs = tuple(map(float, found))
        if len(costs) != len(self._cost_names) or not all(0 < cost < math.inf for cost in costs):
            raise SpaceError(
                f"costs must be {len(self._cost_names)} finite numbers above 0, or None for what is not feasible, but "
                f"{params} gave {found!r}"
            )
        return costs


class KnownCostSampler(BaseSampler):
    """Proposes the parameters of the largest expected gain in hypervolume at their known costs.

    For a study of anyone's with two or more minimised objectives of which one, the error, has to be measured, and the
    others are a function of the parameters: size, price, energy. It has the model of `FrontierSampler`: a Gaussian
    process of the logarithm of the error over costs and parameters.

        def costs(params):
            return [params["layers"] * params["width"] ** 2]

        space = {"layers": IntDistribution(1, 8), "width": CategoricalDistribution([16, 32, 64])}
        study = optuna.create_study(directions=["minimize", "minimize"], sampler=KnownCostSampler(space, costs))

    Parameters that the study holds already are not proposed again as long as there are others. The sampler can be
    pickled where `costs` can: a function of a module, for one.

    Args:
        search_space: the parameters of a trial, each of finitely many values.
        costs: the objectives besides the error, in their order; None for parameters that must not be proposed.
        error: place of the error among the objectives; errors are above 0, in any unit. A complete trial whose error is
            infinite counts as failed.
        worst_error: error at which a result is worth nothing; None for the largest that was seen.
        seed: seed of all random choices; None for one that differs each time.

    Raises:
        SpaceError: a distribution is continuous, or its step too small for floats.
    """

    def __init__(
        self,
        search_space: Mapping[str, BaseDistribution],
        costs: Costs,
        *,
        error: int = 0,
        worst_error: float | None = None,
        seed: int | None = None,
    ) -> None:
        for name, distribution in search_space.items():
            _values(name, distribution)
        self._space = dict(search_space)
        self._costs = costs
        self._error = error
        self._worst_error = worst_error
        self._rng = np.random.default_rng(seed)
        self._others = OptunaRandomSampler(seed=seed)
        self._lock = SamplerLock()
        self._last = LastProposal()

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """All parameters: they are chosen together."""
        return dict(self._space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A parameter outside of the search space, at random."""
        return self._others.sample_independent(study, trial, param_name, param_distribution)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The parameters of a new trial; nothing for one that was enqueued with all of them.

        Raises:
            SpaceError: the study's directions do not fit, the costs do not, or a complete trial has an error that is
                not above 0.
        """
        if self._space.keys() <= trial.system_attrs.get("fixed_params", {}).keys():
            return {}
        with self._lock:
            if not self._last.is_of(study):
                self._begin(study)
            self._last.set(study, trial.number)
            return self._listing.params(self._proposed(study, trial.number))

    def _begin(self, study: Study) -> None:
        """Forget everything: another study follows."""
        count = len(study.directions)
        if study.directions != [StudyDirection.MINIMIZE] * count or count < 2 or not 0 <= self._error < count:
            raise SpaceError(
                f"a study with known costs must minimise an error (objective {self._error}) and costs beside it, but "
                f"its directions are {', '.join(d.name.lower() for d in study.directions)}; create it with "
                "directions=['minimize', 'minimize']"
            )
        self._last = LastProposal()  # what follows may fail, when it has changed what served the last study
        names = [f"objective {i}" for i in range(count)]
        costs = [name for i, name in enumerate(names) if i != self._error]
        self._listing = ParameterListing(self._space, self._costs, costs)
        self._pool = self._listing.pool(POOL, self._rng)
        self._pool_made_at = 0
        priced = self._listing.candidates(self._pool)
        self._surrogate = Surrogate(
            self._listing,
            names,
            error=self._error,
            most={name: float(priced.costs[name].max()) for name in costs},
            worst_error=self._worst_error,
        )
        order = np.argsort(priced.costs[costs[0]], kind="stable")
        self._start = self._pool[order[np.linspace(0, len(order) - 1, min(STARTING, len(order))).astype(np.int64)]]

    def _proposed(self, study: Study, own: int) -> Rows:
        used: set[bytes] = set()
        seen: dict[str, tuple[Rows, Seen]] = {}
        running = []
        for trial in study.get_trials(deepcopy=False):
            row = self._listing.row_of(trial.params)
            if trial.number == own or row is None or not len(self._listing.feasible(row[None, :])):
                continue
            used.add(row.tobytes())
            if trial.state == TrialState.RUNNING:
                running.append(row)
            elif trial.state == TrialState.COMPLETE and all(map(math.isfinite, trial.values)):
                new = Seen(_curve(trial, self._error), tuple(trial.values), eligible=True, whole=True)
                before = seen.get(key := str(row.tolist()))
                seen[key] = row, (new if before is None else mean_of(before[1], new, before[1].trainings))
        for row in self._start:
            if row.tobytes() not in used:
                return np.asarray(row)
        found = self._best(used, seen, running) if len(seen) >= FEWEST else None
        return self._stranger(used) if found is None else found

    def _best(self, used: set[bytes], seen: Mapping[str, tuple[Rows, Seen]], running: list[Rows]) -> Rows | None:
        """The row of the largest expected gain."""
        self._surrogate.reach(self._listing.candidates(np.stack([*(row for row, _ in seen.values()), *running])))
        self._surrogate.learn(seen, running)
        if len(seen) > REFIT * self._pool_made_at:
            self._pool, self._pool_made_at = self._listing.pool(POOL, self._rng), len(seen)
        both = self._listing.candidates(np.concatenate([self._pool, self._listing.neighbours(self._surrogate.front)]))
        # Neighbours may lead further than the pool does.
        self._surrogate.reach(both)
        fresh = both.take(np.flatnonzero([row.tobytes() not in used for row in both.rows]))
        return np.asarray(fresh.rows[int(np.argmax(self._surrogate.gains(fresh)))]) if len(fresh) else None

    def _stranger(self, used: set[bytes]) -> Rows:
        """A feasible row at random that is not used; any where all are."""
        drawn = self._listing.pool(POOL, self._rng)
        drawn = drawn[self._rng.permutation(len(drawn))]
        return next((row for row in drawn if row.tobytes() not in used), drawn[0])


def _curve(trial: FrozenTrial, error: int) -> Floats:
    """The curve of a trial of which the final error alone is known, whatever its unit.

    Raises:
        SpaceError: the error has no logarithm.
    """
    found = trial.values[error]
    if not found > 0:
        raise SpaceError(
            f"errors must be above 0, since their logarithm is modelled, but trial {trial.number} has {found:g} as "
            f"objective {error}; take a measure that no training brings to 0 (the mean loss, for one), in a new study"
        )
    return np.full((1, 2), math.log(found))


def _values(name: str, distribution: BaseDistribution) -> list[Any]:
    """All values of a parameter, each once.

    Raises:
        SpaceError: there are too many, or Optuna does not tell them apart.
    """
    match distribution:
        case CategoricalDistribution(choices=choices):
            # Of choices that are equal, as 1 and True, a study holds the first.
            return [choice for i, choice in enumerate(choices) if distribution.to_internal_repr(choice) == i]
        case IntDistribution() if (distribution.high - distribution.low) // distribution.step < MOST_VALUES:
            return list(range(distribution.low, distribution.high + 1, distribution.step))
        case FloatDistribution(low=low) if distribution.single():
            return [low]  # Optuna asks no sampler then, also where its rounding has put the upper end below one step
        case FloatDistribution(low=low, high=high, step=float(step)) if (high - low) / step < MOST_VALUES - 0.5:
            # As Optuna has them: the last one would exceed the upper end by a rounding error.
            values = [min(low + i * step, high) for i in range(round((high - low) / step) + 1)]
            if any(abs((value - low) / step - i) >= SAME_STEP for i, value in enumerate(values)):
                raise SpaceError(
                    f"a step must be large enough for floats to tell its values apart, but {name!r} is {distribution}; "
                    "give a larger step, or a range nearer to 0"
                )
            return values
    raise SpaceError(
        f"a parameter must have at most {MOST_VALUES:,} values, but {name!r} is {distribution}; give a step, or choices"
    )


def _place(distribution: BaseDistribution, values: Sequence[Any], value: Any) -> int:
    """Place of a value among all values of a parameter, where Optuna takes it for one of them.

    Raises:
        ValueError: it is none of them.
    """
    found = distribution.to_internal_repr(value)
    if isinstance(distribution, CategoricalDistribution):
        place: int = values.index(distribution.choices[int(found)])
        return place
    if distribution.single() and found == values[0]:
        return 0
    if not isinstance(distribution, IntDistribution | FloatDistribution) or distribution.step is None:
        raise ValueError(f"{distribution} has no values that can be counted")
    steps = float((found - distribution.low) / distribution.step)
    if not -0.5 < steps < len(values) - 0.5 or abs(steps - round(steps)) >= SAME_STEP:
        raise ValueError(f"{value!r} is no value of {distribution}")
    return round(steps)


def _others(count: int, own: int) -> Rows:
    """Places of other values of a parameter: all where they are few, else those at distances 1, 2, 4, ..."""
    if count <= FEW_VALUES:
        return np.delete(np.arange(count), own)
    steps = 2 ** np.arange(count.bit_length())
    places = np.concatenate([own - steps, own + steps])
    return places[(places >= 0) & (places < count)]


def _features(values: Sequence[Any]) -> Floats:
    """Features of each value, from -1 to 1: numbers as one column, others as one column each but the first."""
    if all(isinstance(value, int | float) for value in values):
        numbers = np.array(values, dtype=float)
        if len(numbers) > 1 and numbers.min() > 0 and numbers.max() > 10 * numbers.min():
            numbers = np.log(numbers)
        spread = np.ptp(numbers)
        return (2 * (numbers - numbers.min()) / spread - 1)[:, None] if spread else np.zeros((len(values), 0))
    return 2 * np.eye(len(values))[:, 1:] - 1
