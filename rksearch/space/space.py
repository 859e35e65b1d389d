"""A search space: the exact set of architectures that choices and budgets allow, as an indexed sequence."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from rksearch import cost
from rksearch.errors import SpaceError, SpecError
from rksearch.space import proposals
from rksearch.space.definition import SpaceDefinition, read_definition
from rksearch.space.document import Entry
from rksearch.space.feasible import MAX_CANDIDATES, Extremes, Feasible, chunks, scan
from rksearch.space.grid import Grid, Integers
from rksearch.spec import ArchSpec, RKNet, parse


class Member(NamedTuple):
    """An architecture and what it costs."""

    name: str
    params: int
    macs: int


class Space:
    """The feasible canonical architectures of a definition, with indices 0 to `len(space) - 1`.

    Equivalent networks count once (sharing with one time-step is not sharing), and every member is within the
    budgets. The order is that of the choices: family, k, then per period m, s, r, share; the last varies fastest.

    Attributes:
        definition: what the file says (choices, budgets, recipe, baselines, seeds, ...).
        raw_size: combinations of choices as listed, equivalent ones included.
        canonical_size: different networks among them.
    """

    def __init__(self, definition: SpaceDefinition) -> None:
        self.definition = definition
        self.raw_size = definition.raw_size
        self.canonical_size = canonical_size(definition)
        self._grid = Grid(definition)
        self._feasible: Feasible = scan(self._grid, definition.params, definition.macs)

    @property
    def name(self) -> str:
        """Name of the space."""
        return self.definition.name

    @property
    def rejected(self) -> dict[str, int]:
        """Candidates that break each end of each budget: `too_few_params`, `too_many_params`, `..._macs`.

        One that breaks two budgets is counted at both, so the sum may exceed `canonical_size - len(space)`.
        """
        return dict(self._feasible.rejected)

    def __len__(self) -> int:
        return len(self._feasible)

    def __iter__(self) -> Iterator[RKNet]:
        return (self._grid.spec(int(position)) for position in self._feasible.positions)

    def __contains__(self, spec: object) -> bool:
        return isinstance(spec, ArchSpec) and self._rank(spec) is not None

    def at(self, index: int) -> RKNet:
        """The member with this index.

        Raises:
            SpaceError: the index is not in 0 to `len(space) - 1`.
        """
        if not 0 <= index < len(self):
            raise SpaceError(f"{self.name}: an index must be from 0 to {len(self) - 1:,}, but got {index}")
        return self._grid.spec(int(self._feasible.positions[index]))

    def index(self, spec: ArchSpec) -> int:
        """The index of a member; inverse of `at`.

        Raises:
            SpaceError: not a member; the message says whether choices or budgets exclude it.
        """
        rank = self._rank(spec)
        if rank is not None:
            return rank
        if self._grid.position(spec) is None:
            raise SpaceError(f"{self.name}: {spec} is not among the choices of this space")
        counts = cost.cost(spec, self.definition.dataset)
        raise SpaceError(
            f"{self.name}: {spec} is over or under budget: params {counts.params:,} must be {self.definition.params} "
            f"and MACs {counts.macs:,} must be {self.definition.macs}"
        )

    @cached_property
    def costs(self) -> tuple[Integers, Integers]:
        """Parameters and multiply-adds of all members, in the order of their indices."""
        positions = self._feasible.positions
        params, macs = np.empty(len(self), np.int64), np.empty(len(self), np.int64)
        for start, stop in chunks(len(self)):
            params[start:stop], macs[start:stop] = self._grid.costs(positions[start:stop])
        return params, macs

    @property
    def smallest(self) -> Member:
        """The member with the fewest parameters (of several, with the fewest MACs)."""
        return self._member(self._feasible.members.fewest_params)

    @property
    def largest(self) -> Member:
        """The member with the most parameters (of several, with the most MACs)."""
        return self._member(self._feasible.members.most_params)

    @property
    def fewest_macs(self) -> Member:
        """The member with the fewest multiply-adds (of several, with the fewest parameters)."""
        return self._member(self._feasible.members.fewest_macs)

    @property
    def most_macs(self) -> Member:
        """The member with the most multiply-adds (of several, with the most parameters)."""
        return self._member(self._feasible.members.most_macs)

    def sample(self, n: int, seed: int) -> list[RKNet]:
        """n different members, every set of n equally likely; the same ones for the same seed.

        Raises:
            SpaceError: n is negative, or more than the space has.
        """
        self._check_sample(n)
        return [self.at(i) for i in random.Random(seed).sample(range(len(self)), n)]

    def sample_stratified(self, n: int, rng: random.Random) -> list[RKNet]:
        """n different members spread evenly over log(params), in random order.

        The range of log(params) is cut into n strata of equal width. Every stratum gives one member, uniformly chosen;
        what empty strata leave over is taken from the others in further rounds.

        Raises:
            SpaceError: n is negative, or more than the space has.
        """
        self._check_sample(n)
        strata = self._strata(n) if n else []
        takes = [0] * len(strata)
        left = n
        while left:
            open_strata = [i for i, stratum in enumerate(strata) if takes[i] < len(stratum)]
            # Where a round cannot serve all strata, chance decides: no size band is preferred.
            served = rng.sample(open_strata, min(left, len(open_strata)))
            for i in served:
                takes[i] += 1
            left -= len(served)
        chosen = [
            int(stratum[i])
            for stratum, take in zip(strata, takes, strict=True)
            for i in rng.sample(range(len(stratum)), take)
        ]
        rng.shuffle(chosen)
        return [self.at(i) for i in chosen]

    def dimensions(self) -> dict[str, tuple[Any, ...]]:
        """Every decision with its possible values: `family`, `k`, and per period `m1`, `s1`, `r1`, `share1`, ..."""
        return proposals.dimensions(self.definition)

    def choices(self, spec: ArchSpec) -> dict[str, Any]:
        """The decisions that make `spec`, one per dimension; `from_choices` is the inverse.

        Raises:
            SpaceError: the choices do not spell `spec` (being over budget is no obstacle).
        """
        if not isinstance(spec, RKNet) or self._grid.position(spec) is None:
            raise SpaceError(f"{self.name}: {spec} is not among the choices of this space")
        return proposals.to_choices(self.definition, spec)

    def from_choices(self, decisions: Mapping[str, Any]) -> RKNet:
        """The canonical network that the decisions make, whether or not it is within budget.

        Raises:
            SpaceError: a decision is missing or unknown, or its value is not one of the choices.
        """
        return proposals.from_choices(self.definition, decisions)

    def nearest(self, proposal: ArchSpec | Mapping[str, Any], exclude: Iterable[str] = ()) -> RKNet | None:
        """The member nearest to a proposal whose name is not excluded; None when all are excluded.

        The distance is the number of steps on the ascending lists of choices, summed over the decisions; ties go to
        the nearest in parameters, then to the lower index.

        Raises:
            SpaceError: the proposal is no RKNet, has another number of periods, or is no valid set of decisions.
        """
        spec = proposal if isinstance(proposal, ArchSpec) else self.from_choices(proposal)
        if not isinstance(spec, RKNet):
            raise SpaceError(f"{self.name}: only an RKNet can be proposed, but got {spec}")
        excluded = [p for p in map(self._position_of_name, exclude) if p is not None]
        position = proposals.nearest_feasible(self.definition, self._grid, self._feasible, spec, excluded)
        return None if position is None else self._grid.spec(position)

    def to_json(self) -> dict[str, Any]:
        """What the space is and holds, as plain values for JSON."""
        definition = self.definition
        return {
            "name": definition.name,
            "description": definition.description,
            "dataset": definition.dataset.name,
            "families": list(definition.families),
            "growth_rate": list(definition.growth_rates),
            "periods": [
                {"m": list(p.m), "s": list(p.s), "r": list(p.r), "share": list(p.share)} for p in definition.periods
            ],
            "budgets": {
                "params": [definition.params.low, definition.params.high],
                "macs": [definition.macs.low, definition.macs.high],
            },
            "raw_size": self.raw_size,
            "canonical_size": self.canonical_size,
            "feasible": len(self),
            "rejected": self.rejected,
            "smallest": self.smallest._asdict(),
            "largest": self.largest._asdict(),
            "fewest_macs": self.fewest_macs._asdict(),
            "most_macs": self.most_macs._asdict(),
            "baselines": [str(spec) for spec in definition.baselines],
            "known": [str(spec) for spec in definition.known],
            "recipe": definition.recipe.to_json(),
            "train_images": definition.train_images,
            "trials": definition.trials,
            "seeds": {"search": definition.search_seeds, "final": definition.final_seeds},
            "sha256": definition.sha256,
            "yaml": definition.yaml,
        }

    def _rank(self, spec: ArchSpec) -> int | None:
        position = self._grid.position(spec)
        return None if position is None else self._feasible.rank(position)

    def _position_of_name(self, name: str) -> int | None:
        try:
            return self._grid.position(parse(name))
        except SpecError:
            # A name that is no architecture's excludes no architecture.
            return None

    def _member(self, position: int) -> Member:
        params, macs = self._grid.costs(np.array([position], dtype=np.int32))
        return Member(str(self._grid.spec(position)), int(params[0]), int(macs[0]))

    def _candidate_range(self) -> str:
        """In words, between which sizes the choices lie, whatever the budgets."""
        ends: Extremes = self._feasible.candidates
        small, large, light, heavy = (
            self._member(p) for p in (ends.fewest_params, ends.most_params, ends.fewest_macs, ends.most_macs)
        )
        return (
            f"the choices go from {small.params:,} params ({small.name}) to {large.params:,} ({large.name}) "
            f"and from {light.macs:,} MACs ({light.name}) to {heavy.macs:,} ({heavy.name})"
        )

    def _check_sample(self, n: int) -> None:
        if not 0 <= n <= len(self):
            raise SpaceError(f"{self.name}: a sample can have 0 to {len(self):,} architectures, but got {n}")

    @cached_property
    def _by_params(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Indices in the order of parameters, and log(params) in that order."""
        params = self.costs[0]
        order = np.argsort(params, kind="stable")
        return order, np.log(params[order])

    def _strata(self, count: int) -> list[npt.NDArray[np.int64]]:
        """Indices of the members in each of `count` strata of equal width in log(params)."""
        order, logs = self._by_params
        edges = np.linspace(logs[0], logs[-1], count + 1)[1:-1]
        return np.split(order, np.searchsorted(logs, edges, side="right"))


