"""Blocks of pre-activation ResNets."""

from __future__ import annotations

from torch import Tensor, nn

from rksearch.arch.families.preact_resnet import PreActResNet
from rksearch.arch.family import Makers
from rksearch.models.activations import relu_of
from rksearch.models.parts import Parts
from rksearch.models.residual import Group, added_channels, shortcut


class PreActBlock(nn.Module):
    """shortcut(x) + conv(relu(bn(... conv(relu(bn(x)))))), of two convolutions, or three in a bottleneck.

    Where a bottleneck changes the width, the shortcut is a 1x1 convolution of the first activation; elsewhere it has no
    parameters.
    """

    def __init__(self, parts: Parts, path: str) -> None:
        super().__init__()
        self.norm1 = parts[f"{path}.norm1"]
        self.projected = parts.has(f"{path}.project")
        if self.projected:
            self.project = parts[f"{path}.project"]
        self.conv1 = parts[f"{path}.conv1"]
        self.norm2 = parts[f"{path}.norm2"]
        self.conv2 = parts[f"{path}.conv2"]
        self.bottleneck = parts.has(f"{path}.norm3")
        if self.bottleneck:
            self.norm3 = parts[f"{path}.norm3"]
            self.conv3 = parts[f"{path}.conv3"]
        last = self.conv3 if self.bottleneck else self.conv2
        self.more_channels = 0 if self.projected else added_channels(self.conv1, last)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H', W')."""
        activated = relu_of(self.norm1, x)
        kept = self.project(activated) if self.projected else x
        branch = self.conv2(relu_of(self.norm2, self.conv1(activated)))
        if self.bottleneck:
            branch = self.conv3(relu_of(self.norm3, branch))
        return shortcut(kept, self.more_channels) + branch


def makers(spec: PreActResNet) -> Makers:
    """What builds the blocks of one width."""
    return {"group": lambda parts, path: Group(parts, path, PreActBlock)}
