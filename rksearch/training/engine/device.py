"""Devices, precisions and free memory of this machine."""

from __future__ import annotations

from collections.abc import Callable

import torch

from rksearch import limits
from rksearch.errors import DeviceError
from rksearch.training.engine.precision import Precision
from rksearch.training.engine.words import AUTO, DEVICES, PRECISIONS


def resolve_device(device: str) -> torch.device:
    """The device that a word stands for on this machine.

    Args:
        device: `cpu`, `cuda`, `mps` (the GPU of a Mac), or `auto`: CUDA where there is one, else MPS where there is it,
            else the CPU.

    Raises:
        DeviceError: another word, or a device that torch does not see here.
    """
    if device not in DEVICES:
        raise DeviceError(f"the device must be auto, cpu, cuda or mps, but got {device!r}")
    there: dict[str, Callable[[], bool]] = {
        "cuda": torch.cuda.is_available,
        "mps": torch.backends.mps.is_available,
    }
    if device == AUTO:
        device = next((name for name, is_available in there.items() if is_available()), "cpu")
    elif device in there and not there[device]():
        raise DeviceError(
            f"device {device!r} was asked for, but torch sees no {device.upper()} device here; use cpu or auto"
        )
    return torch.device(device)


def device_name(device: torch.device) -> str:
    """Name of a device in results: that of the GPU, `mps` or `cpu`."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def widest_float(device: torch.device) -> torch.dtype:
    """The floats of most digits that a device has: MPS lacks float64."""
    return torch.float32 if device.type == "mps" else torch.float64


def resolve_precision(precision: str, device: torch.device) -> Precision:
    """The precision that `auto` (bf16 where the device computes it natively), `fp32` or `bf16` stands for.

    `fp32` leaves torch's settings as they are, by which CUDA convolves in TF32 from Ampere on.

    Raises:
        DeviceError: another word, or bf16 on a device that would only emulate it.
    """
    if precision not in PRECISIONS:
        raise DeviceError(f"the precision must be auto, fp32 or bf16, but got {precision!r}")
    native = has_native_bf16(device)
    if precision == "bf16" and not native:
        raise DeviceError(f"precision 'bf16' was asked for, but this {device.type} lacks bf16; use fp32 or auto")
    return "bf16" if native and precision != "fp32" else "fp32"


def has_native_bf16(device: torch.device) -> bool:
    """Whether `device` computes bfloat16 products in hardware: CUDA from Ampere on, x86 with AVX512-BF16 or AMX."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False  # on MPS it depends on chip and system, and nothing here has been tried there
    if not torch.backends.mkldnn.is_available():
        return False  # without oneDNN, torch's own bfloat16 kernels are slower than float32
    has = torch.cpu.get_capabilities()
    return bool(has.get("avx512_bf16") or has.get("amx_bf16"))


FREE_SHARE = 0.9
"""Share of the free memory that a training may count on; libraries take the rest beside torch's allocator."""


def free_memory_bytes(device: torch.device, *, share: float = 1.0) -> int:
    """Bytes that a training on `device` may take now: most of the free memory of the GPU, or of this machine.

    Args:
        device: where it trains.
        share: largest share of the device's whole memory that it may take; the rest is for trainings beside it, which
            may not have taken theirs yet.
    """
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        # Memory that torch has reserved and does not use counts as taken there, but serves the next allocation here.
        free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    elif device.type == "mps":
        total = torch.mps.recommended_max_memory()
        free = max(0, total - torch.mps.driver_allocated_memory())
    else:
        # What this process has already, its libraries above all, is a part of its share.
        own = share * limits.memory_bytes() - (0 if share == 1.0 else limits.resident_bytes())
        return max(0, int(FREE_SHARE * min(limits.free_memory_bytes(), own)))
    return int(FREE_SHARE * min(free, share * total))


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """The context in which a network of float32 weights computes in `precision`."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


NO_MEMORY_LEFT = (
    "can't allocate memory",  # torch's CPU allocator
    "CUDA error: out of memory",  # CUDA itself, where another process has all of a GPU
    "CUBLAS_STATUS_ALLOC_FAILED",
    "MPS backend out of memory",
)
"""Words of plain errors, RuntimeErrors most of them, that say so."""


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error, or one that preceded it, says that the device or the machine has run out of memory."""
    at: BaseException | None = error
    while at is not None:
        if isinstance(at, (torch.OutOfMemoryError, MemoryError)) or any(words in str(at) for words in NO_MEMORY_LEFT):
            return True
        at = at.__cause__ or at.__context__
    return False
