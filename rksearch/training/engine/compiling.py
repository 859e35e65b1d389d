"""Decision whether to compile a training: a function of the trial alone, so that a repetition decides the same."""

from __future__ import annotations

import importlib.util
import os
import shutil
from dataclasses import dataclass

import torch

from rksearch.arch.layout import Layout
from rksearch.errors import DeviceError
from rksearch.training.engine.words import COMPILATION

COMPILE_BASE_S = 15.0
COMPILE_LAYER_S = 4.0
"""Processor seconds of compiling: in any case, and for every convolution, those with shared weights too."""

SAVED_NS_PER_VALUE = 3.0
"""Nanoseconds that one thread saves per output value of a batch norm and image (in bf16).

All three constants are rounded from three networks on one CPU; other CPUs differ. `rksearch bench train --compile on`
measures both sides.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Decision whether the training steps are compiled, with the reason in words for the user."""

    compiled: bool
    reason: str


EAGER = Choice(compiled=False, reason="not asked for")


def choose(wanted: str, net: Layout, device: torch.device, *, images: int, threads: int) -> Choice:
    """Decide for one training what `auto`, `on` or `off` means.

    Measured times do not enter: a trial that is resumed or repeated must decide as it did before.

    Args:
        wanted: `auto` compiles where that is expected to save more than it costs.
        net: the network.
        device: where it is trained.
        images: number of images that the training processes in full batches, over all its epochs.
        threads: CPU threads.

    Raises:
        DeviceError: another word.
    """
    if wanted not in COMPILATION:
        raise DeviceError(f"compile must be auto, on or off, but got {wanted!r}")
    if wanted == "off":
        return Choice(compiled=False, reason="not compiled, as asked")
    lacking = missing_compiler(device)
    if lacking:
        return Choice(compiled=False, reason=f"not compiled: {lacking}")
    if wanted == "on":
        return Choice(compiled=True, reason="compiled, as asked")
    if device.type != "cpu":
        return Choice(compiled=False, reason="not compiled: auto compiles on CPUs only; ask for it to compile here")
    cost_s, saved_s = compile_s(net), saved_s_per_image(net, threads) * images
    relation = "less" if cost_s < saved_s else "no less"
    return Choice(
        compiled=cost_s < saved_s,
        reason=f"{'' if cost_s < saved_s else 'not '}compiled: about {cost_s:.0f} s of compiling are {relation} than "
        f"the {saved_s:.0f} s that it is expected to save over {images:,} images on {threads} threads",
    )


def compile_s(net: Layout) -> float:
    """Estimated seconds of compiling the forward and backward pass."""
    return COMPILE_BASE_S + COMPILE_LAYER_S * sum(row.kind == "conv" for row in net.rows)


def saved_s_per_image(net: Layout, threads: int) -> float:
    """Estimated seconds of training that compiled code saves for one image.

    Compiling fuses the steps between convolutions, whose cost grows with the values that they read and write.
    """
    values = sum(row.out_channels * row.out_size.area for row in net.rows if row.kind == "norm")
    return SAVED_NS_PER_VALUE * 1e-9 * values / threads


def missing_compiler(device: torch.device) -> str | None:
    """Missing requirement for compiling for `device` here, in words for the user; None where nothing is missing."""
    if not any(shutil.which(name) for name in (os.environ.get("CXX", ""), "g++", "clang++") if name):
        return "there is no C++ compiler (g++ or clang++) on the PATH"
    if device.type == "cuda" and importlib.util.find_spec("triton") is None:
        return "triton is not installed"
    return None
