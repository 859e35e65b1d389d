"""Blocks of RKCNNs, whose stages are refined from one another.

Layers, widths and counts are those of the authors' code (ZhuMai/RKCNN). Four of its settings are not, so that all
families here are trained alike:

=================  ====================================================  ===========================================
setting            the authors' code                                     here
=================  ====================================================  ===========================================
batch norm         eps 1e-3, running statistics move by 0.01 in a step   torch's defaults: 1e-5 and 0.1
convolutions       N(0, sqrt(2 / fan-in))                                N(0, sqrt(2 / fan-out)), as the RKNet paper
linear layers      Xavier uniform, bias 0                                torch's uniform weights, bias 0
dropout            after every convolution but the first one, 20 %       in transitions alone, off unless named
=================  ====================================================  ===========================================

Their recipe is `paper` with a batch of 32.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rksearch.arch.families.rkcnn import RKCNN
from rksearch.arch.family import Makers
from rksearch.models.activations import relu_of
from rksearch.models.blocks import DenseLayer, Transition, others
from rksearch.models.parts import Parts, side_by_side


class Stages(nn.Sequential):
    """The stage functions of one pass, as dense layers with a bottleneck."""

    def __init__(self, parts: Parts, path: str) -> None:
        super().__init__()
        for name, child in parts.children(path, "stage"):
            self.add_module(name, DenseLayer(parts, child))


class RKCNNStep(nn.Module):
    """v_j = f_j(concat(x, v_1, ..., v_{j-1})), then sweeps v_j = g_j(concat(x, all other v)); returns x + Σ_j v_j.

    In a sweep of variant I a new v_j replaces the old one at once; variant R reads the sweep before only.
    """

    def __init__(self, parts: Parts, path: str, at_once: bool) -> None:
        super().__init__()
        self.at_once = at_once
        self.explicit = Stages(parts, f"{path}.explicit")
        self.sweeps = [name for name, _ in parts.children(path, "sweep")]
        for name, child in parts.children(path, "sweep"):
            self.add_module(name, Stages(parts, child))

    def forward(self, x: Tensor) -> Tensor:
        """State (N, k, H, W) to the next state of the same shape."""
        values: list[Tensor] = []
        for stage in self.explicit:
            values.append(stage(side_by_side([x, *values])))
        for name in self.sweeps:
            old, values = values, list(values)
            for j, stage in enumerate(self.get_submodule(name).children()):
                values[j] = stage(side_by_side([x, *others(values if self.at_once else old, j)]))
        for value in values:
            x = x + value
        return x


class RKCNNPeriod(nn.Sequential):
    """r time-steps in a row, each with weights of its own."""

    def __init__(self, parts: Parts, path: str, spec: RKCNN) -> None:
        super().__init__()
        for name, child in parts.children(path, "step"):
            self.add_module(name, RKCNNStep(parts, child, at_once=spec.variant == "I"))


class ChannelAttention(nn.Module):
    """x * sigmoid(linear(relu(linear(mean(x)))))."""

    def __init__(self, parts: Parts, path: str) -> None:
        super().__init__()
        self.pool = parts[f"{path}.pool"]
        self.squeeze = parts[f"{path}.squeeze"]
        self.excite = parts[f"{path}.excite"]

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W), every channel scaled by one number between 0 and 1 for each image."""
        scale = torch.sigmoid(self.excite(relu_of(self.squeeze, self.pool(x).flatten(1))))
        return x * scale[:, :, None, None]


class RKCNNTransition(Transition):
    """avgpool2(attention(dropout(conv1x1(relu(bn(x)))))), dropout and attention where the spec has them."""

    def __init__(self, parts: Parts, path: str, spec: RKCNN) -> None:
        super().__init__(parts, path)
        self.drop = spec.dropout_pct / 100
        if spec.attention:
            self.attention = ChannelAttention(parts, f"{path}.attention")
        self.attends = spec.attention

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H / 2, W / 2)."""
        x = self.conv(relu_of(self.norm, x))
        if self.drop:
            x = F.dropout(x, self.drop, self.training)
        return self.pool(self.attention(x) if self.attends else x)


def makers(spec: RKCNN) -> Makers:
    """What builds periods and transitions."""
    return {
        "period": lambda parts, path: RKCNNPeriod(parts, path, spec),
        "transition": lambda parts, path: RKCNNTransition(parts, path, spec),
    }
