"""Costs of Runge-Kutta networks in closed form: polynomials over whole numbers or numpy arrays of them.

A network costs the sum of its parts: `stem_cost`, `period_cost` or `solver_cost`, `transition_cost` and `head_cost`,
and the same for the residual family. A table per part therefore prices every combination of a search space. The
definition of each count is in `rksearch.arch.cost`, whose sums over rows these forms equal.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple, cast

import numpy as np

from rksearch.arch.arrays import Integers
from rksearch.arch.image import ImageShape
from rksearch.arch.layers import BOTTLENECK
from rksearch.arch.period import Period, Steps
from rksearch.arch.rows import image_size, is_large

Count = int | Integers
"""A whole number, or an array of them: the closed forms broadcast over either."""

STEM_AND_LINEAR = 2
"""Layers with weights before the first period and after the last."""


class Part(NamedTuple):
    """Counts of one part of a network, as numbers or as arrays over many networks."""

    params: Count
    params_paper: Count
    macs: Count

    def plus(self, other: Part) -> Part:
        """Element-wise sum, broadcast."""
        return Part(*(cast(Count, a + b) for a, b in zip(self, other, strict=True)))


def areas(shape: ImageShape, periods: int) -> list[int]:
    """Pixels of a feature map in each period: every transition halves height and width, rounding down."""
    first = image_size(shape)
    if is_large(shape):
        first = first.halved_up().halved_up()
    return [(first.height >> i) * (first.width >> i) for i in range(periods)]


def stem_cost(shape: ImageShape, k: Count, m: Count) -> Part:
    """conv3x3 from the image to the m * k channels of the first state; conv7x7/2 and a norm for large images."""
    if is_large(shape):
        weights = 49 * shape.channels * m * k
        return Part(weights + 2 * m * k, weights, weights * image_size(shape).halved_up().area)
    weights = 9 * shape.channels * m * k
    return Part(weights, weights, weights * image_size(shape).area)


def period_cost(bottleneck: bool, k: Count, m: Count, s: Count, r: Count, share: Count, area: int) -> Part:
    """All r time-steps of a period at `area` pixels; `share` is 0 or 1.

    A time-step has n = s * m layers, and layer j reads (m + j) * k channels, in total k * (n * m + n * (n - 1) / 2).
    """
    n = s * m
    inputs = k * (n * m + n * (n - 1) // 2)
    if bottleneck:
        weights = inputs * (BOTTLENECK * k) + n * (BOTTLENECK * k) * k * 9
        norm_channels = inputs + n * BOTTLENECK * k
    else:
        weights = inputs * k * 9
        norm_channels = inputs
    copies = r - share * (r - 1)
    params, params_paper, macs = weights * copies + 2 * norm_channels * r, weights * copies, weights * r * area
    return Part(cast(Count, params), params_paper, cast(Count, macs))


def solver_cost(
    bottleneck: bool, k: Count, m: Count, evaluated: Count, owned: Count, numbers: Count, area: int
) -> Part:
    """A period whose method has coefficients of its own.

    Args:
        bottleneck, k, m: of the stages, which have m layers each.
        evaluated: evaluations of a stage in all time-steps.
        owned: stages with convolutions of their own among these.
        numbers: count of the method's numbers that learn.
        area: pixels of a feature map.
    """
    one = period_cost(bottleneck, k, m, 1, 1, 0, area)
    weights, norms = one.params_paper, one.params - one.params_paper
    params = weights * owned + norms * evaluated + numbers
    return Part(cast(Count, params), cast(Count, weights * owned), cast(Count, one.macs * evaluated))


def transition_cost(k: Count, m_in: Count, m_out: Count, area: int) -> Part:
    """BN, conv1x1 from m_in * k to m_out * k channels at the `area` before pooling."""
    weights = m_in * k * m_out * k
    return Part(weights + 2 * m_in * k, weights, weights * area)


def head_cost(shape: ImageShape, k: Count, m: Count) -> Part:
    """BN, global average pooling, linear with bias."""
    weights = m * k * shape.classes
    return Part(weights + shape.classes + 2 * m * k, weights + shape.classes, weights)


def residual_areas(shape: ImageShape, periods: int) -> list[int]:
    """Pixels in each period of a residual network: every transition halves height and width, rounding up."""
    size = image_size(shape)
    if is_large(shape):
        size = size.halved_up().halved_up()
    found = []
    for _ in range(periods):
        found.append(size.area)
        size = size.halved_up()
    return found


def residual_stem_cost(shape: ImageShape, width: int) -> Part:
    """Cost of a convolution as in `stem_cost`, and always of a norm."""
    stem = stem_cost(shape, width, 1)
    return stem if is_large(shape) else stem.plus(Part(2 * width, 0, 0))


def residual_period_cost(width: int, s: Count, r: Count, share: Count, area: int) -> Part:
    """All r time-steps of a learned method of s blocks; block i reads i * width channels."""
    weights = 9 * width * width * (s * (s + 1) // 2 + s)
    owned = weights * (r - share * (r - 1))
    return Part(owned + 4 * width * s * r, owned, cast(Count, weights * r * area))


def residual_solver_cost(width: int, evaluated: Count, owned: Count, numbers: Count, area: int) -> Part:
    """Cost of a period as in `solver_cost`, of blocks of two convolutions."""
    weights = 2 * 9 * width * width
    params = weights * owned + 4 * width * evaluated + numbers
    return Part(cast(Count, params), weights * owned, weights * evaluated * area)


def residual_transition_cost(width: int, area: int) -> Part:
    """The block that doubles the channels to `width`, at the `area` after it."""
    weights = 9 * (width // 2 * width + width * width)
    return Part(weights + 4 * width, weights, weights * area)


def residual_head_cost(shape: ImageShape, width: int) -> Part:
    """Global average pooling and linear with bias; the blocks end in an activation, so there is no norm."""
    weights = width * shape.classes
    return Part(weights + shape.classes, weights + shape.classes, weights)


def network_cost(
    shape: ImageShape,
    bottleneck: bool,
    k: Count,
    m: Sequence[Count],
    s: Sequence[Count],
    r: Sequence[Count],
    share: Sequence[Count],
) -> Part:
    """Cost of a whole dense RKNet; m, s, r and share (0 or 1) have an entry per period.

    Entries are numbers for one network, or arrays of one length for as many networks at once.
    """
    pixels = areas(shape, len(m))
    total = stem_cost(shape, k, m[0]).plus(head_cost(shape, k, m[-1]))
    for period, area in zip(zip(m, s, r, share, strict=True), pixels, strict=True):
        total = total.plus(period_cost(bottleneck, k, *period, area))
    for m_in, m_out, area in zip(m, m[1:], pixels, strict=False):
        total = total.plus(transition_cost(k, m_in, m_out, area))
    return total


class PartCosts(NamedTuple):
    """Costs of several choices of a part, as arrays (or numbers that stand for all of them).

    Attributes:
        part: params and multiply-adds.
        depth: layers with weights from image to logits.
    """

    part: Part
    depth: Count


class Largest(NamedTuple):
    """The largest choices of a period.

    Attributes:
        m: growth multiple; 0 where there is none.
        s: stages of a learned method; 0 where no method is learned.
        r: time-steps.
        evaluations: evaluations of a stage function in a time-step of a tableau; 0 where there is none.
    """

    m: int
    s: int
    r: int
    evaluations: int


class ClosedForm(ABC):
    """Costs of a family's parts, for many choices at once."""

    @abstractmethod
    def periods(self, shape: ImageShape, k: int, options: Sequence[Steps], index: int, last: bool) -> PartCosts:
        """Costs of each option of period `index`, counted from 0; stem and head belong to the first and last period."""

    @abstractmethod
    def link(self, shape: ImageShape, k: int, m_in: Integers, m_out: Integers, index: int) -> PartCosts:
        """Costs of the transition from period `index` to the next one, for many pairs of growth multiples."""

    @abstractmethod
    def magnitude(self, shape: ImageShape, k: int, periods: Sequence[Largest]) -> int:
        """A count no less than the params and the multiply-adds of the largest network, in Python's integers."""

    @abstractmethod
    def deepest(self, layers: int, periods: int) -> int:
        """Depth of a network with `layers` 3x3 layers in its periods."""


