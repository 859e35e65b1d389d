"""What the accounting of spaces needs to know of a family: the costs of its parts, and how its members are made.

A network of any family costs a sum of parts, each of which belongs to one period or to two neighbours. A family that
states these parts as below is counted, sampled and searched like the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from rksearch import cost
from rksearch.datasets import Dataset
from rksearch.space.dominance import Integers, Triples
from rksearch.spec import ArchSpec, Period, RKNet

STEM_AND_LINEAR = 2
"""Layers with weights before the first period and after the last."""


class Family(Protocol):
    """A family of networks whose periods have m, s, r and share, and whose costs are sums of parts."""

    @property
    def name(self) -> str:
        """As space files have it."""

    def prefix(self, k: int) -> str:
        """What all names with growth rate k begin with; the growth multiples and the methods follow."""

    def periods(self, data: Dataset, k: int, options: tuple[Period, ...], index: int, last: bool) -> Triples:
        """Costs of each option of period `index`; stem and head belong to the first and the last period."""

    def link(self, data: Dataset, k: int, m_in: Integers, m_out: Integers, index: int) -> Triples:
        """Costs of the transition from period `index` to the next one, for many pairs of growth multiples."""

    def layers_deep(self, layers: int, periods: int) -> int:
        """Depth of a network with so many 3x3 layers in its periods."""

    def make(self, k: int, periods: tuple[Period, ...]) -> ArchSpec:
        """The architecture."""

    def read(self, spec: ArchSpec) -> tuple[int, tuple[Period, ...]] | None:
        """Growth rate and periods of a member of the family, None for any other architecture."""


@dataclass(frozen=True, slots=True)
class DenseFamily:
    """RKNets of dense layers, with bottlenecks or without (paper, section 3.1)."""

    name: str
    bottleneck: bool

    def prefix(self, k: int) -> str:
        """For example `RKNet-BC-k12-m`."""
        return f"RKNet{'-BC' if self.bottleneck else ''}-k{k}-m"

    def periods(self, data: Dataset, k: int, options: tuple[Period, ...], index: int, last: bool) -> Triples:
        """Costs of each option, by the closed forms of `rksearch.cost`."""
        m, s, r, share = (np.array([getattr(o, f) for o in options], np.int64) for f in ("m", "s", "r", "share"))
        area = cost.areas(data, index + 1)[-1]
        part = cost.period_cost(self.bottleneck, k, m, s, r, share, area)
        depth = m * s * r * (1 + self.bottleneck)
        if index == 0:
            part = part.plus(cost.stem_cost(data, k, m))
            depth = depth + STEM_AND_LINEAR
        if last:
            part = part.plus(cost.head_cost(data, k, m))
        return Triples(*(_column(count, len(options)) for count in (part.params, part.macs, depth)))

    def link(self, data: Dataset, k: int, m_in: Integers, m_out: Integers, index: int) -> Triples:
        """Costs of BN-conv1x1, one layer deep."""
        part = cost.transition_cost(k, m_in, m_out, cost.areas(data, index + 1)[-1])
        return Triples(*(_column(count, len(m_in)) for count in (part.params, part.macs, 1)))

    def layers_deep(self, layers: int, periods: int) -> int:
        """Stem, a convolution per layer (two with bottlenecks), a convolution per transition, linear layer."""
        return STEM_AND_LINEAR + layers * (1 + self.bottleneck) + periods - 1

    def make(self, k: int, periods: tuple[Period, ...]) -> ArchSpec:
        """The RKNet."""
        return RKNet(growth_rate=k, periods=periods, bottleneck=self.bottleneck)

    def read(self, spec: ArchSpec) -> tuple[int, tuple[Period, ...]] | None:
        """Growth rate and periods of an RKNet of this kind."""
        if not isinstance(spec, RKNet) or spec.family != self.name:
            return None
        return spec.growth_rate, spec.periods


def family(name: str) -> Family:
    """The family of that name; `FAMILIES` has them all."""
    return _FAMILIES[name]


_FAMILIES: dict[str, Family] = {f.name: f for f in (DenseFamily("dense", False), DenseFamily("dense_bc", True))}

FAMILIES = tuple(_FAMILIES)
"""The families that a space can mix, in the order of the choices."""


def _column(count: object, length: int) -> npt.NDArray[np.int64]:
    return np.broadcast_to(np.asarray(count, dtype=np.int64), (length,))
