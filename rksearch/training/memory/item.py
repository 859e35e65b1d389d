"""Memory of one row of a layout, in elements of feature maps."""

from __future__ import annotations

from dataclasses import dataclass

from rksearch.arch.layout import Row

FLOAT_BYTES = 4
INDEX_BYTES = 8

WORKING_MAPS = 3
"""Maps as large as a norm's input that its backward pass needs at once besides what is kept: the gradients behind and
before the activation and before the norm. In a forward pass that keeps nothing: input, norm and activation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Memory that one row of a layout holds.

    Attributes:
        row: the layer.
        elements: of feature maps that are kept for the backward pass, per image.
        index_bytes: of integers that are kept, per image.
        batch_bytes: kept once per batch: statistics of a norm.
        working: elements per image that exist only while the row's gradients are computed.
        unit: path of the module that recomputation treats as a whole, None for what is never recomputed.
        boundary: with recomputation, elements per image that are kept nevertheless.
        again: elements per image that exist while the row's unit is recomputed, besides all boundaries.
        slope: elements per image that learned coefficients of a method keep of the row's output, counted in `elements`
            already where the output is kept for no other reason.
        shares_input: whether another row keeps the row's input, recomputed or not.
    """

    row: Row
    elements: int
    index_bytes: int = 0
    batch_bytes: int = 0
    working: int = 0
    unit: str | None = None
    boundary: int = 0
    again: int = 0
    slope: int = 0
    shares_input: bool = False


def held_alone(row: Row) -> Held:
    """Memory that a row holds in any family; see the package's text."""
    maps_in, maps_out = row.in_channels * row.in_size.area, row.out_channels * row.out_size.area
    match row.kind:
        case "norm":
            statistics = 2 * FLOAT_BYTES * row.in_channels
            return Held(row=row, elements=2 * maps_in, batch_bytes=statistics, working=WORKING_MAPS * maps_in)
        case "conv":
            # Beside a strided convolution lies a shortcut, whose gradient is spread over the map with zeros between.
            return Held(row=row, elements=0, working=(3 if row.stride > 1 else 1) * maps_in + maps_out)
        case "avgpool":
            return Held(row=row, elements=maps_in, working=maps_in + maps_out)
        case "maxpool":
            return Held(row=row, elements=0, index_bytes=INDEX_BYTES * maps_out, working=maps_in + maps_out)
        case "linear":
            return Held(row=row, elements=row.in_channels)
        case "global_pool":
            return Held(row=row, elements=0, working=maps_in)
        case "coefficients":
            return Held(row=row, elements=0)