@dataclass(frozen=True, slots=True)
class DenseForm(ClosedForm):
    """Costs of RKNets of dense layers, with bottlenecks or without (paper, section 3.1)."""

    bottleneck: bool

    def periods(self, shape: ImageShape, k: int, options: Sequence[Steps], index: int, last: bool) -> PartCosts:
        """Costs of groups of dense layers."""
        m, work = multiples(options), _work(options)
        area = areas(shape, index + 1)[-1]
        part = work.choose(
            period_cost(self.bottleneck, k, m, work.s, work.r, work.share, area),
            solver_cost(self.bottleneck, k, m, work.evaluated, work.owned, work.numbers, area),
        )
        depth = m * work.evaluated * (1 + self.bottleneck)
        if index == 0:
            part = part.plus(stem_cost(shape, k, m))
            depth = depth + STEM_AND_LINEAR
        if last:
            part = part.plus(head_cost(shape, k, m))
        return PartCosts(part, depth)

    def link(self, shape: ImageShape, k: int, m_in: Integers, m_out: Integers, index: int) -> PartCosts:
        """Costs of BN-conv1x1, one layer deep."""
        return PartCosts(transition_cost(k, m_in, m_out, areas(shape, index + 1)[-1]), 1)

    def magnitude(self, shape: ImageShape, k: int, periods: Sequence[Largest]) -> int:
        """The sum over parts, each as large as its choices allow."""
        pixels = areas(shape, len(periods))
        parts = [stem_cost(shape, k, periods[0].m), head_cost(shape, k, periods[-1].m)]
        for p, area in zip(periods, pixels, strict=True):
            if p.s:
                parts.append(period_cost(self.bottleneck, k, p.m, p.s, p.r, 0, area))
            stages = p.evaluations * p.r
            parts.append(solver_cost(self.bottleneck, k, p.m, stages, stages, stages**2, area))
        for (before, after), area in zip(pairwise(periods), pixels, strict=False):
            parts.append(transition_cost(k, before.m, after.m, area))
        return _larger_sum(parts)

    def deepest(self, layers: int, periods: int) -> int:
        """Stem, a convolution per layer (two with bottlenecks), a convolution per transition, linear layer."""
        return STEM_AND_LINEAR + layers * (1 + self.bottleneck) + periods - 1