def canonical_size(definition: SpaceDefinition) -> int:
    """Different networks among the combinations of choices."""
    size = len(definition.families) * len(definition.growth_rates)
    for period in definition.periods:
        size *= len(period.m) * len(period.methods())
    return size


def parse_space(text: str, *, name: str, file: str | None = None) -> Space:
    """The space that the YAML `text` describes; errors call its source `file` (by default `<name>.yaml`).

    Raises:
        SpaceError: a rule of the file format is broken, nothing is feasible, or the space is too large.
    """
    definition, entries = read_definition(text, name=name, file=file or f"{name}.yaml")
    candidates = canonical_size(definition)
    if candidates > MAX_CANDIDATES:
        raise entries["periods"].complaint(
            f"a space may have at most {MAX_CANDIDATES:,} different candidates, but these choices give {candidates:,}",
            "list fewer values",
        )
    space = Space(definition)
    if not len(space):
        raise _empty(space, entries)
    if "trials" not in entries:
        space.definition = replace(definition, trials=min(definition.trials, len(space)))
    elif definition.trials > len(space):
        raise entries["trials"].error(
            f"trials must be at most {len(space):,}, the number of feasible candidates", "lower it or widen the space"
        )
    return space


def _empty(space: Space, entries: Mapping[str, Entry]) -> SpaceError:
    definition = space.definition
    rejected = space.rejected
    alone = {
        "params": rejected["too_few_params"] + rejected["too_many_params"],
        "macs": rejected["too_few_macs"] + rejected["too_many_macs"],
    }
    impossible = [key for key, count in alone.items() if count == space.canonical_size]
    culprit = (
        f"the budget on {' and the one on '.join(impossible)} alone excludes" if impossible else "together they exclude"
    )
    return entries["budgets"].complaint(
        f"no candidate has {definition.params} params and {definition.macs} MACs: {culprit} "
        f"all {space.canonical_size:,} candidates; {space._candidate_range()}",
        "widen the budgets or the choices",
    )
