"""Batch norm's arithmetic on a CPU, by torch's kernels, over several neighbouring pixels taken as one.

The kernels for channels-last images work on 16 channels at a time and one by one on the rest of them, and begin anew
with every pixel: of 36 channels the last 4 cost several times what the first 32 do. Here p pixels of C channels are one
of p * C channels, of which there is no rest; sums over the p copies of a channel are then what the channel's would be.

All images are (N, C, H, W) with their channels side by side, and all parameters and statistics are (C,) in float32.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

WIDTH, LEAST_WIDTH = 64, 512
"""Pixels are taken together until their channels are a multiple of the first and no fewer than the second."""


def mean_and_variance(x: Tensor) -> Tensor:
    """Means and variances of the batch itself, (2, C).

    With means mu_i and variances v_i of the p copies of a channel: avg mu_i and avg v_i + avg (mu_i - mean)^2.
    """
    pixels = _together(x)
    # The kernel computes in float32 what it can update a float32 statistic with.
    unused = torch.zeros(2, pixels * x.shape[1])
    found = torch.batch_norm_update_stats(_group(x, pixels), unused[0], unused[1], 0.0)
    copies = torch.stack(found).view(2, pixels, -1)
    statistics = copies.mean(1)
    statistics[1] += (copies[0] - statistics[0]).square_().mean(0)
    return statistics


def scaled(x: Tensor, weight: Tensor, bias: Tensor, statistics: Tensor, epsilon: float) -> Tensor:
    """(x - mean) / sqrt(variance + epsilon) * weight + bias, like x, by statistics (2, C)."""
    pixels = _together(x)
    y = torch.empty_like(x)  # whose view is written to, because a view that is returned must not be changed
    parameters = torch.stack((weight, bias, *statistics)).repeat(1, pixels)
    none = weight.new_empty(0)
    torch.ops.aten.native_batch_norm.out(
        _group(x, pixels), *parameters, False, 0.0, epsilon, out=_group(y, pixels), save_mean=none, save_invstd=none
    )
    return y


def gradients_of_scaled(
    gradient: Tensor, x: Tensor, weight: Tensor, statistics: Tensor, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x, the weight and the bias, from that of `scaled`, when the statistics (2, C) are constants.

    With z = (x - mean) s and s = 1 / sqrt(variance + epsilon), for an output w z + b: w s g, sum g z and sum g.
    """
    pixels = _together(x)
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
    """What the gradients of mean and variance mean for x: (dmean + 2 dvariance (x - mean)) / pixels."""
    count = x.numel() // x.shape[1]
    by_one = torch.stack((mean, torch.ones_like(mean)))
    return scaled(x, by_variance * (2 / count), by_mean / count, by_one, 0.0)


def _together(x: Tensor) -> int:
    """How many neighbouring pixels are taken as one; 1 where they do not divide the batch's."""
    channels = x.shape[1]
    pixels = WIDTH // math.gcd(channels, WIDTH)
    while pixels * channels < LEAST_WIDTH:
        pixels *= 2
    return pixels if x.numel() // channels % pixels == 0 else 1


def _group(x: Tensor, pixels: int) -> Tensor:
    """(N, C, H, W) to a view of shape (1, pixels * C, N * H * W / pixels, 1), channels last."""
    return x.permute(0, 2, 3, 1).view(1, -1, 1, pixels * x.shape[1]).permute(0, 3, 1, 2)


def _ungroup(y: Tensor, like: Tensor) -> Tensor:
    """The inverse of `_group` for a tensor of the shape of `like`."""
    count, channels, height, width = like.shape
    return y.permute(0, 2, 3, 1).view(count, height, width, channels).permute(0, 3, 1, 2)
