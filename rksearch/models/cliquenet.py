"""Blocks of CliqueNets, whose layers are refined from one another."""

from __future__ import annotations

from torch import Tensor, nn

from rksearch.arch.families.cliquenet import CliqueNet
from rksearch.arch.family import Makers
from rksearch.models.activations import relu_of
from rksearch.models.blocks import Transition, others
from rksearch.models.parts import Parts, side_by_side


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
        groups = relu_of(self.norm, seen).split(widths, 1)
        total = convolutions[0](groups[0])
        for i, conv in enumerate(convolutions[1:], 1):
            total = total + conv(groups[i])
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
        return super().forward(x[:, -self.width :])


def makers(spec: CliqueNet) -> Makers:
    """What builds clique blocks and transitions."""
    return {"block": CliqueBlock, "transition": CliqueTransition}
