"""Memory of a training, as torch itself counts it.

Memory that libraries take outside of torch's allocator (some of cuDNN's workspaces) is not counted. Memory that oneDNN
takes from that allocator is: scratch pads, and copies of a convolution's weights in an order that depends on the CPU.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile


def held_bytes(model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Bytes of a training's weights, statistics and momenta."""
    momenta = (x for state in optimizer.state.values() for x in state.values() if isinstance(x, Tensor))
    return sum(tensor.untyped_storage().nbytes() for tensor in (*model.parameters(), *model.buffers(), *momenta))


def allocated_peak(work: Callable[[], object], device: torch.device) -> int:
    """Most bytes that torch's allocator for `device` holds during `work` beyond what it held before."""
    return _cuda_peak(work, device) if device.type == "cuda" else _cpu_peak(work)


def _cpu_peak(work: Callable[[], object]) -> int:
    # Else the profiler says on stderr when it starts and stops, and that there is no GPU.
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
