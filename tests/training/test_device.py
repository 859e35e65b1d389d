from types import MappingProxyType

import pytest
import torch

from rksearch import limits
from rksearch.errors import DeviceError
from rksearch.training.engine.device import (
    device_name,
    free_memory_bytes,
    has_native_bf16,
    resolve_device,
    resolve_precision,
    widest_float,
)

CPU = torch.device("cpu")


def capable(monkeypatch: pytest.MonkeyPatch, **flags: bool) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: MappingProxyType(flags))


def test_auto_is_cuda_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto").type == "cuda"
    assert resolve_device("cpu").type == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto").type == "cpu"
    with pytest.raises(DeviceError, match="sees no CUDA device here; use cpu or auto"):
        resolve_device("cuda")


def test_auto_is_mps_where_there_is_that_and_no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError, match="sees no MPS device here; use cpu or auto"):
        resolve_device("mps")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    mps = resolve_device("auto")
    assert mps == resolve_device("mps") == torch.device("mps")
    assert resolve_precision("auto", mps) == "fp32"
    with pytest.raises(DeviceError, match="this mps lacks bf16"):
        resolve_precision("bf16", mps)
    assert (device_name(mps), device_name(CPU)) == ("mps", "cpu")
    assert (widest_float(mps), widest_float(CPU)) == (torch.float32, torch.float64)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto").type == "cuda"


def test_free_memory_of_mps_is_what_the_system_recommends_less_what_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 1_000)
    monkeypatch.setattr(torch.mps, "driver_allocated_memory", lambda: 400)
    assert free_memory_bytes(torch.device("mps")) == 540
    assert free_memory_bytes(torch.device("mps"), share=0.5) == 450


def test_a_share_counts_what_the_process_has_already(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "memory_bytes", lambda: 10 * 2**30)
    monkeypatch.setattr(limits, "free_memory_bytes", lambda: 9 * 2**30)
    monkeypatch.setattr(limits, "resident_bytes", lambda: 2**30)
    assert free_memory_bytes(CPU) == int(0.9 * 9 * 2**30)
    assert free_memory_bytes(CPU, share=0.25) == int(0.9 * 1.5 * 2**30)
    assert free_memory_bytes(CPU, share=0.05) == 0


@pytest.mark.parametrize("flag", ["avx512_bf16", "amx_bf16"])
def test_bf16_is_used_where_the_cpu_has_it(monkeypatch: pytest.MonkeyPatch, flag: str) -> None:
    capable(monkeypatch, **{flag: True})
    assert has_native_bf16(CPU) == torch.backends.mkldnn.is_available()
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    assert [resolve_precision(p, CPU) for p in ("auto", "bf16", "fp32")] == ["bf16", "bf16", "fp32"]


def test_bf16_is_not_emulated(monkeypatch: pytest.MonkeyPatch) -> None:
    capable(monkeypatch, avx512_f=True, avx512_bf16=False)
    assert resolve_precision("auto", CPU) == "fp32"
    with pytest.raises(DeviceError, match="this cpu lacks bf16; use fp32 or auto"):
        resolve_precision("bf16", CPU)


def test_unknown_words_are_refused() -> None:
    with pytest.raises(DeviceError, match="auto, cpu, cuda or mps, but got 'gpu'"):
        resolve_device("gpu")
    with pytest.raises(DeviceError, match="auto, fp32 or bf16, but got 'fp16'"):
        resolve_precision("fp16", CPU)


def test_fp32_is_what_the_documents_say_of_torch_s_defaults() -> None:
    """TF32 for the convolutions of a GPU, float32 for its matrix products."""
    assert torch.backends.cudnn.allow_tf32
    assert torch.get_float32_matmul_precision() == "highest"
