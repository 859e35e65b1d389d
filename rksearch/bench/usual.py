"""Networks as they are usually written: the plain loop trains them, some optimisations are compared to them."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from rksearch.models.blocks import Transition
from rksearch.models.parts import BatchNorm


class ConvolvedFirst(Transition):
    """`Transition` in the order of its definition."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H / 2, W / 2)."""
        pooled: Tensor = self.pool(self.conv(F.relu_(self.norm(x))))
        return pooled


def as_usually_written(model: nn.Module) -> nn.Module:
    """`model` after its transitions have become transitions that convolve first, and its norms torch's own, in place.

    Ours differ by what changes numbers by rounding alone: the order, and the precision of compiled statistics.
    """
    usual = {Transition: ConvolvedFirst, BatchNorm: nn.BatchNorm2d}
    for module in model.modules():
        module.__class__ = usual.get(type(module), type(module))
    return model
