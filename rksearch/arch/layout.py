"""From a spec and a data set to rows: one row per layer, in the order of the definition.

This is the single place where widths and resolutions are computed. Costs are sums over rows (`rksearch.arch.cost`), and
modules are built from the same rows (`rksearch.models`): a row's `path` is the built module's path.

A row whose `weight` differs from its `path` computes with another row's weights: it costs multiply-adds again, and no
parameters.
"""

from __future__ import annotations

from rksearch.arch import (
    RKCNN,
    ArchSpec,
    CliqueNet,
    DenseNet,
    ImageNetDenseNet,
    PreActResNet,
    ResidualRKNet,
    ResNet,
    RKNet,
)
from rksearch.arch.families.dense_rows import BOTTLENECK, densenet, rknet
from rksearch.arch.families.implicit_rows import cliquenet, rkcnn
from rksearch.arch.families.residual_rows import preact_resnet, residual_rknet, resnet
from rksearch.arch.image import ImageShape
from rksearch.arch.rows import LARGE_IMAGE, Kind, Layout, Row, Size, Writer, image_size, is_large

__all__ = ["BOTTLENECK", "LARGE_IMAGE", "Kind", "Layout", "Row", "Size", "image_size", "is_large", "layout"]


def layout(spec: ArchSpec, data: ImageShape) -> Layout:
    """The rows of `spec` for images of `data`.

    Raises:
        SpecError: the network halves the resolution more often than the images allow.
    """
    writer = Writer(spec, data)
    match spec:
        case RKNet():
            rknet(writer, spec)
        case ResidualRKNet():
            residual_rknet(writer, spec)
        case RKCNN():
            rkcnn(writer, spec)
        case DenseNet() | ImageNetDenseNet():
            densenet(writer, spec)
        case ResNet():
            resnet(writer, spec)
        case PreActResNet():
            preact_resnet(writer, spec)
        case CliqueNet():
            cliquenet(writer, spec)
        case _:
            raise AssertionError(f"no layout for {type(spec).__name__}")
    return Layout(spec, data, tuple(writer.rows))
