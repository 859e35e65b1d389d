"""The blocks that most families have: a formula, its modules and nothing else.

All take and return feature maps of shape (N, C, H, W). Submodules are registered in the order of the forward pass, so
that two implementations can be given the same weights by walking both.
"""

from __future__ import annotations

import itertools
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


def others(values: Sequence[Tensor], j: int) -> list[Tensor]:
    """All values but the one at `j`."""
    return list(itertools.chain(values[:j], values[j + 1 :]))


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


class MultiScaleHead(nn.Module):
    """linear(concat over periods of mean(relu(bn(x))))."""

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self.scales = [name for name, _ in parts.children("head", "scale")]
        for name, child in parts.children("head", "scale"):
            self.add_module(name, _Scale(parts, child))
        self.linear = parts["head.linear"]

    def forward(self, features: list[Tensor]) -> Tensor:
        """Outputs of all periods, each (N, C, H, W), to logits (N, classes)."""
        pooled = [self.get_submodule(name)(x) for name, x in zip(self.scales, features, strict=True)]
        return self.linear(torch.cat(pooled, 1))


class _Scale(nn.Module):
    """mean(relu(bn(x)))."""

    def __init__(self, parts: Parts, path: str) -> None:
        super().__init__()
        self.norm = parts[f"{path}.norm"]
        self.pool = parts[f"{path}.pool"]

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C)."""
        return self.pool(F.relu_(self.norm(x))).flatten(1)


class MultiScale(nn.Sequential):
    """Stem, periods and transitions in a row, and a head that reads the output of every period."""

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) to logits (N, classes)."""
        features: list[Tensor] = []
        for name, module in self.named_children():
            x = module(features) if name == "head" else module(x)
            if name.startswith(("period", "block")):
                features.append(x)
        return x


def head(parts: Parts) -> nn.Module:
    """The head over all periods where the layout has one, else over the last."""
    return MultiScaleHead(parts) if parts.has("head.scale1.norm") else Head(parts)
