"""Batch normalisation that computes the statistics of a feature once, however many layers read it.

In a dense block every layer normalises the features of all layers before it, by their means and variances over the
batch. These are the same for all readers of a feature, so they are computed once. In the backward pass the gradients
of all readers are summed in the statistics, then passed to the feature once. A reader itself only scales, and its
gradient takes one pass over the feature instead of two.

Torch's own norms are used on GPUs, in evaluation, under `torch.func` and where sharing saves no time. Code that is
compiled for a CPU uses the arithmetic of `fused`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from rksearch.models.kernels import fused, pixels
from rksearch.models.kernels.channels_last import is_ordinary, part

FEWEST_PIXELS = 2**14
"""Minimum of images x pixels in a batch: with fewer, the extra small operations cost more than they save."""

MOST_CHANNELS, VECTOR = 128, 16
"""Limits for features with one reader: torch's kernel is slow where the channels are no multiple of `VECTOR`, which
matters little with more than `MOST_CHANNELS` of them."""


class BatchNorm(nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d` that can be passed the statistics of its input.

    Results differ from torch's own by rounding only.
    """

    def forward(self, x: Tensor, statistics: Tensor | None = None) -> Tensor:
        """Normalise (N, C, H, W) by the batch in training, by running statistics otherwise; the shape stays.

        Args:
            x: the feature maps.
            statistics: their means and variances, (2, C), from `statistics_of` or `joined`; None to compute them.
        """
        compiled = fused.applies_to(x)
        if not self.training or (statistics is None and not (compiled or is_slow(x))):
            return super().forward(x)
        if statistics is None:
            own = fused.normalised if compiled else _Normalised.apply
            y, statistics = own(x, self.weight, self.bias, self.eps)
        elif compiled:
            y = fused.scaled(x, self.weight, self.bias, statistics, self.eps)
        else:
            y = _NormalisedBy.apply(x, self.weight, self.bias, statistics, self.eps)
        self._track(statistics.detach(), x.numel() // x.shape[1])
        normalised: Tensor = y
        return normalised

    @torch.no_grad()
    def _track(self, statistics: Tensor, count: int) -> None:
        """Update the running statistics as torch does, with the unbiased variance."""
        assert self.num_batches_tracked is not None
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.momentum is not None
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(statistics[0], self.momentum)
        self.running_var.lerp_(statistics[1] * (count / (count - 1)), self.momentum)


def can_share(x: Tensor) -> bool:
    """Whether norms that read `x`, (N, C, H, W), can share its statistics and are faster then."""
    return fused.applies_to(x) or _is_ours(x)


def statistics_of(x: Tensor) -> Tensor:
    """Means and (biased) variances of the channels, (2, C) in float32, for norms to share."""
    if fused.applies_to(x):
        return fused.mean_and_variance(x)
    statistics: Tensor = _Statistics.apply(x)
    return statistics


def joined(x: Tensor, statistics: Tensor, more: Tensor) -> tuple[Tensor, Tensor]:
    """Concatenate `x` and `more` to (N, C + k, H, W); returns it with its statistics, which extend those of x."""
    if fused.applies_to(x):
        return torch.cat([x, more], 1), torch.cat([statistics, statistics_of(more)], 1)
    both: tuple[Tensor, Tensor] = _Joined.apply(x, statistics, more)
    return both


def is_slow(x: Tensor) -> bool:
    """Whether torch's own norm is slow for `x` and the one here applies."""
    return x.shape[1] % VECTOR != 0 and x.shape[1] <= MOST_CHANNELS and _is_ours(x)


def _is_ours(x: Tensor) -> bool:
    """Whether the operations here apply to `x`: enough pixels, channels-last, under ordinary autograd."""
    return x.dtype in (torch.float32, torch.bfloat16) and x.numel() // x.shape[1] >= FEWEST_PIXELS and is_ordinary(x)


class _Normalised(torch.autograd.Function):
    """Normalisation by the input's own statistics; returns these too, (2, C), without gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
        statistics = pixels.mean_and_variance(x)
        ctx.save_for_backward(x, weight, statistics)
        ctx.epsilon = epsilon
        ctx.mark_non_differentiable(statistics)
        return pixels.scaled(x, weight, bias, statistics, epsilon), statistics

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, statistics = ctx.saved_tensors
        by_x, by_weight, by_bias, *by_statistics = _gradients(gradient, x, weight, statistics, ctx.epsilon)
        by_x += pixels.gradient_through_statistics(x, statistics[0], *by_statistics)
        return by_x, by_weight, by_bias, None


class _NormalisedBy(torch.autograd.Function):
    """Normalisation by given statistics, which receive a gradient too."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, statistics: Tensor, epsilon: float) -> Tensor:
        ctx.save_for_backward(x, weight, statistics)
        ctx.epsilon = epsilon
        return pixels.scaled(x, weight, bias, statistics, epsilon)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, statistics = ctx.saved_tensors
        by_x, by_weight, by_bias, *by_statistics = _gradients(gradient, x, weight, statistics, ctx.epsilon)
        return by_x, by_weight, by_bias, torch.stack(by_statistics), None


def _gradients(
    gradient: Tensor, x: Tensor, weight: Tensor, statistics: Tensor, epsilon: float
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of x, weight, bias, mean and variance, each with the others held fixed.

    dmean = -w s sum g and dvariance = -1/2 w s^2 sum g z, in the terms of `pixels.gradients_of_scaled`.
    """
    by_x, by_weight, by_bias = pixels.gradients_of_scaled(gradient, x, weight, statistics, epsilon)
    inverse = torch.rsqrt(statistics[1] + epsilon)
    scale = -weight * inverse
    return by_x, by_weight, by_bias, scale * by_bias, 0.5 * scale * inverse * by_weight


class _Statistics(torch.autograd.Function):
    """Means and variances of x, (2, C)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        statistics = pixels.mean_and_variance(x)
        ctx.save_for_backward(x, statistics)
        return statistics

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        x, statistics = ctx.saved_tensors
        return pixels.gradient_through_statistics(x, statistics[0], *gradient)


class _Joined(torch.autograd.Function):
    """Concatenation of x and more, with the statistics of both.

    It saves its outputs for the backward pass; the readers save the same tensors.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, statistics: Tensor, more: Tensor) -> tuple[Tensor, Tensor]:
        both = torch.cat([x, more], 1).contiguous(memory_format=torch.channels_last)
        statistics = torch.cat([statistics, pixels.mean_and_variance(more)], 1)
        ctx.save_for_backward(both, statistics)
        ctx.channels = x.shape[1]
        return both, statistics

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor, by_statistics: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        both, statistics = ctx.saved_tensors
        old, new = slice(None, ctx.channels), slice(ctx.channels, None)
        # Copies, because a sum over a few channels out of many takes several times as long.
        more, by_more = (t[:, new].contiguous(memory_format=torch.channels_last) for t in (both, gradient))
        by_more += pixels.gradient_through_statistics(more, statistics[0, new], *by_statistics[:, new])
        return part(gradient, old), by_statistics[:, old], by_more
