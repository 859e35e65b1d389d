"""Reuse of the memory that a training step frees, instead of returning it to the system.

A step frees all the activations that the next one allocates again. Linux's C library (glibc) returns free memory at the
end of its heap, and the system then zeroes every page again at its first touch: tens of thousands of page faults in one
step of a DenseNet. Other C libraries are left as they are. So are GPUs, for which torch keeps memory itself, and
settings that a user has made by environment variables.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch

TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3
"""Parameters of `mallopt` (malloc.h)."""

MIB = 2**20
LARGEST_BLOCK = 32 * MIB
"""Bytes of the largest block on the heap; larger ones are mapped."""

KEPT = {MMAP_THRESHOLD: LARGEST_BLOCK, TRIM_THRESHOLD: 2**31 - 1, TOP_PAD: 160 * MIB}
"""Settings with which the heap does not shrink. The padding is for threads: their heaps, of 64 MiB, would be returned
as soon as they are empty, whatever the threshold, unless two of them are smaller than it."""

USERS = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_", "MALLOC_MMAP_THRESHOLD_")
"""Environment variables by which a user sets these parameters."""

_uses = 0
_lock = threading.Lock()


@contextmanager
def freed_memory_kept(device: torch.device) -> Iterator[None]:
    """Keep freed memory while the block runs, if `device` is a CPU; afterwards return all of it to the system."""
    global _uses
    library = _glibc()
    if device.type != "cpu" or library is None:
        yield
        return
    with _lock:
        _uses += 1
        if _uses == 1:
            _set(library, KEPT)
    try:
        yield
    finally:
        with _lock:
            _uses -= 1
            if _uses == 0:
                let_go_as_usual()
                library.malloc_trim(0)


def return_freed() -> None:
    """Return freed memory to the system now, within `freed_memory_kept` too."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


def let_go_as_usual(largest_block: int = LARGEST_BLOCK) -> None:
    """Return memory as glibc does by default in a process whose largest freed block has `largest_block` bytes.

    By default it raises its thresholds to that size and twice that size (`man mallopt`), until one is set.
    """
    library = _glibc()
    if library is not None:
        threshold = min(largest_block + MIB // 64, LARGEST_BLOCK)  # a block's own size is rounded up to pages
        _set(library, {MMAP_THRESHOLD: threshold, TRIM_THRESHOLD: 2 * threshold, TOP_PAD: MIB // 8})


def _set(library: ctypes.CDLL, options: dict[int, int]) -> None:
    for parameter, value in options.items():
        library.mallopt(parameter, value)


@cache
def _glibc() -> ctypes.CDLL | None:
    """C library of this process, where it is glibc and the user has not set how it keeps memory (`man mallopt`)."""
    library = ctypes.CDLL(None)
    set_by_user = "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "") or any(name in os.environ for name in USERS)
    return library if hasattr(library, "gnu_get_libc_version") and not set_by_user else None
