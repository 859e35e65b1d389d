"""The blocks that most families have: a formula, its modules and nothing else.

All take and return feature maps of shape (N, C, H, W). Submodules are registered in the order of the forward pass, so
that two implementations can be given the same weights by walking both.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rksearch.models.kernels.channels_last import side_by_side
from rksearch.models.kernels.norm import BatchNorm, can_share, joined, statistics_of
from rksearch.models.parts import Parts

FEWEST_READERS = 3
"""Of a feature, for taking its statistics once: two save less than it costs to hand them on."""


class DenseLayer(nn.Module):
    """conv3x3(relu(bn(x))), or conv3x3(relu(bn(conv1x1(relu(bn(x)))))) with a bottleneck."""

    def __init__(self, parts: Parts, path: str) -> None:
        super().__init__()
        self.norm1 = parts[f"{path}.norm1"]
        self.conv1 = parts[f"{path}.conv1"]
        self.bottleneck = parts.has(f"{path}.norm2")
        if self.bottleneck:
            self.norm2 = parts[f"{path}.norm2"]
            self.conv2 = parts[f"{path}.conv2"]

    def forward(self, x: Tensor, statistics: Tensor | None = None) -> Tensor:
        """(N, C, H, W) to the layer's growth (N, k, H, W); the statistics (2, C) are those of x, if known."""
        x = self.norm1(x) if statistics is None else self.norm1(x, statistics)
        x = self.conv1(F.relu_(x))
        return self.conv2(F.relu_(self.norm2(x))) if self.bottleneck else x


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


class TimeStep(nn.Sequential):
    """One step of an s-stage explicit Runge-Kutta method: y + sum_i h b_i k_i (paper, Eqs. 2 and 3).

    Layer j reads concat(y, the growths before it). Growths i*m ... i*m + m - 1 are stage i's h b_i k_i, as wide as y;
    the coefficients are absorbed by the convolutions.
    """

    def __init__(self, parts: Parts, path: str, stages: int) -> None:
        super().__init__()
        self.stages = stages
        for name, child in parts.children(path, "layer"):
            self.add_module(name, DenseLayer(parts, child))

    def forward(self, y: Tensor) -> Tensor:
        """State (N, m * k, H, W) to the next state of the same shape."""
        return next_state(y, grow(self, y)[1], self.stages)


class DenseStage(nn.Sequential):
    """f(z) of a method with explicit coefficients: m layers, each reading concat(z, the growths before it)."""

    def __init__(self, parts: Parts, path: str) -> None:
        super().__init__()
        for name, child in parts.children(path, "layer"):
            self.add_module(name, DenseLayer(parts, child))

    def forward(self, z: Tensor) -> Tensor:
        """What the stage sees, (N, m * k, H, W), to its slope: the m growths, (N, m * k, H, W)."""
        return side_by_side(grow(self, z)[1])


class Period(nn.Sequential):
    """r time-steps in a row."""

    def __init__(self, parts: Parts, path: str, stages: int) -> None:
        super().__init__()
        for name, child in parts.children(path, "step"):
            self.add_module(name, TimeStep(parts, child, stages))


def grow(layers: nn.Sequential, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """What the last layer read, and the growths (N, k, H, W) of layers that each read concat(x, the growths before)."""
    statistics = shared_statistics(layers, x)
    growths: list[Tensor] = []
    for layer in layers:
        if growths and statistics is not None:
            x, statistics = joined(x, statistics, growths[-1])
        elif growths:
            x = side_by_side([x, growths[-1]])
        growths.append(layer(x, statistics))
    return x, growths


def shared_statistics(readers: nn.Sequential, x: Tensor) -> Tensor | None:
    """Statistics of `x`, (2, C), where enough layers read it for sharing them to pay."""
    if not readers.training or len(readers) < FEWEST_READERS or not can_share(x):
        return None
    can_be_told = all(isinstance(reader, DenseLayer) and isinstance(reader.norm1, BatchNorm) for reader in readers)
    return statistics_of(x) if can_be_told else None


def next_state(y: Tensor, growths: Sequence[Tensor], stages: int) -> Tensor:
    """y + sum_i h b_i k_i, all (N, m * k, H, W), from the m growths of each stage."""
    width = len(growths) // stages
    for first in range(0, len(growths), width):
        # Not as parts of one concatenation: adding parts of a few channels takes several times as long.
        y = y + side_by_side(growths[first : first + width])
    return y


class Transition(nn.Module):
    """avgpool2(conv1x1(relu(bn(x)))).

    A convolution of single pixels and a mean over pixels may change places: the mean is taken first, which leaves a
    quarter of the convolution. Only where a network is traced, to be counted, the order is that of the definition.
    """

    def __init__(self, parts: Parts, path: str) -> None:
        super().__init__()
        self.norm = parts[f"{path}.norm"]
        self.conv = parts[f"{path}.conv"]
        self.pool = parts[f"{path}.pool"]

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H / 2, W / 2)."""
        x = F.relu_(self.norm(x))
        return self.pool(self.conv(x)) if torch.jit.is_tracing() else self.conv(self.pool(x))


class Stem(nn.Module):
    """conv3x3, relu(bn()) after it where the family has that (ResNet); maxpool(relu(bn(conv7x7))) for large images."""

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self.conv = parts["stem.conv"]
        self.normalised = parts.has("stem.norm")
        if self.normalised:
            self.norm = parts["stem.norm"]
        self.pooled = parts.has("stem.pool")
        if self.pooled:
            self.pool = parts["stem.pool"]

    def forward(self, image: Tensor) -> Tensor:
        """Image (N, C, H, W) to the first state (N, C', H, W), or (N, C', H / 4, W / 4) for large images."""
        x = self.conv(image)
        if self.normalised:
            x = F.relu_(self.norm(x))
        return self.pool(x) if self.pooled else x


class Head(nn.Module):
    """linear(mean(relu(bn(x)))); without the batch norm where the blocks end in an activation (ResNet)."""

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self.normalised = parts.has("head.norm")
        if self.normalised:
            self.norm = parts["head.norm"]
        self.pool = parts["head.pool"]
        self.linear = parts["head.linear"]

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to logits (N, classes)."""
        if self.normalised:
            x = F.relu_(self.norm(x))
        return self.linear(self.pool(x).flatten(1))
