import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from rksearch.arch import parse
from rksearch.bench import kernels
from rksearch.bench.kernels import left_out
from rksearch.bench.usual import as_usually_written
from rksearch.data.facts import dataset
from rksearch.models import build
from rksearch.models.kernels import norm
from rksearch.training.engine import heap
from rksearch.training.trainer import seed_everything

pytestmark = pytest.mark.usefixtures("one_thread")

DATA = dataset("cifar10")
ROOM = Path(norm.__file__).parent
ALL_EAGER = ("RKNet-BC-k4-m2_3-1x2s_2x1", "DenseNet-BC-16-k4", "ResNet-8", "CliqueNet-k4-T6", "RKNet-Res-1x2_1x1_1x1")


@contextmanager
def functions_run(found: set[str]) -> Iterator[None]:
    """Collect the names of the functions of `models/kernels` that run."""

    def note(frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and Path(frame.f_code.co_filename).parent == ROOM:
            found.add(frame.f_code.co_qualname)

    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(None)


def gradients(name: str, *, usual: bool = False, bf16: bool = True) -> tuple[list[torch.Tensor], set[str]]:
    """Gradients of a step, and the kernels' functions that ran in it."""
    seed_everything(0)
    model: nn.Module = build(parse(name), DATA).to(memory_format=torch.channels_last)
    model = as_usually_written(model) if usual else model
    images = torch.randn(17, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    ran: set[str] = set()
    with functions_run(ran):
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits = model(images)
        F.cross_entropy(logits.float(), torch.arange(17) % 10).backward()
    return [p.grad for p in model.parameters() if p.grad is not None], ran


@pytest.mark.parametrize("name", ALL_EAGER)
def test_the_usual_network_runs_no_kernel_of_ours(name: str) -> None:
    with left_out(kernels.NAMES):
        assert gradients(name, usual=True)[1] == set()
        found, _ = gradients(name, usual=True, bf16=False)
    expected, ran = gradients(name, bf16=False)
    assert ran
    for one, other in zip(found, expected, strict=True):
        assert float((one - other).norm() / other.norm()) < 1e-2


OWN = {
    "norms over pixels": {"_Normalised.forward"},
    "shared statistics": {"_Statistics.forward", "_Joined.forward", "_NormalisedBy.forward"},
    "parts of gradients": {"_SideBySide.forward"},
    "gradients channels last": {"_Mean.forward"},
}
"""Functions that run for one kernel alone in the network below."""


@pytest.mark.parametrize("name", OWN)
def test_each_kernel_is_left_out_alone(name: str) -> None:
    network = "RKNet-k12-m1_2-3x1_1x1"
    with left_out(()):
        _, whole = gradients(network)
    with left_out([name]):
        _, without = gradients(network)
    for kernel, functions in OWN.items():
        assert functions <= whole, kernel
        if kernel == name:
            assert not functions & without
        elif (name, kernel) != ("shared statistics", "norms over pixels"):
            assert functions <= without, kernel


def test_each_name_is_back_in_its_place_afterwards() -> None:
    def bound() -> dict[tuple[str, str], object]:
        return {
            (module, name): value
            for module in list(sys.modules)
            if module.startswith("rksearch.")
            for name, value in vars(sys.modules[module]).items()
        }

    with left_out(()):  # imports what there is
        before = bound()
    with left_out(kernels.NAMES):
        changed = {key for key, value in bound().items() if before[key] is not value}
    assert bound() == before
    with pytest.raises(KeyError), left_out(kernels.NAMES):
        raise KeyError
    assert bound() == before
    assert ("rksearch.models.rknet", "side_by_side") in changed
    assert ("rksearch.training.trainer", "freed_memory_kept") in changed
    stand_ins = [function for kernel in kernels.KERNELS for function in kernel.stand_ins]
    assert {before[key] for key in changed} == set(stand_ins)


def test_memory_is_left_to_the_library_without_its_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    from rksearch.training import trainer

    calls: list[object] = []
    monkeypatch.setattr(heap, "_set", lambda library, options: calls.append(options))
    with left_out(["freed memory kept"]), trainer.freed_memory_kept(torch.device("cpu")):
        pass
    assert calls == []


def test_an_unknown_kernel_is_refused() -> None:
    with pytest.raises(ValueError, match="but got 'no such'"), left_out(["no such"]):
        pass
