"""Arithmetic of batch norm on a CPU, by torch's kernels, over several neighbouring pixels taken as one.

The kernels for channels-last images process 16 channels of a pixel at once and the remaining ones singly: of 36
channels the last 4 cost several times as much as the first 32. Here p pixels of C channels are viewed as one pixel of
p * C channels, a multiple of 16; sums over the p copies of a channel then equal the sums of that channel.

All images are channels-last (N, C, H, W), and all parameters and statistics are (C,) in float32.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

WIDTH, LEAST_WIDTH = 64, 512
"""Pixels are grouped until their channels are a multiple of `WIDTH` and at least `LEAST_WIDTH`."""


def mean_and_variance(x: Tensor) -> Tensor:
    """Means and variances of the batch itself, (2, C).

    From the means mu_i and variances v_i of the p copies of a channel: avg mu_i and avg v_i + avg (mu_i - mean)^2.
    """
    pixels = pixels_together(x)
    # Float32 statistics to update make the kernel compute in float32.
    unused = torch.zeros(2, pixels * x.shape[1])
    found = torch.batch_norm_update_stats(_group(x, pixels), unused[0], unused[1], 0.0)
    copies = torch.stack(found).view(2, pixels, -1)
    statistics = copies.mean(1)
    statistics[1] += (copies[0] - statistics[0]).square_().mean(0)
    return statistics


def scaled(x: Tensor, weight: Tensor, bias: Tensor, statistics: Tensor, epsilon: float) -> Tensor:
    """Return (x - mean) / sqrt(variance + epsilon) * weight + bias in the type of x, from statistics (2, C)."""
    pixels = pixels_together(x)
    y = torch.empty_like(x)  # written through a view, because autograd forbids changing a returned view
    parameters = torch.stack((weight, bias, *statistics)).repeat(1, pixels)
    none = weight.new_empty(0)
    torch.ops.aten.native_batch_norm.out(
        _group(x, pixels), *parameters, False, 0.0, epsilon, out=_group(y, pixels), save_mean=none, save_invstd=none
    )
    return y


def gradients_of_scaled(
    gradient: Tensor, x: Tensor, weight: Tensor, statistics: Tensor, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x, weight and bias from the gradient of `scaled`, for constant statistics (2, C).

    With z = (x - mean) s and s = 1 / sqrt(variance + epsilon), for an output w z + b: w s g, sum g z and sum g.
    """
    pixels = pixels_together(x)
    repeated = torch.stack((weight, *statistics)).repeat(1, pixels)
    by_x, by_weight, by_bias = torch.ops.aten.native_batch_norm_backward(
        _group(gradient.contiguous(memory_format=torch.channels_last), pixels),
        _group(x, pixels),
        *repeated,
        None,
        None,
        False,
        epsilon,
        [True, True, True],
    )
    by_parameters = torch.stack((by_weight, by_bias)).view(2, pixels, -1).sum(1)
    return _ungroup(by_x, x), by_parameters[0], by_parameters[1]


def gradient_through_statistics(x: Tensor, mean: Tensor, by_mean: Tensor, by_variance: Tensor) -> Tensor:
    """Gradient of x from those of its mean and variance: (dmean + 2 dvariance (x - mean)) / pixels."""
    count = x.numel() // x.shape[1]
    by_one = torch.stack((mean, torch.ones_like(mean)))
    return scaled(x, by_variance * (2 / count), by_mean / count, by_one, 0.0)


def pixels_together(x: Tensor) -> int:
    """Number of neighbouring pixels in a group; 1 where groups would not divide the pixels of the batch."""
    channels = x.shape[1]
    pixels = WIDTH // math.gcd(channels, WIDTH)
    while pixels * channels < LEAST_WIDTH:
        pixels *= 2
    return pixels if x.numel() // channels % pixels == 0 else 1


def _group(x: Tensor, pixels: int) -> Tensor:
    """View of (N, C, H, W) as (1, pixels * C, N * H * W / pixels, 1), channels-last."""
    return x.permute(0, 2, 3, 1).view(1, -1, 1, pixels * x.shape[1]).permute(0, 3, 1, 2)


def _ungroup(y: Tensor, like: Tensor) -> Tensor:
    """View that inverts `_group`, in the shape of `like`."""
    count, channels, height, width = like.shape
    return y.permute(0, 2, 3, 1).view(count, height, width, channels).permute(0, 3, 1, 2)
