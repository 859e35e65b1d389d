"""What trainings and evaluations take of memory as torch itself counts it: a witness of `rksearch.memory`.

Memory that libraries take by themselves (oneDNN's scratch pads, cuDNN's workspaces outside of torch's allocator) is not
counted.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from rksearch.datasets import Dataset
from rksearch.device import Precision, autocast


class StepMemory(NamedTuple):
    """Bytes of one training step.

    Attributes:
        kept: storages that autograd saves for the backward pass; weights, buffers and the batch are left out.
        peak: most that was allocated at once by torch in the step, weights, momentum and batch included.
    """

    kept: int
    peak: int


def measure_step(model: nn.Module, data: Dataset, batch_size: int, precision: Precision) -> StepMemory:
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
    static = [*_state(model, optimizer), images, labels]
    kept = _kept_bytes(loss, {tensor.untyped_storage().data_ptr() for tensor in static})
    return StepMemory(kept, _bytes(static) + allocated_peak(step, device))


def measure_evaluation(model: nn.Module, data: Dataset, batch_size: int, precision: Precision) -> int:
    """Most bytes that an evaluation of random images of `data` takes at once, weights and batch included.

    As `measure_step` counts. The model is left in evaluation mode.
    """
    device, images, labels = _batch(model, data, batch_size)
    model.eval()

    def evaluate() -> None:
        with torch.no_grad(), autocast(device, precision):
            model(images)

    static = (*model.parameters(), *model.buffers(), images, labels)
    return _bytes(static) + allocated_peak(evaluate, device)


def held_bytes(model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Bytes of a training's weights, statistics and momenta."""
    return _bytes(_state(model, optimizer))


def _state(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[Tensor]:
    momenta = [x for state in optimizer.state.values() for x in state.values() if isinstance(x, Tensor)]
    return [*model.parameters(), *model.buffers(), *momenta]


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.untyped_storage().nbytes() for tensor in tensors)


def _batch(model: nn.Module, data: Dataset, batch_size: int) -> tuple[torch.device, Tensor, Tensor]:
    """The model's device, and random images and labels there."""
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch_size, data.channels, data.height, data.width, generator=generator)
    images = images.to(device=device, memory_format=torch.channels_last)
    return device, images, torch.randint(0, data.classes, (batch_size,), generator=generator).to(device)


def allocated_peak(work: Callable[[], object], device: torch.device) -> int:
    """Most bytes that torch's allocator for `device` holds during `work` beyond what it held before."""
    return _cuda_peak(work, device) if device.type == "cuda" else _cpu_peak(work)


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


def _cpu_peak(work: Callable[[], object]) -> int:
    # Its library would print when it starts and stops, and that there is no GPU.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        work()
    changes = [e for e in found.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = highest = 0
    for change in sorted(changes, key=lambda e: e.start_ns()):
        held += change.nbytes()
        highest = max(highest, held)
    return highest


def _cuda_peak(work: Callable[[], object], device: torch.device) -> int:
    torch.cuda.synchronize(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    work()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before
