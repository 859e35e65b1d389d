"""Arithmetic of batch norm in the code that `torch.compile` makes for CPUs.

The compiler computes small values again wherever they are used: the variance of a channel becomes a scale once for
every pixel, and a division and a square root take longer than all other work on a pixel. Here the values of a channel
are written to memory once. Torch's own norm, compiled, also keeps the statistics of bfloat16 images in bfloat16 for its
backward pass; here they stay in float32.

All images are (N, C, H, W), and all parameters and statistics are (C,) in float32.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

PIXELS = (0, 2, 3)
"""Dimensions over which each channel is averaged."""


def applies_to(x: Tensor) -> bool:
    """Whether code for `x`, on a CPU and in float32 or bfloat16, is being compiled."""
    return torch.compiler.is_compiling() and x.device.type == "cpu" and x.dtype in (torch.float32, torch.bfloat16)


def mean_and_variance(x: Tensor) -> Tensor:
    """Means and variances of the batch itself, (2, C)."""
    variance, mean = torch.var_mean(x.float(), PIXELS, correction=0)
    return torch.stack((mean, variance))


def scaled(x: Tensor, weight: Tensor, bias: Tensor, statistics: Tensor, epsilon: float) -> Tensor:
    """Return (x - mean) / sqrt(variance + epsilon) * weight + bias in the type of x, from statistics (2, C)."""
    mean, variance = statistics
    scale = _written(weight * torch.rsqrt(variance + epsilon))
    shift = _written(bias - mean * scale)
    return (x.float() * _of_pixels(scale) + _of_pixels(shift)).to(x.dtype)


def normalised(x: Tensor, weight: Tensor, bias: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """Normalise x by its own statistics; returns the result and the statistics (2, C), which have no gradient."""
    y, statistics = _FusedNormalised.apply(x, weight, bias, epsilon)
    return y, statistics


class _FusedNormalised(torch.autograd.Function):
    """Operation behind `normalised`, with a gradient of its own.

    With z = (x - mean) s and s = 1 / sqrt(variance + epsilon), for an output w z + b and averages over n pixels, the
    gradients of x, w and b are w s (g - avg g - z avg g z), sum g z and sum g.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
        statistics = mean_and_variance(x)
        ctx.save_for_backward(x, weight, statistics)
        ctx.epsilon = epsilon
        ctx.mark_non_differentiable(statistics)
        return scaled(x, weight, bias, statistics, epsilon), statistics

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, (mean, variance) = ctx.saved_tensors
        g, centred = gradient.float(), x.float() - _of_pixels(mean)
        inverse = _written(torch.rsqrt(variance + ctx.epsilon))
        by_weight, by_bias = (g * centred).sum(PIXELS) * inverse, g.sum(PIXELS)
        count = x.numel() // x.shape[1]
        by_g = _written(weight * inverse)
        by_centred = _written(by_g * inverse * by_weight / -count)
        rest = _written(by_g * by_bias / -count)
        by_x = g * _of_pixels(by_g) + centred * _of_pixels(by_centred) + _of_pixels(rest)
        return by_x.to(x.dtype), by_weight, by_bias, None


def _written(parameters: Tensor) -> Tensor:
    """The parameters (C,), stored once and then read from memory: a view makes the compiler store its base."""
    return parameters.as_strided(parameters.shape, parameters.stride())


def _of_pixels(parameters: Tensor) -> Tensor:
    """Parameters (C,) as (C, 1, 1), to broadcast over pixels."""
    return parameters[:, None, None]
