"""Blocks of the residual families: ResNet, pre-activation ResNet, residual RKNet."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from rksearch.models.kernels.channels_last import every_second_pixel, side_by_side
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
        return self.norm2(self.conv2(F.relu_(self.norm1(self.conv1(x)))))


class BasicBlock(Branch):
    """relu(shortcut(x) + branch(x)), the shortcut without parameters (ResNet, option A)."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H', W'); where the widths differ, the shortcut subsamples and pads with zeros."""
        branch = super().forward(x)
        return F.relu_(shortcut(x, branch.shape[1]) + branch)


class ResidualStage(Branch):
    """relu(branch(x)): a stage of the residual RKNet, the ReLU moved from behind the sum to the end of the branch."""

    def forward(self, x: Tensor) -> Tensor:
        """What the stage sees, (N, C', H, W), to its slope (N, C, H, W)."""
        return F.relu_(super().forward(x))


class ResidualStep(nn.Sequential):
    """k_i = f_i(concat(y, k_1, ..., k_{i-1})), returns y + Σ_i k_i; the coefficients are absorbed by convolutions."""

    def __init__(self, parts: Parts, path: str) -> None:
        super().__init__()
        for name, child in parts.children(path, "stage"):
            self.add_module(name, ResidualStage(parts, child))

    def forward(self, y: Tensor) -> Tensor:
        """State (N, C, H, W) to the next state of the same shape."""
        seen = [y]
        for stage in self:
            seen.append(stage(side_by_side(seen)))
        for slope in seen[1:]:
            y = y + slope
        return y


class ResidualPeriod(nn.Sequential):
    """r time-steps in a row."""

    def __init__(self, parts: Parts, path: str) -> None:
        super().__init__()
        for name, child in parts.children(path, "step"):
            self.add_module(name, ResidualStep(parts, child))


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

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H', W')."""
        activated = F.relu_(self.norm1(x))
        kept = self.project(activated) if self.projected else x
        branch = self.conv2(F.relu_(self.norm2(self.conv1(activated))))
        if self.bottleneck:
            branch = self.conv3(F.relu_(self.norm3(branch)))
        return shortcut(kept, branch.shape[1]) + branch


class Group(nn.Sequential):
    """The blocks of one width."""

    def __init__(self, parts: Parts, path: str, block: type[BasicBlock] | type[PreActBlock]) -> None:
        super().__init__()
        for name, child in parts.children(path, "block"):
            self.add_module(name, block(parts, child))


def shortcut(x: Tensor, channels: int) -> Tensor:
    """x itself, or, where the block has more channels, every second pixel of it and channels of zeros."""
    more_channels = channels - x.shape[1]
    return F.pad(every_second_pixel(x), (0, 0, 0, 0, 0, more_channels)) if more_channels else x
