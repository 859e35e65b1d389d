"""Activations that a training step keeps, found by a run of the network on the meta device.

It serves families that state no facts for the arithmetic (`rksearch.arch.family.Keeping`). The storages that autograd
saves are counted for each top-level part of the network. Recomputation is left out, so that predictions with it are
upper bounds.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from rksearch.arch import ArchSpec, ImageShape
from rksearch.arch.layout import Layout
from rksearch.models import build
from rksearch.training.memory.item import FLOAT_BYTES, Held

IMAGES = 2
"""Images of the run: a batch norm needs two values of each channel, and a map may have one pixel."""


@dataclass(slots=True)
class _Kept:
    """Memory that one part saves: elements and bytes of integers per image, and bytes per batch."""

    elements: int = 0
    index_bytes: int = 0
    batch_bytes: int = 0


def held_by_running(net: Layout, items: Sequence[Held]) -> list[Held]:
    """Add to the first row of each top-level part all that the part keeps.

    Raises:
        SpecError: the images are too small for the network.
    """
    found = dict(_kept_by_part(net.spec, net.shape))
    nothing = _Kept()
    held = []
    for item in items:
        kept = found.pop(item.row.path.split(".")[0], nothing)
        held.append(
            replace(item, elements=kept.elements, index_bytes=kept.index_bytes, batch_bytes=kept.batch_bytes, unit=None)
        )
    return held


@functools.lru_cache(maxsize=64)
def _kept_by_part(spec: ArchSpec, shape: ImageShape) -> dict[str, _Kept]:
    with torch.device("meta"):
        model = build(spec, shape).train()
        images = torch.empty(IMAGES, shape.channels, shape.height, shape.width)
    counter = _Counter([*model.parameters(), *model.buffers(), images])
    for name, part in model.named_children():
        part.register_forward_pre_hook(functools.partial(counter.enter, name))
    with saved_tensors_hooks(counter.save, lambda tensor: tensor):
        model(images)
    return counter.kept


class _Counter:
    """Counter of saved storages, each once, for the part that saves it first."""

    def __init__(self, known: Sequence[Tensor]) -> None:
        # References keep the tensors alive, so that no address is used twice.
        self._seen = {tensor.untyped_storage()._cdata: tensor for tensor in known}
        self.kept: dict[str, _Kept] = {}
        self._part = _Kept()

    def enter(self, name: str, module: nn.Module, inputs: object) -> None:
        """Count for the part `name` from here on."""
        self._part = self.kept.setdefault(name, _Kept())

    def save(self, tensor: Tensor) -> Tensor:
        """Count a tensor that autograd saves."""
        storage = tensor.untyped_storage()
        if storage._cdata not in self._seen:
            self._seen[storage._cdata] = tensor
            if tensor.dim() < 2:
                self._part.batch_bytes += storage.nbytes()
            elif tensor.is_floating_point():
                self._part.elements += storage.nbytes() // FLOAT_BYTES // IMAGES
            else:
                self._part.index_bytes += storage.nbytes() // IMAGES
        return tensor
