"""Recomputation: keep less in the forward pass, and compute it again in the backward pass, with the same numbers.

A batch could also be split to save memory. But a batch norm normalises by the mean and variance of all images of a
batch: halves are normalised by their own, so the network, its gradients and its running statistics become others.
Statistics of the whole batch would take a pass over all parts for every norm, one after the other, before any part
could go on. Recomputation repeats the very same operations on the whole batch instead, so that results are equal: bit
for bit on a CPU, and wherever else the device's own operations repeat.

The second forward pass of a module normalises by the same statistics again, and must not enter them into the running
ones twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from rksearch.models.blocks import DenseLayer, Transition, shared_statistics
from rksearch.models.cliquenet import CliqueLayer
from rksearch.models.densenet import DenseBlock
from rksearch.models.kernels.channels_last import side_by_side
from rksearch.models.kernels.norm import statistics_of
from rksearch.models.preact_resnet import PreActBlock
from rksearch.models.residual import BasicBlock
from rksearch.models.residual_rknet import ResidualStage
from rksearch.models.rkcnn import RKCNNTransition
from rksearch.models.rknet import DenseStage, TimeStep, next_state

UNITS = (BasicBlock, CliqueLayer, DenseLayer, PreActBlock, ResidualStage, Transition)
"""What is recomputed as a whole from its input. `RKCNNTransition` is left out: its dropout would be drawn again."""


def recompute(model: nn.Module) -> nn.Module:
    """Make `model` recompute its activations in the backward pass; done in place, and returned.

    Parameters, buffers and their names stay what they were. What is then kept is stated in `rksearch.training.memory`.
    """
    for name, child in list(model.named_children()):
        if isinstance(child, DenseBlock | TimeStep | DenseStage):
            setattr(model, name, GrownAgain(child))
        elif isinstance(child, UNITS) and not isinstance(child, RKCNNTransition):
            setattr(model, name, Again(child))
        else:
            recompute(child)
    return model


class Again(nn.Module):
    """A module that keeps nothing but its input."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        _adopt(self, module)
        # Not as a child of its own, because the names of its parameters would change.
        self._compute = module.forward

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to what the module makes of it."""
        return _again(self._compute, self, x)


class GrownAgain(nn.Sequential):
    """A dense block, time-step or stage: keeps its input and each layer's growth once, and concatenates them anew."""

    def __init__(self, module: DenseBlock | TimeStep | DenseStage) -> None:
        super().__init__()
        _adopt(self, module)
        self._read = _reader(module)
        self._reads_all = isinstance(module, DenseBlock)

    def forward(self, x: Tensor) -> Tensor:
        """What the module itself returns."""
        growths: list[Tensor] = []
        seen = [x]
        first = shared_statistics(self, x)
        statistics = [] if first is None else [first]  # of each feature that is seen
        for layer in self:
            growth = _again(_of_concatenation(layer, len(seen)), layer, *seen, *statistics)
            if not growths and not self._reads_all:
                seen = [x[...]]
            growths.append(growth)
            # Gradients must be summed in the module's own order. Where what is returned is no part of what the layers
            # read, a view gathers the gradients from the layers before those from outside are added (by `...`, which
            # unlike `view_as` leaves the strides of a single channel, from which layouts are guessed).
            seen.append(growth if self._reads_all else growth[...])
            if statistics and len(growths) < len(self):
                statistics.append(statistics_of(seen[-1]))
        return self._read(x, growths)


def _of_concatenation(layer: nn.Module, features: int) -> Callable[..., Tensor]:
    """`layer` as a function of so many features and, if it is given them, the statistics of each."""

    def compute(*inputs: Tensor) -> Tensor:
        seen, statistics = side_by_side(inputs[:features]), inputs[features:]
        if not statistics:
            without: Tensor = layer(seen)
            return without
        found: Tensor = layer(seen.contiguous(memory_format=torch.channels_last), side_by_side(statistics))
        return found

    return compute


def _reader(module: DenseBlock | TimeStep | DenseStage) -> Callable[[Tensor, list[Tensor]], Tensor]:
    """From the input and the growths to what the module returns, by the module's own operations."""
    match module:
        case TimeStep(stages=stages):
            return lambda x, growths: next_state(x, growths, stages)
        case DenseStage():
            return lambda x, growths: side_by_side(growths)
        case _:
            return lambda x, growths: side_by_side([x, *growths])


def _adopt(parent: nn.Module, module: nn.Module) -> None:
    """Make the children of `module` those of `parent`, under the same names."""
    for name, child in module.named_children():
        parent.add_module(name, child)


def _again(compute: Callable[..., Tensor], owner: nn.Module, *inputs: Tensor) -> Tensor:
    """compute(*inputs), of which nothing is kept but the inputs, where there will be a backward pass."""
    if not torch.is_grad_enabled():
        return compute(*inputs)

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _statistics_untouched(owner)

    found: Tensor = checkpoint(compute, *inputs, use_reentrant=False, context_fn=contexts, preserve_rng_state=False)
    return found


@contextmanager
def _statistics_untouched(module: nn.Module) -> Iterator[None]:
    """Batch norms normalise by the batch, as in training, and update copies of their running statistics instead."""
    norms = [m for m in module.modules() if isinstance(m, nn.BatchNorm2d)]
    kept = [dict(norm.named_buffers()) for norm in norms]
    for norm, buffers in zip(norms, kept, strict=True):
        for name, value in buffers.items():
            setattr(norm, name, value.clone())
    try:
        yield
    finally:
        for norm, buffers in zip(norms, kept, strict=True):
            for name, value in buffers.items():
                setattr(norm, name, value)
