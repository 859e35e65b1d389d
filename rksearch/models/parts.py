"""Leaf modules of a layout, and their initialisation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from rksearch.arch.layout import Layout, Row


class BatchNorm(nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d`, with float32 statistics in compiled code too.

    Torch's own, compiled for a CPU, keeps the statistics of bfloat16 maps in bfloat16 for its backward pass.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, C, H, W); shape and type stay."""
        if torch.compiler.is_compiling() and x.device.type == "cpu" and x.dtype == torch.bfloat16:
            return super().forward(x.float()).to(x.dtype)
        return super().forward(x)


def side_by_side(maps: Sequence[Tensor]) -> Tensor:
    """Concatenate feature maps (N, C_i, H, W) to (N, sum of C_i, H, W); a single one is returned as it is."""
    return maps[0] if len(maps) == 1 else torch.cat(list(maps), 1)


def leaf(row: Row) -> nn.Module:
    """The torch module that computes one row. Convolutions have no bias, and padding keeps the resolution."""
    match row.kind:
        case "conv":
            return nn.Conv2d(
                row.in_channels, row.out_channels, row.kernel, row.stride, padding=row.kernel // 2, bias=False
            )
        case "norm":
            return BatchNorm(row.in_channels)
        case "avgpool":
            return nn.AvgPool2d(row.kernel, row.stride)
        case "maxpool":
            return nn.MaxPool2d(row.kernel, row.stride, padding=row.kernel // 2)
        case "global_pool":
            return nn.AdaptiveAvgPool2d(1)
        case "linear":
            return nn.Linear(row.in_channels, row.out_channels)
        case "coefficients":
            raise AssertionError(f"{row.path} holds numbers of a method and is no layer; see rksearch.models.methods")


class Parts:
    """The leaf modules of a layout by path; rows that share weights share one module."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._owned = {row.path: leaf(row) for row in layout.rows if row.owns_weights and row.kind != "coefficients"}
        for module in self._owned.values():
            if not module.__module__.startswith(nn.__name__):
                # A graph of `torch.fx` has one node for a module of `torch.nn`, which it knows by this name. (The
                # compiler looks for longer names, and sees these modules as what they are.)
                module.__module__ = nn.__name__
        self._owner = {row.path: row.weight for row in layout.rows}

    def __getitem__(self, path: str) -> nn.Module:
        return self._owned[self._owner[path]]

    def children(self, prefix: str, kind: str) -> list[tuple[str, str]]:
        """(name, path) of the parts `kind1`, `kind2`, ... that lie directly under `prefix`, in order."""
        names = dict.fromkeys(row.path[len(prefix) + 1 :].split(".")[0] for row in self._layout.under(prefix))
        return [(name, f"{prefix}.{name}") for name in names if name.rstrip("0123456789") == kind]

    def has(self, path: str) -> bool:
        """Whether the layout has a row at `path`."""
        return path in self._owner


def number_of(path: str) -> int:
    """The number in the name of a top-level part: 2 of `period2`."""
    return int(path.lstrip("abcdefghijklmnopqrstuvwxyz"))


Maker = Callable[[Parts, str], nn.Module]
"""Builds the module of a top-level part of a network, such as `period1`, from its leaf modules and its path."""


def initialise(model: nn.Module) -> None:
    """Weights of the paper's recipe, drawn from torch's global generator in the order of the forward pass.

    Convolutions N(0, sqrt(2 / (kernel^2 * out channels))), batch norms scale 1 and shift 0, linear weights uniform as
    torch's own default, linear bias 0.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels
            nn.init.normal_(module.weight, 0.0, math.sqrt(2.0 / fan_out))
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            bound = 1.0 / math.sqrt(module.in_features)
            nn.init.uniform_(module.weight, -bound, bound)
            nn.init.zeros_(module.bias)
