"""Blocks of the networks that refine their layers from one another: RKCNN and CliqueNet."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rksearch.arch import RKCNN
from rksearch.models.blocks import DenseLayer, Head, Transition
from rksearch.models.kernels.channels_last import last_channels, side_by_side
from rksearch.models.methods import others
from rksearch.models.parts import Parts


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
        scale = torch.sigmoid(self.excite(F.relu_(self.squeeze(self.pool(x).flatten(1)))))
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
        x = self.conv(F.relu_(self.norm(x)))
        if self.drop:
            x = F.dropout(x, self.drop, self.training)
        return self.pool(self.attention(x) if self.attends else x)


class CliqueLayer(nn.Module):
    """conv3x3(relu(bn(concat(...)))) with one convolution for each group of inputs; their results are summed.

    In stage I layer j reads the block's input and the layers before it; in stage II the layers before it (already new)
    and those after it (still old), the former with stage I's weights.
    """

    def __init__(self, parts: Parts, path: str) -> None:
        super().__init__()
        self.norm = parts[f"{path}.norm"]
        self.sources = [name for name in ("input", "before", "after") if parts.has(f"{path}.{name}")]
        for name in self.sources:
            self.add_module(name, parts[f"{path}.{name}"])

    def forward(self, seen: Tensor) -> Tensor:
        """All inputs (N, C, H, W), in the order of `sources`, to the layer's k channels."""
        convolutions = [self.get_submodule(name) for name in self.sources]
        widths = [conv.in_channels for conv in convolutions]
        groups = F.relu_(self.norm(seen)).split(widths, 1)
        total = convolutions[0](groups[0])
        for conv, group in zip(convolutions[1:], groups[1:], strict=True):
            total = total + conv(group)
        return total


class CliqueStage(nn.Sequential):
    """The layers of stage I or stage II."""

    def __init__(self, parts: Parts, path: str) -> None:
        super().__init__()
        for name, child in parts.children(path, "layer"):
            self.add_module(name, CliqueLayer(parts, child))


class CliqueBlock(nn.Module):
    """Stage I is dense from x; stage II recomputes every layer from all others, the newest first, without x."""

    def __init__(self, parts: Parts, path: str) -> None:
        super().__init__()
        self.stage1 = CliqueStage(parts, f"{path}.stage1")
        self.stage2 = CliqueStage(parts, f"{path}.stage2")

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to concat(x, all layers after stage II), (N, C + L * k, H, W)."""
        values: list[Tensor] = []
        for layer in self.stage1:
            values.append(layer(side_by_side([x, *values])))
        for j, layer in enumerate(self.stage2):
            values[j] = layer(side_by_side(others(values, j)))
        return side_by_side([x, *values])


class CliqueTransition(Transition):
    """avgpool2(conv1x1(relu(bn(stage II)))): what the block read is left behind."""

    def __init__(self, parts: Parts, path: str) -> None:
        super().__init__(parts, path)
        self.width = parts[f"{path}.norm"].get_parameter("weight").numel()

    def forward(self, x: Tensor) -> Tensor:
        """A block's (N, C + L * k, H, W) to (N, L * k, H / 2, W / 2)."""
        return super().forward(last_channels(x, self.width))


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
