"""Exact costs from arithmetic alone.

`cost` sums over the rows of a layout and is the definition. For whole search spaces the same sums of an RKNet are also
given in closed form, as polynomials over numpy arrays: a network costs the sum of its parts (`stem_cost`, `period_cost`
or `solver_cost`, `transition_cost`, `head_cost`, and the same for the residual family), so a table per part prices
every combination. The tests hold the two against each other, against the built modules and against fvcore.

What is counted
---------------
params        every weight and bias, batch norm and learned coefficients of a method included.
params_paper  convolution and linear weights and the linear bias: the Param column of the RKNet paper.
macs          multiply-adds of convolutions and linear layers for one image; shared weights count at every use.
fvcore_flops  what fvcore reports for the network in eval mode: `macs`, 2 per batch-norm input element, and 1 per
              input element of a global pooling. It leaves additions, multiplications (by coefficients, by attention),
              ReLUs, sigmoids, concatenations and all other pooling out.

All counts are those of the definition, in whose order the rows stand; training may take a shorter way to the same
result (`Layout.as_trained`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import numpy as np
import numpy.typing as npt

from rksearch.arch import ArchSpec
from rksearch.arch.image import ImageShape
from rksearch.arch.layout import BOTTLENECK, Layout, Row, image_size, is_large, layout

Array = npt.NDArray[np.int64]
Count = int | Array
"""A whole number, or an array of them: the closed forms broadcast over either."""


class Cost(NamedTuple):
    """Counts of one network (or of one part of it); see the module's text for what each one counts."""

    params: int
    params_paper: int
    macs: int
    fvcore_flops: int


class Part(NamedTuple):
    """Counts of one part of a network, as numbers or as arrays over many networks."""

    params: Count
    params_paper: Count
    macs: Count

    def plus(self, other: Part) -> Part:
        """Element-wise sum, broadcast."""
        return Part(*(cast(Count, a + b) for a, b in zip(self, other, strict=True)))


def row_cost(row: Row) -> Cost:
    """Counts of one layer for one image."""
    area = row.out_size.area
    match row.kind:
        case "conv":
            weights = row.in_channels * row.out_channels * row.kernel**2
            owned = weights if row.owns_weights else 0
            return Cost(owned, owned, weights * area, weights * area)
        case "linear":
            weights = row.in_channels * row.out_channels
            return Cost(weights + row.out_channels, weights + row.out_channels, weights, weights)
        case "norm":
            return Cost(2 * row.in_channels if row.owns_weights else 0, 0, 0, 2 * row.in_channels * area)
        case "global_pool":
            return Cost(0, 0, 0, row.in_channels * row.in_size.area)
        case "coefficients":
            return Cost(row.numbers, 0, 0, 0)
        case "avgpool" | "maxpool":
            return Cost(0, 0, 0, 0)


def layout_cost(net: Layout) -> Cost:
    """Counts of a whole layout: the sum over its rows."""
    counts = [row_cost(row) for row in net.rows]
    return Cost(*(sum(column) for column in zip(*counts, strict=True)))


def cost(spec: ArchSpec, data: ImageShape) -> Cost:
    """Counts of `spec` for one image of `data`.

    Raises:
        SpecError: the images are too small for the network.
    """
    return layout_cost(layout(spec, data))


def areas(data: ImageShape, periods: int) -> list[int]:
    """Pixels of a feature map in each period: every transition halves height and width, rounding down."""
    first = image_size(data)
    if is_large(data):
        first = first.halved_up().halved_up()
    return [(first.height >> i) * (first.width >> i) for i in range(periods)]


