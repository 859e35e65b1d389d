"""Bounds on the speed of a training: its operations and bytes over the measured peaks of the device.

Operations of a step are three times the forward pass (gradients by input and by weight cost as much each), two for a
multiply-add. Bytes are those that must cross the memory even if everything between two convolutions is fused into the
fewest passes that exact batch statistics allow, counted from the layout, in the precision of the activations:

convolution, linear   three products, each reading or writing its input and its output once: 3 (in + out)
batch norm with ReLU  forward: statistics, then normalise: 3 in; backward: two sums, then the gradient: 5 in
pooling               forward and backward: 2 (in + out)
weights               per step: read and gradient in every product, and the optimiser's passes: 10 times 4 bytes each

A transition counts as it is computed, pooled before it is convolved. Concatenations, sums, the copy of the weights to
bfloat16 and the data are left out, so the estimate is a bound from below for networks that do not fit into a cache;
small ones may beat its bandwidth part.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from rksearch.arch.cost import layout_cost
from rksearch.arch.layout import Layout
from rksearch.training.engine.precision import Precision

REPEATS = 5
MATRIX = 2048
IMAGES, CHANNELS, SIZE = 64, 64, 32
COPY_BYTES = 256 * 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceilings:
    """Peaks of a device, the best of a few tries.

    Attributes:
        precision: precision of the products.
        matmul_flops: floating-point operations a second of a product of two square matrices.
        conv_flops: the same of a 3x3 convolution of 64 to 64 channels over 64 images of 32x32, channels last.
        copy_bytes: bytes a second read and written by a copy of an array far larger than the caches.
    """

    precision: Precision
    matmul_flops: float
    conv_flops: float
    copy_bytes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Roofline:
    """Bounds on one step, in seconds.

    Attributes:
        flops: floating-point operations of the step.
        bytes: bytes that it must move at least.
        compute_s: flops over the faster of the measured products.
        memory_s: bytes over the measured copy.
        bound_s: the larger of the two.
    """

    flops: float
    bytes: float
    compute_s: float
    memory_s: float
    bound_s: float


def measure_ceilings(
    device: torch.device, precision: Precision, clock: Callable[[], float] = time.perf_counter
) -> Ceilings:
    """Measure the products and the copy, a few times each, by the clock that also measures the training."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a = torch.randn(MATRIX, MATRIX, device=device, dtype=dtype)
    x = torch.randn(IMAGES, CHANNELS, SIZE, SIZE, device=device, dtype=dtype)
    x = x.contiguous(memory_format=torch.channels_last)
    w = torch.randn(CHANNELS, CHANNELS, 3, 3, device=device, dtype=dtype)
    w = w.contiguous(memory_format=torch.channels_last)
    source = torch.zeros(COPY_BYTES, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    with torch.no_grad():
        matmul_s = _fastest_s(lambda: a @ a, device, clock)
        conv_s = _fastest_s(lambda: F.conv2d(x, w, padding=1), device, clock)
        copy_s = _fastest_s(lambda: target.copy_(source), device, clock)
    return Ceilings(
        precision=precision,
        matmul_flops=2 * MATRIX**3 / matmul_s,
        conv_flops=2 * IMAGES * SIZE**2 * CHANNELS**2 * 9 / conv_s,
        copy_bytes=2 * COPY_BYTES / copy_s,
    )


def roofline(net: Layout, batch_size: int, ceilings: Ceilings) -> Roofline:
    """Bounds on a training step of `net`."""
    net = net.as_trained()
    counts = layout_cost(net)
    flops = 6.0 * counts.macs * batch_size
    moved = float(step_bytes(net, batch_size, 2 if ceilings.precision == "bf16" else 4))
    compute_s = flops / max(ceilings.matmul_flops, ceilings.conv_flops)
    memory_s = moved / ceilings.copy_bytes
    return Roofline(flops=flops, bytes=moved, compute_s=compute_s, memory_s=memory_s, bound_s=max(compute_s, memory_s))


def step_bytes(net: Layout, batch_size: int, value_bytes: int) -> int:
    """Bytes that one training step must move; see the module docstring."""
    values = 0
    for row in net.rows:
        read, written = row.in_channels * row.in_size.area, row.out_channels * row.out_size.area
        match row.kind:
            case "conv" | "linear":
                values += 3 * (read + written)
            case "norm":
                values += 8 * read
            case "avgpool" | "maxpool" | "global_pool":
                values += 2 * (read + written)
            case "coefficients":
                pass
    return values * value_bytes * batch_size + 10 * 4 * layout_cost(net).params


def _fastest_s(work: Callable[[], object], device: torch.device, clock: Callable[[], float]) -> float:
    """Seconds of the fastest of a few runs after a warm-up."""
    work()
    times = []
    for _ in range(REPEATS):
        synchronise(device)
        start = clock()
        work()
        synchronise(device)
        times.append(clock() - start)
    return min(times)


def synchronise(device: torch.device) -> None:
    """Wait until the device has finished all its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
