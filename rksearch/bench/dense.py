"""Variants of a dense block and of a time-step, to measure what each optimisation inside of them saves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rksearch.arch import parse
from rksearch.data.facts import Dataset
from rksearch.models import build
from rksearch.models.densenet import DenseBlock
from rksearch.models.rknet import TimeStep
from rksearch.training.engine.device import autocast
from rksearch.training.engine.step import Forward
from rksearch.training.trainer import seed_everything

if TYPE_CHECKING:
    from rksearch.bench.settings import BenchSettings

NETWORK = "DenseNet-BC-40-k12"
"""Its first block has 6 layers over 24 channels at full resolution."""

PASSES = {
    "as it is": 21,
    "prealloc": 19,
    "fused": 8,
}
"""Times that a value of a layer's input crosses the memory, forward and backward: concatenation 2, batch norm 3 + 5,
ReLU 2 + 3, sum of gradients 3, convolution 3. Without copies: -2. All between two convolutions in one: batch norm with
ReLU 5, convolution 3."""

STEP = "RKNet-k12-m1-3x1"
"""A network of one narrow time-step: 3 layers over 12 channels at full resolution."""

BlockPair = tuple[str, str, float, str, Callable[[], object], Callable[[], object]]


def block_pairs(data: Dataset, settings: BenchSettings, compiled: bool) -> Iterator[BlockPair]:
    """(name, subject, predicted, because, without, within) for every optimisation of the block and the time-step."""
    block, step = dense_block(data), time_step(data)

    def pair(
        name: str, predicted: float, because: str, module: nn.Module, without: Forward, within: Forward
    ) -> BlockPair:
        subject = "dense block" if module is block else "time-step"
        before, after = (_work(module, forward, data, settings) for forward in (without, within))
        return name, subject, predicted, because, before, after

    def fewer(name: str, before: str, after: str, without: Forward, within: Forward) -> BlockPair:
        because = (
            f"bytes: an input crosses the memory {PASSES[before]} times, with the optimisation {PASSES[after]} times"
        )
        return pair(name, PASSES[before] / PASSES[after], because, block, without, within)

    same = "bytes: the same number of passes, of which one meets the memory that was written last"
    yield pair("ReLU in place", 1.0, same, block, OutOfPlace(block), block)
    yield fewer("preallocated concatenation", "as it is", "prealloc", block, Preallocated(block))
    if compiled:
        fused = torch.compile(block, dynamic=False)
        yield fewer("fused concat-BN-ReLU-1x1 (compiled block)", "as it is", "fused", block, fused)
    rule = "rule of thumb: every add reads 12 channels at a time out of 48, a tenth of the step's passes"
    yield pair("stages added from growths", 1.1, rule, step, OfOneConcatenation(step), step)


def time_step(data: Dataset) -> TimeStep:
    """The time-step to measure, in training mode."""
    seed_everything(0)
    step = build(parse(STEP), data).get_submodule("period1.step1").train()
    assert isinstance(step, TimeStep)
    return step


def dense_block(data: Dataset) -> DenseBlock:
    """The block to measure, in training mode."""
    seed_everything(0)
    block = build(parse(NETWORK), data).get_submodule("block1").train()
    assert isinstance(block, DenseBlock)
    return block


def _work(module: nn.Module, forward: Forward, data: Dataset, settings: BenchSettings) -> Callable[[], object]:
    """Forward and backward of the module, computed by `forward`, on one batch of feature maps, channels last."""
    module.to(settings.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    bf16 = settings.precision == "bf16"
    width = next(m.num_features for m in module.modules() if isinstance(m, nn.BatchNorm2d))
    x = torch.randn(settings.batch_size, width, data.height, data.width, device=settings.device)
    x = x.to(torch.bfloat16 if bf16 else torch.float32, memory_format=torch.channels_last).requires_grad_()

    def run() -> None:
        module.zero_grad()
        with autocast(settings.device, settings.precision):
            out = forward(x)
        out.backward(torch.ones_like(out))

    return run


def _layers(block: DenseBlock) -> list[Any]:
    """Layers of a block; their parts have no types in torch."""
    return list(block.children())


class OutOfPlace(nn.Module):
    """The block in which no ReLU overwrites a batch norm's result."""

    def __init__(self, block: DenseBlock) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to what `DenseBlock` returns."""
        for layer in _layers(self.block):
            y = layer.conv2(F.relu(layer.norm2(layer.conv1(F.relu(layer.norm1(x))))))
            x = torch.cat([x, y], 1)
        return x


class Preallocated(nn.Module):
    """The block whose layers write their growth into one buffer; gradients are summed into one buffer as well."""

    def __init__(self, block: DenseBlock) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to what `DenseBlock` returns."""
        grown: Tensor = _IntoBuffer.apply(x, self.block, *self.block.parameters())
        return grown


class _IntoBuffer(torch.autograd.Function):
    """The block with its own backward pass, because autograd forbids to write into what was read."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, block: DenseBlock, *parameters: Tensor) -> Tensor:
        layers = _layers(block)
        growths = [layer.conv2.weight.shape[0] for layer in layers]
        count, width, height, breadth = x.shape
        buffer = torch.empty((count, width + sum(growths), height, breadth), dtype=x.dtype, device=x.device).to(
            memory_format=torch.channels_last
        )
        buffer[:, :width] = x
        tapes = []
        for layer, growth in zip(layers, growths, strict=True):
            # `data` starts a count of versions of its own: the columns read here are never written again.
            seen = buffer.data[:, :width].requires_grad_()
            with torch.enable_grad():
                out = layer(seen)
            buffer.data[:, width : width + growth] = out.detach()
            tapes.append((seen, out, list(layer.parameters()), width))
            width += growth
        ctx.tapes = tapes
        ctx.inputs = x.shape[1]
        return buffer

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        total = gradient.clone(memory_format=torch.channels_last)
        found: list[Tensor] = []
        for seen, out, parameters, width in reversed(ctx.tapes):
            mine = total[:, width : width + out.shape[1]]
            by_input, *by_parameters = torch.autograd.grad(out, [seen, *parameters], mine)
            total[:, :width] += by_input
            found = by_parameters + found
        return total[:, : ctx.inputs], None, *found


class OfOneConcatenation(nn.Module):
    """The time-step as a sum of parts of one concatenation of the state and all growths."""

    def __init__(self, step: TimeStep) -> None:
        super().__init__()
        self.step = step

    def forward(self, y: Tensor) -> Tensor:
        """(N, C, H, W) to what `TimeStep` returns."""
        seen = y
        for layer in self.step:
            seen = torch.cat([seen, layer(seen)], 1)
        state, *slopes = seen.chunk(self.step.stages + 1, 1)
        for slope in slopes:
            state = state + slope
        return state
