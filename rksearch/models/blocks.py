"""Blocks that several families share, each a formula and its modules.

All take and return feature maps of shape (N, C, H, W). Submodules are registered in the order of the forward pass, so
that a test can copy weights into another implementation by walking both.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rksearch.models.activations import relu_of
from rksearch.models.parts import Parts, side_by_side


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

    def forward(self, x: Tensor) -> Tensor:
        """Growth (N, k, H, W) of the layer for (N, C, H, W)."""
        x = self.conv1(relu_of(self.norm1, x))
        return self.conv2(relu_of(self.norm2, x)) if self.bottleneck else x


def grow(layers: nn.Sequential, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Run layers that each read concat(x, earlier growths); returns the last input and all growths (N, k, H, W)."""
    growths: list[Tensor] = []
    for layer in layers:
        if growths:
            x = side_by_side([x, growths[-1]])
        growths.append(layer(x))
    return x, growths


def others(values: Sequence[Tensor], j: int) -> list[Tensor]:
    """All values except the one at `j`."""
    return list(itertools.chain(values[:j], values[j + 1 :]))


class Transition(nn.Module):
    """avgpool2(conv1x1(relu(bn(x)))).

    A 1x1 convolution and a mean over pixels commute: the mean is taken first, which leaves a quarter of the
    convolution's work. A traced network, which is to be counted, keeps the order of the definition.
    """

    def __init__(self, parts: Parts, path: str) -> None:
        super().__init__()
        self.norm = parts[f"{path}.norm"]
        self.conv = parts[f"{path}.conv"]
        self.pool = parts[f"{path}.pool"]

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H / 2, W / 2)."""
        x = relu_of(self.norm, x)
        return self.pool(self.conv(x)) if torch.jit.is_tracing() else self.conv(self.pool(x))


class Stem(nn.Module):
    """conv3x3, followed by relu(bn()) in ResNets; maxpool(relu(bn(conv7x7))) for large images."""

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
        """First state (N, C', H, W) of an image (N, C, H, W); (N, C', H / 4, W / 4) for large images."""
        x = self.conv(image)
        if self.normalised:
            x = relu_of(self.norm, x)
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

    def forward(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Logits (N, classes) of the last state (N, C, H, W); with `pre_logits` the means (N, C)."""
        if self.normalised:
            x = relu_of(self.norm, x)
        means = self.pool(x).flatten(1)
        return means if pre_logits else self.linear(means)


class MultiScaleHead(nn.Module):
    """linear(concat over periods of mean(relu(bn(x))))."""

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self.scales = [name for name, _ in parts.children("head", "scale")]
        for name, child in parts.children("head", "scale"):
            self.add_module(name, _PooledPeriod(parts, child))
        self.linear = parts["head.linear"]

    def forward(self, features: list[Tensor], pre_logits: bool = False) -> Tensor:
        """Logits (N, classes) from the outputs of all periods, each (N, C, H, W); with `pre_logits` their means."""
        pooled = [self.get_submodule(name)(x) for name, x in zip(self.scales, features, strict=True)]
        means = torch.cat(pooled, 1)
        return means if pre_logits else self.linear(means)


class _PooledPeriod(nn.Module):
    """mean(relu(bn(x)))."""

    def __init__(self, parts: Parts, path: str) -> None:
        super().__init__()
        self.norm = parts[f"{path}.norm"]
        self.pool = parts[f"{path}.pool"]

    def forward(self, x: Tensor) -> Tensor:
        """Features (N, C) of one period's output (N, C, H, W)."""
        return self.pool(relu_of(self.norm, x)).flatten(1)


def head(parts: Parts) -> nn.Module:
    """Build the head: over all periods where the layout has such a head, else over the last one."""
    return MultiScaleHead(parts) if parts.has("head.scale1.norm") else Head(parts)
