"""Networks as they are usually written: the plain loop trains them, some optimisations are compared to them."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional as F

from rksearch.models.blocks import Transition
from rksearch.models.kernels.norm import BatchNorm
from rksearch.models.parts import GlobalPool
from rksearch.models.residual import BasicBlock, Branch

Classes = Mapping[type[nn.Module], type[nn.Module]]


class ConvolvedFirst(Transition):
    """`Transition` in the order of its definition."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H / 2, W / 2)."""
        pooled: Tensor = self.pool(self.conv(F.relu_(self.norm(x))))
        return pooled


class SlicedBlock(BasicBlock):
    """`BasicBlock` with a shortcut that takes every second pixel by a slice."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H', W')."""
        branch = Branch.forward(self, x)
        more_channels = branch.shape[1] - x.shape[1]
        kept = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, more_channels)) if more_channels else x
        return F.relu_(kept + branch)


NORMS: Classes = {BatchNorm: nn.BatchNorm2d}
SLICES_AND_MEANS: Classes = {BasicBlock: SlicedBlock, GlobalPool: nn.AdaptiveAvgPool2d}
TRANSITIONS: Classes = {Transition: ConvolvedFirst}
ALL: Classes = {**NORMS, **SLICES_AND_MEANS, **TRANSITIONS}


def as_usually_written(model: nn.Module, classes: Classes = ALL) -> nn.Module:
    """`model` after its modules of these classes have become instances of the class beside theirs; done in place."""
    for module in model.modules():
        module.__class__ = classes.get(type(module), type(module))
    return model