def stem_cost(data: ImageShape, k: Count, m: Count) -> Part:
    """conv3x3 from the image to the m * k channels of the first state; conv7x7/2 and a norm for large images."""
    if is_large(data):
        weights = 49 * data.channels * m * k
        return Part(weights + 2 * m * k, weights, weights * image_size(data).halved_up().area)
    weights = 9 * data.channels * m * k
    return Part(weights, weights, weights * image_size(data).area)


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

    Its stages, of m layers each, are evaluated so many times in all; `owned` of these have convolutions of their own,
    and so many `numbers` of the method learn.
    """
    one = period_cost(bottleneck, k, m, 1, 1, 0, area)
    weights, norms = one.params_paper, one.params - one.params_paper
    params = weights * owned + norms * evaluated + numbers
    return Part(cast(Count, params), cast(Count, weights * owned), cast(Count, one.macs * evaluated))


def transition_cost(k: Count, m_in: Count, m_out: Count, area: int) -> Part:
    """BN, conv1x1 from m_in * k to m_out * k channels at the `area` before pooling."""
    weights = m_in * k * m_out * k
    return Part(weights + 2 * m_in * k, weights, weights * area)


def head_cost(data: ImageShape, k: Count, m: Count) -> Part:
    """BN, global average pooling, linear with bias."""
    weights = m * k * data.classes
    return Part(weights + data.classes + 2 * m * k, weights + data.classes, weights)


def residual_areas(data: ImageShape, periods: int) -> list[int]:
    """Pixels in each period of a residual network: every transition halves height and width, rounding up."""
    size = image_size(data)
    if is_large(data):
        size = size.halved_up().halved_up()
    found = []
    for _ in range(periods):
        found.append(size.area)
        size = size.halved_up()
    return found


def residual_stem_cost(data: ImageShape, width: int) -> Part:
    """A convolution as in `stem_cost`, and always a norm."""
    stem = stem_cost(data, width, 1)
    return stem if is_large(data) else stem.plus(Part(2 * width, 0, 0))


def residual_period_cost(width: int, s: Count, r: Count, share: Count, area: int) -> Part:
    """All r time-steps of a learned method of s blocks; block i reads i * width channels."""
    weights = 9 * width * width * (s * (s + 1) // 2 + s)
    owned = weights * (r - share * (r - 1))
    return Part(owned + 4 * width * s * r, owned, cast(Count, weights * r * area))


def residual_solver_cost(width: int, evaluated: Count, owned: Count, numbers: Count, area: int) -> Part:
    """As `solver_cost`, of blocks of two convolutions."""
    weights = 2 * 9 * width * width
    params = weights * owned + 4 * width * evaluated + numbers
    return Part(cast(Count, params), weights * owned, weights * evaluated * area)


def residual_transition_cost(width: int, area: int) -> Part:
    """The block that doubles the channels to `width`, at the `area` after it."""
    weights = 9 * (width // 2 * width + width * width)
    return Part(weights + 4 * width, weights, weights * area)


def residual_head_cost(data: ImageShape, width: int) -> Part:
    """Global average pooling and linear with bias; the blocks end in an activation, so there is no norm."""
    weights = width * data.classes
    return Part(weights + data.classes, weights + data.classes, weights)


def network_cost(
    data: ImageShape,
    bottleneck: bool,
    k: Count,
    m: Sequence[Count],
    s: Sequence[Count],
    r: Sequence[Count],
    share: Sequence[Count],
) -> Part:
    """A whole RKNet in closed form; m, s, r and share (0 or 1) have an entry per period.

    Entries are numbers for one network, or arrays of one length for as many networks at once.
    """
    pixels = areas(data, len(m))
    total = stem_cost(data, k, m[0]).plus(head_cost(data, k, m[-1]))
    for period, area in zip(zip(m, s, r, share, strict=True), pixels, strict=True):
        total = total.plus(period_cost(bottleneck, k, *period, area))
    for m_in, m_out, area in zip(m, m[1:], pixels, strict=False):
        total = total.plus(transition_cost(k, m_in, m_out, area))
    return total


def network_activations(
    data: ImageShape, bottleneck: bool, k: Count, m: Sequence[Count], s: Sequence[Count], r: Sequence[Count]
) -> Count:
    """Elements of feature maps that training keeps per image, in closed form; arguments as for `network_cost`.

    Every norm keeps its input and the activation behind it, a transition what it pools that to, the linear layer its
    input; sharing weights changes nothing. See `rksearch.training.memory` for bytes, and for what a batch adds.
    """
    pixels = areas(data, len(m))
    total: Count = cast(Count, 2 * m[-1] * k * pixels[-1] + m[-1] * k)
    if is_large(data):
        total = cast(Count, total + 2 * m[0] * k * image_size(data).halved_up().area)
    for m_i, s_i, r_i, area in zip(m, s, r, pixels, strict=True):
        n = s_i * m_i
        channels = k * (n * m_i + n * (n - 1) // 2) + (n * BOTTLENECK * k if bottleneck else 0)
        total = cast(Count, total + 2 * channels * r_i * area)
    for m_in, area, pooled in zip(m, pixels, pixels[1:], strict=False):
        total = cast(Count, total + m_in * k * (2 * area + pooled))
    return total
