"""rksearch's own kernels, and training without some of them: torch's own operations take their places.

Nothing in the product knows of this: while `left_out` is entered, the names of a kernel's functions mean its stand-ins
in every module of rksearch. A network that is compiled meanwhile is compiled with them.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

import rksearch.models
from rksearch.models.kernels import channels_last, fused, norm, pixels
from rksearch.training.engine import heap

Function = Callable[..., Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """A kernel that can be left out.

    Attributes:
        name: name in tables.
        stand_ins: what takes the place of each of its functions.
    """

    name: str
    stand_ins: Mapping[Function, Function]


def _never(x: Tensor) -> bool:
    return False


def _one(x: Tensor) -> int:
    return 1


def _concatenated(maps: Sequence[Tensor]) -> Tensor:
    return torch.cat(list(maps), 1)


def _view(gradient: Tensor, channels: slice) -> Tensor:
    return gradient[:, channels]


def _mean(x: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(x, 1)


def _sliced(x: Tensor) -> Tensor:
    return x[:, :, ::2, ::2]


def _last(x: Tensor, count: int) -> Tensor:
    return x[:, x.shape[1] - count :]


@contextmanager
def _as_the_library_does(device: torch.device) -> Iterator[None]:
    """Leave freed memory to the C library."""
    yield


KERNELS = (
    Kernel(
        name="norms over pixels",
        stand_ins={norm.is_slow: _never, pixels.pixels_together: _one},
    ),
    Kernel(name="shared statistics", stand_ins={norm.can_share: _never}),
    Kernel(
        name="parts of gradients",
        stand_ins={channels_last.side_by_side: _concatenated, channels_last.part: _view},
    ),
    Kernel(
        name="gradients channels last",
        stand_ins={
            channels_last.mean_of_pixels: _mean,
            channels_last.every_second_pixel: _sliced,
            channels_last.last_channels: _last,
        },
    ),
    Kernel(
        name="freed memory kept",
        stand_ins={heap.freed_memory_kept: _as_the_library_does},
    ),
    Kernel(name="compiled norms", stand_ins={fused.applies_to: _never}),
)

NAMES = tuple(kernel.name for kernel in KERNELS)


@contextmanager
def left_out(chosen: Collection[str]) -> Iterator[None]:
    """Let stand-ins take the places of the kernels of these names, in this process, until the block ends.

    Raises:
        ValueError: a name of no kernel.
    """
    if unknown := sorted(set(chosen) - set(NAMES)):
        raise ValueError(f"kernels are {', '.join(NAMES)}, but got {unknown[0]!r}")
    stand_ins = {old: new for kernel in KERNELS if kernel.name in chosen for old, new in kernel.stand_ins.items()}
    for module in pkgutil.iter_modules(rksearch.models.__path__, "rksearch.models."):
        importlib.import_module(module.name)  # one that were imported later would keep the stand-ins
    replaced: list[tuple[dict[str, Any], str, Function]] = []
    try:
        for namespace in [vars(module) for name, module in sys.modules.items() if name.startswith("rksearch.")]:
            for name, value in list(namespace.items()):
                if isinstance(value, FunctionType) and value in stand_ins:
                    replaced.append((namespace, name, value))
                    namespace[name] = stand_ins[value]
        yield
    finally:
        for namespace, name, value in reversed(replaced):
            namespace[name] = value
