"""Batch normalisation whose speed on a CPU does not depend on how many channels there are."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

VECTOR = 16
"""torch's kernels for channels-last images work on so many channels at a time, and one by one on the rest of them.

With 36 channels the rest costs several times what the first 32 do, forward and backward; see reports/performance.
"""

WIDTH = 64
"""Pixels are taken together until their channels are a multiple of this."""

MOST_CHANNELS, FEWEST_PIXELS = 128, 2**14
"""Where there are more channels the rest matters less, and where there are fewer pixels the few small operations more
that it takes do not pay."""


class BatchNorm(nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d`, the same function, faster for narrow channels-last images in training on a CPU.

    There, p neighbouring pixels of C channels are normalised as one of p * C channels, which are as the kernels like
    them; means and variances of the p copies of a channel are then joined exactly. Results differ from torch's own by
    rounding alone. Elsewhere (other channels, layouts or devices, evaluation, compiling, exporting, `torch.func`) this
    is torch's own.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape, normalised by the batch in training and by running statistics otherwise."""
        together = WIDTH // math.gcd(x.shape[1], WIDTH)
        if not (self.training and _pays(x, together)):
            return super().forward(x)
        y, mean, variance = _Grouped.apply(x, self.weight, self.bias, together, self.eps)
        self._track(mean, variance, x.numel() // x.shape[1])
        return y

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Running statistics as torch's, with the variance of a sample."""
        assert self.num_batches_tracked is not None
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.momentum is not None
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)


def _pays(x: Tensor, together: int) -> bool:
    """Whether to take so many pixels of `x` together: they lie side by side, and only ordinary autograd looks on."""
    pixels = x.numel() // x.shape[1]
    return (
        x.device.type == "cpu"
        and x.shape[1] % VECTOR != 0
        and x.shape[1] <= MOST_CHANNELS
        and pixels >= FEWEST_PIXELS
        and pixels % together == 0
        and x.is_contiguous(memory_format=torch.channels_last)
        and not x.is_contiguous()
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
        and torch._C._functorch.peek_interpreter_stack() is None
    )


class _Grouped(torch.autograd.Function):
    """(x, weight, bias, pixels, epsilon) to normalised x, mean (C,) and variance (C,), the last two without gradients.

    Forward: with means mu_i and variances v_i of the p copies of a channel, mean = avg mu_i and
    variance = avg v_i + avg (mu_i - mean)^2. Backward: dx = w s (g - avg g - z avg(g z)) with s = 1 / sqrt(variance +
    epsilon) and z = (x - mean) s; the averages are sums over the copies, and what remains is linear in g and in x.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, pixels: int, eps: float) -> tuple[Tensor, ...]:
        channels = x.shape[1]
        grouped = _group(x, pixels)
        # The kernel computes in float32 what it can update a float32 statistic with.
        unused = weight.new_zeros(channels * pixels)
        means, variances = (
            part.view(pixels, channels) for part in torch.batch_norm_update_stats(grouped, unused, unused.clone(), 0.0)
        )
        mean = means.mean(0)
        variance = variances.mean(0) + (means - mean).square_().mean(0)
        y = torch.empty_like(x)  # whose view is written to, because a view that is returned must not be changed
        _scale(grouped, weight, bias, mean, variance, pixels, eps, _group(y, pixels))
        ctx.save_for_backward(x, weight, mean, variance)
        ctx.pixels, ctx.eps = pixels, eps
        ctx.mark_non_differentiable(mean, variance)
        return y, mean, variance

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, variance = ctx.saved_tensors
        channels, pixels, eps = x.shape[1], ctx.pixels, ctx.eps
        grouped = _group(x, pixels)
        # As if the statistics were constants: w s g, and the sums of g z and of g over the pixels of each copy.
        dx, by_weight, by_bias = torch.ops.aten.native_batch_norm_backward(
            _group(gradient.contiguous(memory_format=torch.channels_last), pixels),
            grouped,
            weight.repeat(pixels),
            mean.repeat(pixels),
            variance.repeat(pixels),
            None,
            None,
            False,
            eps,
            [True, True, True],
        )
        by_weight = by_weight.view(pixels, channels).sum(0)
        by_bias = by_bias.view(pixels, channels).sum(0)
        # And what the statistics' own gradients add: -w s (avg g + z avg(g z)), a scaling of z.
        scale = -weight * torch.rsqrt(variance + eps) / (x.numel() // channels)
        dx.add_(_scale(grouped, scale * by_weight, scale * by_bias, mean, variance, pixels, eps, torch.empty_like(dx)))
        return _ungroup(dx, x), by_weight, by_bias, None, None


def _scale(
    grouped: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, pixels: int, eps: float, out: Tensor
) -> Tensor:
    """(grouped - mean) / sqrt(variance + eps) * weight + bias, whose parameters are given for one pixel, (C,)."""
    weight, bias, mean, variance = (part.repeat(pixels) for part in (weight, bias, mean, variance))
    none = weight.new_empty(0)
    torch.ops.aten.native_batch_norm.out(
        grouped, weight, bias, mean, variance, False, 0.0, eps, out=out, save_mean=none, save_invstd=none
    )
    return out


def _group(x: Tensor, pixels: int) -> Tensor:
    """(N, C, H, W) to a view of shape (1, pixels * C, N * H * W / pixels, 1), channels last."""
    return x.permute(0, 2, 3, 1).view(1, -1, 1, pixels * x.shape[1]).permute(0, 3, 1, 2)


def _ungroup(y: Tensor, like: Tensor) -> Tensor:
    """The inverse of `_group` for a tensor of the shape of `like`."""
    count, channels, height, width = like.shape
    return y.permute(0, 2, 3, 1).view(count, height, width, channels).permute(0, 3, 1, 2)
