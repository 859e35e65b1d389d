"""Rows of the layers that several families have."""

from __future__ import annotations

from rksearch.arch.rows import Writer

BOTTLENECK = 4
"""The 1x1 convolution of a bottleneck layer puts out 4k channels (DenseNet paper, section 3)."""

HALVING = 2
"""Stride of the first block of every later width in residual networks."""


def bottleneck_width(k: int) -> int:
    """Channels between the two convolutions of a bottleneck layer that adds k."""
    return BOTTLENECK * k


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


def basic_block(w: Writer, path: str, c_in: int, c_out: int, stride: int = 1, owner: str | None = None) -> None:
    """conv3x3-BN-ReLU-conv3x3-BN; the convolutions belong to block `owner`."""
    owner = owner or path
    w.conv(f"{path}.conv1", c_in, c_out, 3, stride=stride, weight=f"{owner}.conv1")
    w.norm(f"{path}.norm1", c_out)
    w.conv(f"{path}.conv2", c_out, c_out, 3, weight=f"{owner}.conv2")
    w.norm(f"{path}.norm2", c_out)
