"""A search space: the exact set of architectures that choices and budgets allow, as an indexed sequence."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from rksearch.arch import ArchSpec, canonical, cost, parse
from rksearch.arch.arrays import Integers
from rksearch.arch.layout import layout
from rksearch.errors import SpaceError
from rksearch.space.counting import Member, Priced, members_of
from rksearch.space.definition import SpaceDefinition
from rksearch.space.summary import (
    BudgetSummary,
    Histogram,
    MemberSummary,
    PeriodSummary,
    SeedSummary,
    SpaceSummary,
)


class Space:
    """The feasible canonical architectures of a definition, with indices 0 to `len(space) - 1`.

    Equivalent networks count once (see `rksearch.arch.equivalence`), and every member obeys the constraints
    and is within the budgets. Indices are fixed by the definition and have no other meaning; iterating goes by name.

    Attributes:
        definition: contents of the file (choices, budgets, recipe, baselines, seeds, ...).
        raw_size: number of combinations of choices as listed, equivalent and forbidden ones included.
        canonical_size: number of different networks among them that obey the constraints.

    Raises:
        SpaceError: the space is too large to be counted.
    """

    def __init__(self, definition: SpaceDefinition) -> None:
        self.definition = definition
        self.raw_size = definition.raw_size
        self._members = members_of(definition)
        self.canonical_size = self._members.canonical_size

    @property
    def name(self) -> str:
        """Name of the space."""
        return self.definition.name

    @property
    def rejected(self) -> dict[str, int]:
        """Numbers of candidates beyond each end of each budget: `too_few_params`, ..., `too_deep`.

        A candidate that breaks two budgets is counted at both, so the sum may exceed `canonical_size - len(space)`.
        """
        return dict(self._members.rejected)

    @property
    def histogram(self) -> tuple[list[int], list[int]]:
        """Edges e0 < e1 < ... in params, tenths of decades, and the numbers of members in (e0, e1], (e1, e2], ...

        Exact for every member. The first and the last window end where the members do.
        """
        return self._members.bins

    def __len__(self) -> int:
        return self._members.total

    def __iter__(self) -> Iterator[ArchSpec]:
        return (parse(priced.name) for priced in self._members.by_name())

    def by_name(self) -> Iterator[Priced]:
        """Names, params, macs and depth of all members in the order of their names (as text), in constant memory."""
        return self._members.by_name()

    def costs(self) -> Iterator[Integers]:
        """Params, macs and depth of all members, in chunks: arrays (3, n), in constant memory."""
        return self._members.costs()

    def __contains__(self, spec: object) -> bool:
        return isinstance(spec, ArchSpec) and self._members.contains(spec)

    def at(self, index: int) -> ArchSpec:
        """The member with this index.

        Raises:
            SpaceError: the index is not in 0 to `len(space) - 1`.
        """
        if not 0 <= index < len(self):
            raise SpaceError(f"{self.name}: an index must be from 0 to {len(self) - 1:,}, but got {index}")
        return self._members.at(index)

    def index(self, spec: ArchSpec) -> int:
        """The index of a member; inverse of `at`.

        Raises:
            SpaceError: not a member; the message says whether choices or budgets exclude it.
        """
        index = self._members.index(spec)
        if index is not None:
            return index
        self._check_choice(spec)
        net = layout(spec, self.definition.dataset)
        counts = cost.layout_cost(net)
        raise SpaceError(
            f"{self.name}: {spec} is over or under budget: params {counts.params:,} must be {self.definition.params}, "
            f"MACs {counts.macs:,} must be {self.definition.macs} and depth {cost.depth_of(net.rows)} must be "
            f"{self.definition.depth}"
        )

    @property
    def smallest(self) -> Member:
        """The member with the fewest parameters (of several, with the fewest MACs)."""
        return self._members.extreme("fewest_params")

    @property
    def largest(self) -> Member:
        """The member with the most parameters (of several, with the most MACs)."""
        return self._members.extreme("most_params")

    @property
    def fewest_macs(self) -> Member:
        """The member with the fewest multiply-adds (of several, with the fewest parameters)."""
        return self._members.extreme("fewest_macs")

    @property
    def most_macs(self) -> Member:
        """The member with the most multiply-adds (of several, with the most parameters)."""
        return self._members.extreme("most_macs")

    def sample(self, n: int, seed: int) -> list[ArchSpec]:
        """n different members, every set of n equally likely; the same members for the same seed.

        Raises:
            SpaceError: n is negative, or more than the space has.
        """
        self._check_sample(n)
        chosen = random.Random(seed).sample(range(len(self)), n)
        # Neighbouring indices share work, so they are looked up in order.
        found = {i: self.at(i) for i in sorted(chosen)}
        return [found[i] for i in chosen]

    def sample_stratified(self, n: int, rng: random.Random) -> list[ArchSpec]:
        """n different members spread evenly over log(params), in random order.

        The range of log(params) is cut into n strata of equal width. Every stratum gives one member, uniformly chosen;
        the places of empty strata go to the others in further rounds.

        Raises:
            SpaceError: n is negative, or more than the space has.
        """
        self._check_sample(n)
        if not n:
            return []
        low, high = self.smallest.params, self.largest.params
        inner = np.floor(np.exp(np.linspace(np.log(low), np.log(high), n + 1)[1:-1])).astype(np.int64)
        strata = self._members.windows(np.array([low - 1, *np.clip(inner, low - 1, high), high], dtype=np.int64))
        takes = [0] * n
        left = n
        while left:
            open_strata = [i for i, size in enumerate(strata.histogram) if takes[i] < size]
            # When a round cannot serve all strata, those served are drawn at random: no size band is preferred.
            served = rng.sample(open_strata, min(left, len(open_strata)))
            for i in served:
                takes[i] += 1
            left -= len(served)
        chosen = [
            strata.spec_in_window(i, rank)
            for i, take in enumerate(takes)
            for rank in rng.sample(range(strata.histogram[i]), take)
        ]
        rng.shuffle(chosen)
        return chosen

    def dimensions(self) -> dict[str, tuple[Any, ...]]:
        """Every decision with its possible values: `family`, `k`, and per period `m1`, `s1`, `r1`, `share1`, ..."""
        return self._members.dimensions()

    def choices(self, spec: ArchSpec) -> dict[str, Any]:
        """The decisions that make `spec`, one per dimension; `from_choices` is the inverse.

        Raises:
            SpaceError: the choices do not spell `spec` (being over budget is no obstacle).
        """
        self._check_choice(spec)
        return self._members.choices(spec)

    def from_choices(self, decisions: Mapping[str, Any]) -> ArchSpec:
        """The canonical network that the decisions make, whether or not it is within budget.

        Raises:
            SpaceError: a decision is missing or unknown, or its value is not one of the choices.
        """
        return self._members.from_choices(decisions)

    def neighbours(self, spec: ArchSpec) -> list[ArchSpec]:
        """The members that one changed decision makes of `spec`, in the order of the decisions.

        Raises:
            SpaceError: the choices do not spell `spec` (being over budget is no obstacle).
        """
        self._check_choice(spec)
        return [other for other in self._members.neighbours(spec) if other in self]

    def nearest(self, proposal: ArchSpec | Mapping[str, Any], exclude: Iterable[str] = ()) -> ArchSpec | None:
        """The member nearest to a proposal whose name is not excluded; None when all are excluded.

        The distance is the number of steps on the ascending lists of choices, summed over the decisions; ties go to
        the nearest in parameters, then to the first name.

        Raises:
            SpaceError: the proposal is no RKNet, has another number of periods, or is no valid set of decisions.
        """
        spec = proposal if isinstance(proposal, ArchSpec) else self.from_choices(proposal)
        return self._members.nearest(spec, frozenset(exclude))

    def summary(self) -> SpaceSummary:
        """Facts about the space as a record."""
        definition = self.definition
        edges, counts = self.histogram
        return SpaceSummary(
            name=definition.name,
            description=definition.description,
            dataset=definition.dataset.name,
            families=definition.families,
            growth_rate=definition.growth_rates,
            periods=tuple(
                PeriodSummary(m=own.m, s=own.s, r=own.r, share=own.share, method=own.method)
                for own in definition.periods
            ),
            constraints=tuple(constraint.text for constraint in definition.constraints),
            architectures=tuple(map(str, definition.architectures)),
            budgets=BudgetSummary(
                params=(definition.params.low, definition.params.high),
                macs=(definition.macs.low, definition.macs.high),
                depth=(definition.depth.low, definition.depth.high),
            ),
            raw_size=self.raw_size,
            canonical_size=self.canonical_size,
            feasible=len(self),
            rejected=self.rejected,
            histogram=Histogram(params_edges=tuple(edges), counts=tuple(counts)),
            smallest=MemberSummary(**self.smallest._asdict()),
            largest=MemberSummary(**self.largest._asdict()),
            fewest_macs=MemberSummary(**self.fewest_macs._asdict()),
            most_macs=MemberSummary(**self.most_macs._asdict()),
            baselines=tuple(map(str, definition.baselines)),
            known=tuple(map(str, definition.known)),
            recipe=definition.recipe,
            train_images=definition.train_images,
            trials=definition.trials,
            seeds=SeedSummary(search=definition.search_seeds, final=definition.final_seeds),
            sha256=definition.sha256,
            yaml=definition.yaml,
        )

    def candidate_range(self) -> str:
        """Smallest and largest sizes of the choices in words, whatever the budgets."""
        low, high = (end.tolist() for end in self._members.candidate_range())
        return (
            f"the choices go from {low[0]:,} to {high[0]:,} params, from {low[1]:,} to {high[1]:,} MACs and from "
            f"{low[2]:,} to {high[2]:,} layers of depth"
        )

    def _check_choice(self, spec: ArchSpec) -> None:
        if not self._members.is_choice(spec):
            usual = canonical(spec)
            if usual != spec and self._members.is_choice(usual):
                raise SpaceError(f"{self.name}: {spec} is the same network as {usual}; write {usual}")
            raise SpaceError(f"{self.name}: {spec} is not among the choices of this space")

    def _check_sample(self, n: int) -> None:
        if not 0 <= n <= len(self):
            raise SpaceError(f"{self.name}: a sample can have 0 to {len(self):,} architectures, but got {n}")
