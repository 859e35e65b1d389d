"""Recomputation of activations: fewer are kept in the forward pass, and the backward pass computes them again.

Splitting a batch would save memory too, but would change the numbers. A batch norm normalises by the mean and variance
of all images of a batch; halves of a batch have other statistics, hence other gradients. Statistics of the whole batch
would take a pass over all parts for every norm. Recomputation repeats the same operations on the whole batch, so that
results are equal: bit for bit on a CPU, and on any device whose operations are deterministic.

The second forward pass of a module uses the same batch statistics, and must not update the running ones twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from rksearch.models.blocks import DenseLayer, Transition
from rksearch.models.cliquenet import CliqueLayer
from rksearch.models.densenet import DenseBlock
from rksearch.models.parts import side_by_side
from rksearch.models.preact_resnet import PreActBlock
from rksearch.models.residual import BasicBlock
from rksearch.models.residual_rknet import ResidualStage
from rksearch.models.rkcnn import RKCNNTransition
from rksearch.models.rknet import DenseStage, TimeStep, next_state

UNITS = (BasicBlock, CliqueLayer, DenseLayer, PreActBlock, ResidualStage, Transition)
"""Modules that are recomputed as a whole from their input. `RKCNNTransition` is excluded: dropout would draw again."""


def recompute(model: nn.Module) -> nn.Module:
    """Make `model` recompute its activations in the backward pass; it is changed in place and returned.

    Parameters, buffers and their names stay the same. `rksearch.training.memory` states what is then kept.
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
    """Module that keeps only its input for the backward pass."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        _adopt(self, module)
        # Not as a child of its own, because the names of its parameters would change.
        self._compute = module.forward

    def forward(self, x: Tensor) -> Tensor:
        """Output of the module for (N, C, H, W)."""
        return _again(self._compute, self, x)


class GrownAgain(nn.Sequential):
    """Dense block, time-step or stage that keeps its input and each growth once, and repeats the concatenations."""

    def __init__(self, module: DenseBlock | TimeStep | DenseStage) -> None:
        super().__init__()
        _adopt(self, module)
        self._read = _reader(module)
        self._reads_all = isinstance(module, DenseBlock)

    def forward(self, x: Tensor) -> Tensor:
        """Output of the module for a state (N, C, H, W)."""
        growths: list[Tensor] = []
        seen = [x]
        for layer in self:
            growth = _again(_of_concatenation(layer), layer, *seen)
            if not growths and not self._reads_all:
                seen = [x[...]]
            growths.append(growth)
            # Gradients must be summed in the module's own order. Where the output is not part of the layers' input, a
            # view sums the gradients from the layers before those from outside are added. (`...` keeps the strides of
            # a single channel, from which torch guesses the layout; `view_as` does not.)
            seen.append(growth if self._reads_all else growth[...])
        return self._read(x, growths)


def _of_concatenation(layer: nn.Module) -> Callable[..., Tensor]:
    """The layer as a function of single features."""

    def compute(*features: Tensor) -> Tensor:
        growth: Tensor = layer(side_by_side(features))
        return growth

    return compute


def _reader(module: DenseBlock | TimeStep | DenseStage) -> Callable[[Tensor, list[Tensor]], Tensor]:
    """Function from input and growths to the module's output, by the module's own operations."""
    match module:
        case TimeStep(stages=stages):
            return lambda x, growths: next_state(x, growths, stages)
        case DenseStage():
            return lambda x, growths: side_by_side(growths)
        case _:
            return lambda x, growths: side_by_side([x, *growths])


def _adopt(parent: nn.Module, module: nn.Module) -> None:
    """Add the children of `module` to `parent` under the same names."""
    for name, child in module.named_children():
        parent.add_module(name, child)


def _again(compute: Callable[..., Tensor], owner: nn.Module, *inputs: Tensor) -> Tensor:
    """Return compute(*inputs); where there will be a backward pass, only the inputs are kept for it."""
    if not torch.is_grad_enabled():
        return compute(*inputs)

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _statistics_untouched(owner)

    found: Tensor = checkpoint(compute, *inputs, use_reentrant=False, context_fn=contexts, preserve_rng_state=False)
    return found


@contextmanager
def _statistics_untouched(module: nn.Module) -> Iterator[None]:
    """Let batch norms update copies of their running statistics; they still normalise by the batch."""
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