@dataclass(frozen=True, slots=True)
class ResidualForm(ClosedForm):
    """Costs of RKNets of residual blocks (paper, section 3.2), whose widths double from `first_width`."""

    first_width: int

    def periods(self, shape: ImageShape, k: int, options: Sequence[Steps], index: int, last: bool) -> PartCosts:
        """Costs of blocks of two convolutions."""
        work, width = _work(options), self.first_width << index
        area = residual_areas(shape, index + 1)[-1]
        part = work.choose(
            residual_period_cost(width, work.s, work.r, work.share, area),
            residual_solver_cost(width, work.evaluated, work.owned, work.numbers, area),
        )
        depth = 2 * work.evaluated
        if index == 0:
            part = part.plus(residual_stem_cost(shape, width))
            depth = depth + STEM_AND_LINEAR
        if last:
            part = part.plus(residual_head_cost(shape, width))
        return PartCosts(part, depth)

    def link(self, shape: ImageShape, k: int, m_in: Integers, m_out: Integers, index: int) -> PartCosts:
        """Costs of the downsampling block, two layers deep."""
        width, area = self.first_width << (index + 1), residual_areas(shape, index + 2)[-1]
        return PartCosts(residual_transition_cost(width, area), 2)

    def magnitude(self, shape: ImageShape, k: int, periods: Sequence[Largest]) -> int:
        """The sum over parts, each as large as its choices allow."""
        parts = []
        for i, (p, area) in enumerate(zip(periods, residual_areas(shape, len(periods)), strict=True)):
            width, stages = self.first_width << i, p.evaluations * p.r
            parts.append(residual_transition_cost(width, area))
            parts.append(residual_solver_cost(width, stages, stages, stages**2, area))
            if p.s:
                parts.append(residual_period_cost(width, p.s, p.r, 0, area))
        return _larger_sum([*parts, residual_stem_cost(shape, width), residual_head_cost(shape, width)])

    def deepest(self, layers: int, periods: int) -> int:
        """Stem, the convolutions of the blocks, two convolutions per transition, linear layer."""
        return STEM_AND_LINEAR + layers + 2 * (periods - 1)


def _larger_sum(parts: Sequence[Part]) -> int:
    return int(max(sum(part.params for part in parts), sum(part.macs for part in parts)))


class _Work:
    """Numbers of what options compute, as arrays over them."""

    def __init__(self, options: Sequence[Steps]) -> None:
        self.learned = np.array([o.solver is None for o in options])
        self.s, self.r, self.share = (np.array([getattr(o, f) for o in options], np.int64) for f in ("s", "r", "share"))
        self.evaluated = np.array([o.evaluations * o.r for o in options], np.int64)
        stages = np.array([1 if o.solver is not None and o.solver.tie else o.s for o in options], np.int64)
        self.owned = stages * np.where(self.share, 1, self.r)
        self.numbers = np.array([o.solver.learned_numbers if o.solver else 0 for o in options], np.int64)

    def choose(self, learned: Part, solved: Part) -> Part:
        """Each option's costs, by how it is integrated."""
        return Part(*(np.where(self.learned, a, b) for a, b in zip(learned, solved, strict=True)))


class Alternatives(tuple[Steps, ...]):
    """Choices of a period, with arrays over them that are made once, whatever the growth rate."""

    @cached_property
    def work(self) -> _Work:
        """Numbers of what each computes."""
        return _Work(self)

    @cached_property
    def growth(self) -> Integers:
        """Growth multiples, 0 for those that have none."""
        return np.array([o.m if isinstance(o, Period) else 0 for o in self], np.int64)

    def values(self, field: str) -> Integers:
        """The values of `s`, `r` or `share`."""
        return np.asarray(getattr(self.work, field))


def alternatives(options: Iterable[Steps]) -> Alternatives:
    """The options as `Alternatives`: themselves where they are that already."""
    return options if isinstance(options, Alternatives) else Alternatives(options)


def _work(options: Sequence[Steps]) -> _Work:
    return alternatives(options).work


def multiples(options: Sequence[Steps]) -> Integers:
    """Growth multiples of periods, 0 for those that have none."""
    return alternatives(options).growth
