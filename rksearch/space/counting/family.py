"""What the accounting of spaces needs to know of a family: the costs of its parts, and how its members are made.

A network of any family costs a sum of parts, each of which belongs to one period or to two neighbours. A family that
states these parts as below is counted, sampled and searched like the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from rksearch.arch import ArchSpec, Period, ResidualRKNet, RKNet, Steps, cost
from rksearch.data.facts import Dataset
from rksearch.space.counting.dominance import Integers, Triples
from rksearch.space.definition import PeriodChoices

STEM_AND_LINEAR = 2
"""Layers with weights before the first period and after the last."""

NO_GROWTH = 0
"""Growth rate and growth multiple of a family that has none."""


class Family(Protocol):
    """A family of networks whose periods have m (or not), s, r and share, and whose costs are sums of parts."""

    @property
    def name(self) -> str:
        """As space files have it."""

    @property
    def grows(self) -> bool:
        """Whether networks have a growth rate k and their periods growth multiples m."""

    def prefix(self, k: int) -> str:
        """What all names with growth rate k begin with; the growth multiples and the methods follow."""

    def options(self, choices: PeriodChoices) -> tuple[Steps, ...]:
        """The different periods that choices allow."""

    def period(self, m: int, steps: Steps) -> Steps:
        """A period of this family, integrated by `steps`."""

    def periods(self, data: Dataset, k: int, options: Sequence[Steps], index: int, last: bool) -> Triples:
        """Costs of each option of period `index`; stem and head belong to the first and the last period."""

    def link(self, data: Dataset, k: int, m_in: Integers, m_out: Integers, index: int) -> Triples:
        """Costs of the transition from period `index` to the next one, for many pairs of growth multiples."""

    def layers_deep(self, layers: int, periods: int) -> int:
        """Depth of a network with so many 3x3 layers in its periods."""

    def make(self, k: int, periods: tuple[Steps, ...]) -> ArchSpec:
        """The architecture."""

    def read(self, spec: ArchSpec) -> tuple[int, tuple[Steps, ...]] | None:
        """Growth rate and periods of a member of the family, None for any other architecture."""


@dataclass(frozen=True, slots=True)
class DenseFamily:
    """RKNets of dense layers, with bottlenecks or without (paper, section 3.1)."""

    name: str
    bottleneck: bool
    grows: bool = True

    def prefix(self, k: int) -> str:
        """For example `RKNet-BC-k12-m`."""
        return f"RKNet{'-BC' if self.bottleneck else ''}-k{k}-m"

    def options(self, choices: PeriodChoices) -> tuple[Steps, ...]:
        """Every m with every method, m varying slowest."""
        return tuple(self.period(m, steps) for m in choices.m for steps in choices.decisions)

    def period(self, m: int, steps: Steps) -> Period:
        """With a state of m growths."""
        return Period(m=m, s=steps.s, r=steps.r, share=steps.share, solver=steps.solver)

    def periods(self, data: Dataset, k: int, options: Sequence[Steps], index: int, last: bool) -> Triples:
        """Costs of each option, by the closed forms of `rksearch.arch.cost`."""
        m, work = multiples(options), _Work(options)
        area = cost.areas(data, index + 1)[-1]
        part = work.choose(
            cost.period_cost(self.bottleneck, k, m, work.s, work.r, work.share, area),
            cost.solver_cost(self.bottleneck, k, m, work.evaluated, work.owned, work.numbers, area),
        )
        depth = m * work.evaluated * (1 + self.bottleneck)
        if index == 0:
            part = part.plus(cost.stem_cost(data, k, m))
            depth = depth + STEM_AND_LINEAR
        if last:
            part = part.plus(cost.head_cost(data, k, m))
        return _triples(part, depth, len(options))

    def link(self, data: Dataset, k: int, m_in: Integers, m_out: Integers, index: int) -> Triples:
        """Costs of BN-conv1x1, one layer deep."""
        return _triples(cost.transition_cost(k, m_in, m_out, cost.areas(data, index + 1)[-1]), 1, len(m_in))

    def layers_deep(self, layers: int, periods: int) -> int:
        """Stem, a convolution per layer (two with bottlenecks), a convolution per transition, linear layer."""
        return STEM_AND_LINEAR + layers * (1 + self.bottleneck) + periods - 1

    def make(self, k: int, periods: tuple[Steps, ...]) -> ArchSpec:
        """The RKNet."""
        grown = tuple(p for p in periods if isinstance(p, Period))
        assert len(grown) == len(periods)
        return RKNet(growth_rate=k, periods=grown, bottleneck=self.bottleneck)

    def read(self, spec: ArchSpec) -> tuple[int, tuple[Steps, ...]] | None:
        """Growth rate and periods of an RKNet of this kind."""
        if not isinstance(spec, RKNet) or spec.family != self.name:
            return None
        return spec.growth_rate, spec.periods


@dataclass(frozen=True, slots=True)
class ResidualFamily:
    """RKNets of residual blocks (paper, section 3.2): 16, 32, 64, ... channels, neither k nor m."""

    name: str = "residual"
    grows: bool = False

    def prefix(self, k: int) -> str:
        """The same for all."""
        return "RKNet-Res-"

    def options(self, choices: PeriodChoices) -> tuple[Steps, ...]:
        """Every method."""
        return tuple(choices.decisions)

    def period(self, m: int, steps: Steps) -> Steps:
        """The steps are all that there is."""
        return steps

    def periods(self, data: Dataset, k: int, options: Sequence[Steps], index: int, last: bool) -> Triples:
        """Costs of each option, by the closed forms of `rksearch.arch.cost`."""
        work, width = _Work(options), ResidualRKNet.FIRST_WIDTH << index
        area = cost.residual_areas(data, index + 1)[-1]
        part = work.choose(
            cost.residual_period_cost(width, work.s, work.r, work.share, area),
            cost.residual_solver_cost(width, work.evaluated, work.owned, work.numbers, area),
        )
        depth = 2 * work.evaluated
        if index == 0:
            part = part.plus(cost.residual_stem_cost(data, width))
            depth = depth + STEM_AND_LINEAR
        if last:
            part = part.plus(cost.residual_head_cost(data, width))
        return _triples(part, depth, len(options))

    def link(self, data: Dataset, k: int, m_in: Integers, m_out: Integers, index: int) -> Triples:
        """Costs of the downsampling block, two layers deep."""
        width, area = ResidualRKNet.FIRST_WIDTH << (index + 1), cost.residual_areas(data, index + 2)[-1]
        return _triples(cost.residual_transition_cost(width, area), 2, len(m_in))

    def layers_deep(self, layers: int, periods: int) -> int:
        """Stem, the convolutions of the blocks, two convolutions per transition, linear layer."""
        return STEM_AND_LINEAR + layers + 2 * (periods - 1)

    def make(self, k: int, periods: tuple[Steps, ...]) -> ArchSpec:
        """The residual RKNet."""
        return ResidualRKNet(periods=periods)

    def read(self, spec: ArchSpec) -> tuple[int, tuple[Steps, ...]] | None:
        """No growth rate, and the periods."""
        return (NO_GROWTH, spec.periods) if isinstance(spec, ResidualRKNet) else None


class _Work:
    """What options compute, as arrays over them."""

    def __init__(self, options: Sequence[Steps]) -> None:
        self.learned = np.array([o.solver is None for o in options])
        self.s, self.r, self.share = (np.array([getattr(o, f) for o in options], np.int64) for f in ("s", "r", "share"))
        self.evaluated = np.array([o.evaluations * o.r for o in options], np.int64)
        stages = np.array([1 if o.solver is not None and o.solver.tie else o.s for o in options], np.int64)
        self.owned = stages * np.where(self.share, 1, self.r)
        self.numbers = np.array([o.solver.learned_numbers if o.solver else 0 for o in options], np.int64)

    def choose(self, learned: cost.Part, solved: cost.Part) -> cost.Part:
        """Each option's costs, by how it is integrated."""
        return cost.Part(*(np.where(self.learned, a, b) for a, b in zip(learned, solved, strict=True)))


def multiples(options: Sequence[Steps]) -> Integers:
    """Growth multiples of periods, `NO_GROWTH` for those that have none."""
    return np.array([o.m if isinstance(o, Period) else NO_GROWTH for o in options], np.int64)


def family(name: str) -> Family:
    """The family of that name; `FAMILIES` has them all."""
    return _FAMILIES[name]


_FAMILIES: dict[str, Family] = {
    f.name: f for f in (DenseFamily("dense", False), DenseFamily("dense_bc", True), ResidualFamily())
}

FAMILIES = tuple(_FAMILIES)
"""The families that a space can mix, in the order of the choices."""


def _triples(part: cost.Part, depth: object, length: int) -> Triples:
    return Triples(*(_column(count, length) for count in (part.params, part.macs, depth)))


def _column(count: object, length: int) -> npt.NDArray[np.int64]:
    return np.broadcast_to(np.asarray(count, dtype=np.int64), (length,))
