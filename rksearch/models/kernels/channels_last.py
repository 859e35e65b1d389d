"""Operations on channels-last maps whose gradients are channels-last too.

Torch's kernels on a CPU are fast where all their inputs have the same memory layout. Torch's gradients often have
another: the gradient of a mean or a slice is laid out channel by channel, and that of a part of a concatenation is a
view of some channels out of many. The operations here return the same numbers in the layout of their input.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

LANES, MOST_BY_REST = 32, 16
"""Sums of bf16 maps process `LANES` channels of a pixel at once and the remaining ones singly: with 24 channels out of
36 a sum takes three times as long as a copy and a sum with that copy. A view is faster again where it has at least
`MOST_BY_REST` channels for each remaining one."""


def side_by_side(maps: Sequence[Tensor]) -> Tensor:
    """Concatenate feature maps (N, C_i, H, W) to (N, sum of C_i, H, W)."""
    if len(maps) == 1:
        return maps[0]
    ours = all(x.dtype == torch.bfloat16 and is_ordinary(x) for x in maps)
    concatenation: Tensor = _SideBySide.apply(*maps) if ours else torch.cat(list(maps), 1)
    return concatenation


def part(gradient: Tensor, channels: slice) -> Tensor:
    """Some channels of a channels-last gradient (N, C, H, W): a copy where that saves time, else a view."""
    view = gradient[:, channels]
    width = view.shape[1]
    slow = gradient.dtype == torch.bfloat16 and width % LANES * MOST_BY_REST > width
    return view.contiguous(memory_format=torch.channels_last) if slow else view


def mean_of_pixels(x: Tensor) -> Tensor:
    """Means of the channels of (N, C, H, W), as (N, C, 1, 1)."""
    if torch.compiler.is_compiling() and x.device.type == "cpu":
        # A kernel of torch's, whose gradient is stored. If the mean were fused, every block between here and the last
        # change of resolution would compute its gradient again, by pixel numbers, without vector instructions.
        return F.avg_pool2d(x, x.shape[2:])
    mean: Tensor = _Mean.apply(x) if is_ordinary(x) else F.adaptive_avg_pool2d(x, 1)
    return mean


def every_second_pixel(x: Tensor) -> Tensor:
    """Every second pixel of (N, C, H, W): (N, C, H / 2, W / 2), rounded up; for autograd a pooling of single pixels."""
    return F.avg_pool2d(x, 1, 2)


def last_channels(x: Tensor, count: int) -> Tensor:
    """View of the last channels of (N, C, H, W), as (N, count, H, W)."""
    view: Tensor = _LastChannels.apply(x, count) if is_ordinary(x) else x[:, x.shape[1] - count :]
    return view


def is_ordinary(x: Tensor) -> bool:
    """Whether `x`, (N, C, H, W) on a CPU, is channels-last and neither compiled, traced nor under `torch.func`."""
    return (
        x.device.type == "cpu"
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
        and torch._C._functorch.peek_interpreter_stack() is None
        and x.dim() == 4
        and x.is_contiguous(memory_format=torch.channels_last)
        and not x.is_contiguous()
    )


class _SideBySide(torch.autograd.Function):
    """Concatenation along the channels."""

    @staticmethod
    def forward(ctx: Any, *maps: Tensor) -> Tensor:
        ctx.widths = [x.shape[1] for x in maps]
        return torch.cat(maps, 1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        ends = accumulate(ctx.widths)
        return tuple(part(gradient, slice(end - width, end)) for width, end in zip(ctx.widths, ends, strict=True))


class _Mean(torch.autograd.Function):
    """Means of the channels; saves only the shape, as torch's own operation does."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.shape = x.shape
        return F.adaptive_avg_pool2d(x, 1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        _, _, height, width = ctx.shape
        by_pixel = gradient / (height * width)
        return by_pixel.expand(ctx.shape).contiguous(memory_format=torch.channels_last)


class _LastChannels(torch.autograd.Function):
    """View of the last `count` channels of x; its gradient is zero for the channels before."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, count: int) -> Tensor:
        ctx.shape, ctx.count = x.shape, count
        return x[:, x.shape[1] - count :]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        by_x = torch.empty(ctx.shape, dtype=gradient.dtype, memory_format=torch.channels_last).zero_()
        by_x[:, ctx.shape[1] - ctx.count :] = gradient
        return by_x, None
