"""The most memory that a block of code holds at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

_CLEAR = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


@dataclass(slots=True)
class Peak:
    """`bytes` is set when the block has ended; None where the system does not tell."""

    bytes: int | None = None


@contextmanager
def peak_memory(device: torch.device) -> Iterator[Peak]:
    """Most bytes held during the block: allocated by torch on a GPU; resident beyond those at its start on a CPU."""
    peak = Peak()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield peak
        peak.bytes = torch.cuda.max_memory_allocated(device)
        return
    before = _resident("VmRSS") if _forget_high_water_mark() else None
    yield peak
    after = _resident("VmHWM")
    peak.bytes = after - before if before is not None and after is not None else None


def _forget_high_water_mark() -> bool:
    """Whether the kernel let us start its mark anew (Linux)."""
    try:
        _CLEAR.write_text("5")
    except OSError:
        return False
    return True


def _resident(field: str) -> int | None:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    return None
