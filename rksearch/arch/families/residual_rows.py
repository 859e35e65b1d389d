"""Rows of the residual families: ResNet, pre-activation ResNet and the residual RKNet."""

from __future__ import annotations

from rksearch.arch import PreActResNet, ResidualRKNet, ResNet
from rksearch.arch.rows import Writer
from rksearch.arch.stages import stages, write_coefficients

HALVING = 2
"""Stride of the first block of every later width."""


def basic_block(w: Writer, path: str, c_in: int, c_out: int, stride: int = 1, owner: str | None = None) -> None:
    """conv3x3-BN-ReLU-conv3x3-BN; the convolutions belong to block `owner`."""
    owner = owner or path
    w.conv(f"{path}.conv1", c_in, c_out, 3, stride=stride, weight=f"{owner}.conv1")
    w.norm(f"{path}.norm1", c_out)
    w.conv(f"{path}.conv2", c_out, c_out, 3, weight=f"{owner}.conv2")
    w.norm(f"{path}.norm2", c_out)


def resnet(w: Writer, spec: ResNet) -> None:
    """Stem with BN-ReLU, groups of basic blocks, head without a norm."""
    channels = spec.WIDTHS[0]
    w.stem(channels, norm=True)
    for g, width in enumerate(spec.WIDTHS, 1):
        for b in range(1, spec.blocks_per_group + 1):
            basic_block(w, f"group{g}.block{b}", channels, width, HALVING if g > 1 and b == 1 else 1)
            channels = width
    w.head(channels, norm=False)


def residual_rknet(w: Writer, spec: ResidualRKNet) -> None:
    """Stem with BN-ReLU, periods with ResNet's downsampling blocks between them, head without a norm."""
    w.stem(spec.widths[0], norm=True)
    for i, (period, width) in enumerate(zip(spec.periods, spec.widths, strict=True), 1):
        if i > 1:
            basic_block(w, f"transition{i - 1}", width // 2, width, HALVING)
        write_coefficients(w, period, f"period{i}", width)
        for stage in stages(period, f"period{i}"):
            c_in = width if period.solver else stage.number * width
            basic_block(w, stage.path, c_in, width, owner=stage.owner)
    w.head(spec.widths[-1], norm=False)


def preact_resnet(w: Writer, spec: PreActResNet) -> None:
    """Stem, groups of pre-activation blocks, head."""
    channels = spec.WIDTHS[0]
    w.stem(channels)
    for g, width in enumerate(spec.WIDTHS, 1):
        for b in range(1, spec.blocks_per_group + 1):
            path, stride = f"group{g}.block{b}", HALVING if g > 1 and b == 1 else 1
            out = width * (spec.EXPANSION if spec.bottleneck else 1)
            before = w.size
            w.norm(f"{path}.norm1", channels)
            if spec.bottleneck and channels != out:
                w.conv(f"{path}.project", channels, out, 1, stride=stride)
                w.size = before  # the projection and the branch both start from the block's input
            kernels = (1, 3, 1) if spec.bottleneck else (3, 3)
            strided = 2 if spec.bottleneck else 1
            for c, kernel in enumerate(kernels, 1):
                if c > 1:
                    w.norm(f"{path}.norm{c}", width)
                last = c == len(kernels)
                w.conv(
                    f"{path}.conv{c}",
                    channels if c == 1 else width,
                    out if last else width,
                    kernel,
                    stride=stride if c == strided else 1,
                )
            channels = out
    w.head(channels)
