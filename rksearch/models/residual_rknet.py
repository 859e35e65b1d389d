"""Blocks of the residual RKNet family: a stage is the branch of a ResNet's block."""

from __future__ import annotations

from torch import Tensor

from rksearch.arch.families.residual_rknet import ResidualRKNet
from rksearch.arch.family import Makers
from rksearch.models.activations import relu_of
from rksearch.models.methods import periods_of
from rksearch.models.residual import BasicBlock, Branch


class ResidualStage(Branch):
    """relu(branch(x)): a stage of the residual RKNet, the ReLU moved from behind the sum to the end of the branch."""

    def forward(self, x: Tensor) -> Tensor:
        """What the stage sees, (N, C', H, W), to its slope (N, C, H, W)."""
        return relu_of(self.norm2, self.activated(x))


def makers(spec: ResidualRKNet) -> Makers:
    """What builds periods and transitions."""
    return {"period": periods_of(spec.periods, ResidualStage), "transition": BasicBlock}
