"""Rows of the dense families: RKNet and DenseNet."""

from __future__ import annotations

from collections.abc import Iterator

from rksearch.arch import DenseNet, ImageNetDenseNet, Period, RKNet
from rksearch.arch.rows import Writer
from rksearch.arch.stages import stages, write_coefficients

BOTTLENECK = 4
"""The 1x1 convolution of a bottleneck layer puts out 4k channels (DenseNet paper, section 3)."""

STEM_MULTIPLE = 2
"""DenseNets start from 2k channels."""


def dense_layer(w: Writer, path: str, owner: str, c_in: int, k: int, middle: int | None) -> None:
    """BN-ReLU-conv3x3(k), or BN-ReLU-conv1x1(middle)-BN-ReLU-conv3x3(k); the convolutions belong to layer `owner`."""
    w.norm(f"{path}.norm1", c_in)
    if middle is None:
        w.conv(f"{path}.conv1", c_in, k, 3, weight=f"{owner}.conv1")
    else:
        w.conv(f"{path}.conv1", c_in, middle, 1, weight=f"{owner}.conv1")
        w.norm(f"{path}.norm2", middle)
        w.conv(f"{path}.conv2", middle, k, 3, weight=f"{owner}.conv2")


def transition(w: Writer, path: str, c_in: int, c_out: int) -> None:
    """BN-ReLU-conv1x1-avgpool2."""
    w.norm(f"{path}.norm", c_in)
    w.conv(f"{path}.conv", c_in, c_out, 1)
    w.avgpool(f"{path}.pool", c_out)


def rknet(w: Writer, spec: RKNet) -> None:
    """Stem, periods with transitions between them, head."""
    k = spec.growth_rate
    middle = BOTTLENECK * k if spec.bottleneck else None
    w.stem(spec.periods[0].m * k)
    for i, period in enumerate(spec.periods, 1):
        write_coefficients(w, period, f"period{i}", period.m * k)
        for path, owner, c_in in _layers(period, f"period{i}", k):
            dense_layer(w, path, owner, c_in, k, middle)
        if i < len(spec.periods):
            transition(w, f"transition{i}", period.m * k, spec.periods[i].m * k)
    w.head(spec.periods[-1].m * k)


def _layers(period: Period, prefix: str, k: int) -> Iterator[tuple[str, str, int]]:
    """(path, owner, input channels) of every layer.

    In the paper's way, layer j of a time-step reads the state and the j growths before it, whatever their stage. With
    a solver it reads the stage's own state and the j growths before it in the same stage.
    """
    if period.solver is None:
        for step in range(1, period.r + 1):
            for j in range(period.layers_per_step):
                owner = f"{prefix}.step{1 if period.share else step}.layer{j + 1}"
                yield f"{prefix}.step{step}.layer{j + 1}", owner, (period.m + j) * k
    else:
        for stage in stages(period, prefix):
            for j in range(period.m):
                yield f"{stage.path}.layer{j + 1}", f"{stage.owner}.layer{j + 1}", (period.m + j) * k


def densenet(w: Writer, spec: DenseNet | ImageNetDenseNet) -> None:
    """Stem, dense blocks with transitions between them, head."""
    k = spec.growth_rate
    channels = STEM_MULTIPLE * k
    w.stem(channels)
    for i, layers in enumerate(spec.blocks, 1):
        for j in range(1, layers + 1):
            path = f"block{i}.layer{j}"
            dense_layer(w, path, path, channels, k, BOTTLENECK * k if spec.bottleneck else None)
            channels += k
        if i < len(spec.blocks):
            # Compression 0.5 belongs to DenseNet-BC; an odd width is rounded down.
            narrowed = channels // 2 if spec.bottleneck else channels
            transition(w, f"transition{i}", channels, narrowed)
            channels = narrowed
    w.head(channels)
