"""Operations on maps whose channels lie side by side, with gradients that the next kernels are quick to read.

Torch's kernels on a CPU are quick where all maps they meet are laid out alike, and its gradients often are not: that
of a mean or a slice is laid out channel by channel, and that of a part of a concatenation is some channels out of many.
What follows returns the same numbers in the layout of what it was given.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

LANES, MOST_BY_REST = 32, 16
"""Sums of bf16 maps take the first number of channels at once and the rest of a pixel's one by one, so that with 24
channels out of 36 a sum takes three times as long as a copy and a sum with that. A view is quicker again where it has
the second number of channels or more for each of the rest."""


def side_by_side(maps: Sequence[Tensor]) -> Tensor:
    """Feature maps (N, C_i, H, W) to their concatenation, (N, sum of C_i, H, W)."""
    if len(maps) == 1:
        return maps[0]
    ours = all(x.dtype == torch.bfloat16 and is_ordinary(x) for x in maps)
    concatenation: Tensor = _SideBySide.apply(*maps) if ours else torch.cat(list(maps), 1)
    return concatenation


def part(gradient: Tensor, channels: slice) -> Tensor:
    """These channels of a gradient (N, C, H, W) whose channels lie side by side: a copy where that is worth it."""
    view = gradient[:, channels]
    width = view.shape[1]
    slow = gradient.dtype == torch.bfloat16 and width % LANES * MOST_BY_REST > width
    return view.contiguous(memory_format=torch.channels_last) if slow else view


def mean_of_pixels(x: Tensor) -> Tensor:
    """(N, C, H, W) to the means of its channels, (N, C, 1, 1)."""
    if torch.compiler.is_compiling() and x.device.type == "cpu":
        # A kernel of torch's, whose gradient lies in memory. Fused, every block between here and the last change of
        # resolution computes the gradient of the mean anew, by pixel numbers, which no vector instruction can do.
        return F.avg_pool2d(x, x.shape[2:])
    mean: Tensor = _Mean.apply(x) if is_ordinary(x) else F.adaptive_avg_pool2d(x, 1)
    return mean


def every_second_pixel(x: Tensor) -> Tensor:
    """(N, C, H, W) to (N, C, H / 2, W / 2), rounded up; in autograd's view a pooling of single pixels."""
    return F.avg_pool2d(x, 1, 2)


def last_channels(x: Tensor, count: int) -> Tensor:
    """(N, C, H, W) to a view of its last channels, (N, count, H, W)."""
    view: Tensor = _LastChannels.apply(x, count) if is_ordinary(x) else x[:, x.shape[1] - count :]
    return view


def is_ordinary(x: Tensor) -> bool:
    """Whether `x`, (N, C, H, W) on a CPU, has its channels side by side, and nothing but autograd looks on."""
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
    """Maps to their concatenation along the channels."""

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
    """x to the means of its channels; keeps the shape alone, as torch's own does."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.shape = x.shape
        return F.adaptive_avg_pool2d(x, 1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        _, _, height, width = ctx.shape
        of_each = gradient / (height * width)
        return of_each.expand(ctx.shape).contiguous(memory_format=torch.channels_last)


class _LastChannels(torch.autograd.Function):
    """(x, how many channels) to a view of x; its gradient has zeros for the channels before."""

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
