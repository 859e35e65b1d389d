"""What a step frees is kept for the next step, instead of going back to the system.

A step frees all the activations that the next one allocates again. Linux's C library (glibc) returns what lies free at
the end of its heap, and the system then hands out every page anew, zeroed, at its first touch: tens of thousands of
interruptions in one step of a DenseNet. Other C libraries are left as they are, and so are GPUs, for which torch keeps
memory itself, and what a user has set by environment variables.
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
"""What is larger never comes from the heap."""

KEPT = {MMAP_THRESHOLD: LARGEST_BLOCK, TRIM_THRESHOLD: 2**31 - 1, TOP_PAD: 160 * MIB}
"""The heap does not shrink. The padding is for threads: their heaps, of 64 MiB, would be returned as soon as they are
empty, whatever the threshold, unless two of them are less than it."""

USERS = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_", "MALLOC_MMAP_THRESHOLD_")
"""Environment variables by which users choose for themselves."""

_uses = 0
_lock = threading.Lock()


@contextmanager
def freed_memory_kept(device: torch.device) -> Iterator[None]:
    """Keep what is freed while the block runs, if `device` is a CPU; then all that is free goes back to the system."""
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


def let_go_as_usual(largest_block: int = LARGEST_BLOCK) -> None:
    """Give memory back as glibc does by itself in a process whose largest freed block has so many bytes.

    It raises its thresholds to that size and twice that size as it goes along (`man mallopt`), until one is set.
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
    """The C library of this process, where it is glibc and nobody has told it how to keep memory (`man mallopt`)."""
    library = ctypes.CDLL(None)
    told = "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "") or any(name in os.environ for name in USERS)
    return library if hasattr(library, "gnu_get_libc_version") and not told else None
