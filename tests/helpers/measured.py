"""Training steps and evaluations measured alone: the witness of what `rksearch.training.memory` predicts."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rksearch.arch.image import ImageShape
from rksearch.bench.allocation import allocated_peak, held_bytes
from rksearch.training.engine.device import autocast
from rksearch.training.engine.precision import Precision


class StepMemory(NamedTuple):
    """Bytes of one training step.

    Attributes:
        kept: storages that autograd saves for the backward pass; weights, buffers and the batch are left out.
        peak: most that was allocated at once by torch in the step, weights, momentum and batch included.
    """

    kept: int
    peak: int


def measure_step(model: nn.Module, data: ImageShape, batch_size: int, precision: Precision) -> StepMemory:
    """Take training steps on random images of `data`, on the device where `model` is, and count.

    The model's weights change.
    """
    device, images, labels = _batch(model, data, batch_size)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, nesterov=True, fused=True)
    model.train()

    def loss() -> Tensor:
        with autocast(device, precision):
            logits = model(images)
        return F.cross_entropy(logits.float(), labels)

    def step() -> None:
        loss().backward()
        optimizer.step()
        optimizer.zero_grad()

    step()  # the optimiser allocates its momentum
    batch = images.nbytes + labels.nbytes
    known = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers(), images, labels)}
    return StepMemory(_kept_bytes(loss, known), batch + held_bytes(model, optimizer) + allocated_peak(step, device))


def measure_evaluation(model: nn.Module, data: ImageShape, batch_size: int, precision: Precision) -> int:
    """Most bytes that an evaluation of random images of `data` takes at once, weights and batch included.

    As `measure_step` counts. The model is left in evaluation mode.
    """
    device, images, labels = _batch(model, data, batch_size)
    model.eval()

    def evaluate() -> None:
        with torch.no_grad(), autocast(device, precision):
            model(images)

    static = (*model.parameters(), *model.buffers(), images, labels)
    return sum(tensor.untyped_storage().nbytes() for tensor in static) + allocated_peak(evaluate, device)


def _batch(model: nn.Module, data: ImageShape, batch_size: int) -> tuple[torch.device, Tensor, Tensor]:
    """The model's device, and random images and labels there."""
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch_size, data.channels, data.height, data.width, generator=generator)
    images = images.to(device=device, memory_format=torch.channels_last)
    return device, images, torch.randint(0, data.classes, (batch_size,), generator=generator).to(device)


def _kept_bytes(loss: Callable[[], Tensor], known: set[int]) -> int:
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        place = tensor.untyped_storage().data_ptr()
        # Single numbers, as the weight of a loss, are no feature maps.
        if tensor.dim() and place not in known:
            kept[place] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        value = loss()
    found = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    del value
    return found
