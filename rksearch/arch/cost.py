"""Exact costs from arithmetic alone.

`cost` sums over the rows of a layout and is the definition. For whole search spaces the same sums are also given in
closed form (`rksearch.arch.closed_forms`). The tests hold the two against each other, against the built modules and
against fvcore.

What is counted
---------------
params        every weight and bias, batch norm and learned coefficients of a method included.
params_paper  convolution and linear weights and the linear bias: the Param column of the RKNet paper.
macs          multiply-adds of convolutions and linear layers for one image; shared weights count at every use.
fvcore_flops  what fvcore reports for the network in eval mode: `macs`, 2 per batch-norm input element, and 1 per
              input element of a global pooling. It leaves additions, multiplications (by coefficients, by attention),
              ReLUs, sigmoids, concatenations and all other pooling out.

All counts are those of the definition, in whose order the rows stand. Training takes a shorter way to the same result
where transitions pool before they convolve (`Layout.as_trained`); `executed_macs` counts that way.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from rksearch.arch.image import ImageShape
from rksearch.arch.layout import Layout, Row, layout
from rksearch.arch.spec import ArchSpec


class Cost(NamedTuple):
    """Counts of one network (or of one part of it); see the module's text for what each one counts."""

    params: int
    params_paper: int
    macs: int
    fvcore_flops: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """Counts taken from a built model, independent of the rows; None where nothing was counted.

    Attributes:
        params: torch's count of parameters.
        fvcore_flops: fvcore's count of the network in the order of its definition; None also where fvcore is not
            installed.
        agree: whether all counts equal the closed forms.
        executed_macs: torch's count of the multiply-adds of the program that runs, for one image.
    """

    params: int | None = None
    fvcore_flops: int | None = None
    agree: bool | None = None
    executed_macs: int | None = None


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


def cost(spec: ArchSpec, shape: ImageShape) -> Cost:
    """Counts of `spec` for one image of `shape`.

    Raises:
        SpecError: the images are too small for the network.
    """
    return layout_cost(layout(spec, shape))


def executed_macs(spec: ArchSpec, shape: ImageShape) -> int:
    """Multiply-adds that training and inference execute for one image of `shape`, at most `cost(spec, shape).macs`.

    Raises:
        SpecError: the images are too small for the network.
    """
    return layout_cost(layout(spec, shape).as_trained()).macs


def depth_of(rows: Iterable[Row]) -> int:
    """Layers with weights in a row, as the depths in the names of DenseNets and ResNets count them."""
    return sum(row.kind in ("conv", "linear") for row in rows)
