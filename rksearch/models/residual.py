"""Blocks of two convolutions beside a shortcut, which several residual families have."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from rksearch.models.activations import relu_of
from rksearch.models.methods import StageMaker
from rksearch.models.parts import Parts


class Branch(nn.Module):
    """bn(conv3x3(relu(bn(conv3x3(x))))): what a basic block adds to its shortcut."""

    def __init__(self, parts: Parts, path: str) -> None:
        super().__init__()
        self.conv1 = parts[f"{path}.conv1"]
        self.norm1 = parts[f"{path}.norm1"]
        self.conv2 = parts[f"{path}.conv2"]
        self.norm2 = parts[f"{path}.norm2"]

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H', W')."""
        return self.norm2(self.activated(x))

    def activated(self, x: Tensor) -> Tensor:
        """conv3x3(relu(bn(conv3x3(x)))), which the last batch norm reads."""
        found: Tensor = self.conv2(relu_of(self.norm1, self.conv1(x)))
        return found


class BasicBlock(Branch):
    """relu(shortcut(x) + branch(x)), the shortcut without parameters (ResNet, option A)."""

    def __init__(self, parts: Parts, path: str) -> None:
        super().__init__(parts, path)
        self.more_channels = added_channels(self.conv1, self.conv2)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H', W'); where the widths differ, the shortcut subsamples and pads with zeros."""
        branch = super().forward(x)
        return F.relu_(shortcut(x, self.more_channels) + branch)


class Group(nn.Sequential):
    """The blocks of one width."""

    def __init__(self, parts: Parts, path: str, block: StageMaker) -> None:
        super().__init__()
        for name, child in parts.children(path, "block"):
            self.add_module(name, block(parts, child))


def shortcut(x: Tensor, more_channels: int) -> Tensor:
    """x itself, or, where the block has more channels, every second pixel of it and channels of zeros."""
    return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, more_channels)) if more_channels else x


def added_channels(first: nn.Module, last: nn.Module) -> int:
    """Channels that a branch between these convolutions returns beyond those that it reads."""
    return int(last.get_parameter("weight").shape[0] - first.get_parameter("weight").shape[1])
