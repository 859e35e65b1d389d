"""Blocks of DenseNets."""

from __future__ import annotations

from torch import Tensor, nn

from rksearch.arch.families.densenet import DenseNet, ImageNetDenseNet
from rksearch.arch.family import Makers
from rksearch.models.blocks import DenseLayer, Transition, grow
from rksearch.models.parts import Parts, side_by_side


class DenseBlock(nn.Sequential):
    """DenseNet block: each layer reads, and the block returns, the concatenation of the input and all growth so far."""

    def __init__(self, parts: Parts, path: str) -> None:
        super().__init__()
        for name, child in parts.children(path, "layer"):
            self.add_module(name, DenseLayer(parts, child))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C + layers * k, H, W)."""
        seen, growths = grow(self, x)
        return side_by_side([seen, growths[-1]])


def makers(spec: DenseNet | ImageNetDenseNet) -> Makers:
    """What builds dense blocks and transitions."""
    return {"block": DenseBlock, "transition": Transition}
