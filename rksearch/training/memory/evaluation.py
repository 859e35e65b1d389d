"""Memory of an evaluation: the network is run on one image of the meta device, and storages are counted."""

from __future__ import annotations

import functools
import weakref
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from rksearch.arch import ArchSpec
from rksearch.arch.image import ImageShape
from rksearch.models import build


@functools.lru_cache(maxsize=64)
def evaluation_elements(spec: ArchSpec, data: ImageShape) -> int:
    """Largest number of elements of feature maps that exist at once for an image, without a backward pass.

    A formula by row would have to know which maps every module still references; running the modules shows it. The
    result is what torch allocates for one image; a batch takes as many times more as it has images.

    Raises:
        SpecError: the images are too small for the network.
    """
    with torch.device("meta"):
        model = build(spec, data).eval()
        image = torch.empty(1, data.channels, data.height, data.width)
    own = [*model.parameters(), *model.buffers(), image]
    with torch.no_grad(), _Alive(own) as alive:
        model(image)
    return int(alive.most // image.element_size())


class _Alive(TorchDispatchMode):
    """Counter of the bytes of all storages that operations make, until they are released.

    Attributes:
        most: largest number of bytes at once, without the tensors that existed before.
    """

    def __init__(self, before: list[Tensor]) -> None:
        super().__init__()
        self._known = {id(tensor.untyped_storage()): tensor.untyped_storage() for tensor in before}
        self._references: dict[int, Any] = {}
        self._now = self.most = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(found):
            if isinstance(tensor, Tensor):
                self._enter(tensor.untyped_storage())
        return found

    def _enter(self, storage: torch.UntypedStorage) -> None:
        # A storage has one Python object as long as either of them exists.
        place, size = id(storage), storage.nbytes()
        if place in self._known or place in self._references:
            return

        def leave(_: Any) -> None:
            del self._references[place]
            self._now -= size

        self._references[place] = weakref.ref(storage, leave)
        self._now += size
        self.most = max(self.most, self._now)
