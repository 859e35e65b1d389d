import gc
import shutil
import weakref
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from rksearch.arch import parse
from rksearch.arch.layout import layout
from rksearch.bench.plain import PlainLoop
from rksearch.bench.tuned import TunedLoop
from rksearch.bench.usual import as_usually_written
from rksearch.data.batches import DeviceImages, TrainBatches
from rksearch.data.facts import dataset
from rksearch.errors import DeviceError
from rksearch.models import build
from rksearch.recipes.recipe import Recipe
from rksearch.results.codec import from_plain, to_plain
from rksearch.results.records import Epoch, TrialResult, TrialSpec
from rksearch.training.engine.compiling import EAGER, Choice, choose, compile_s, saved_s_per_image
from rksearch.training.engine.device import has_native_bf16
from rksearch.training.engine.precision import Precision
from rksearch.training.engine.step import TrainStep
from rksearch.training.execution import Execution
from rksearch.training.trainer import seed_everything
from rksearch.training.trial import run_trial
from tests.helpers.recorded import Recorder
from tests.helpers.trainings import (
    COMPILED,
    CPU,
    DATA,
    NETWORKS,
    RECIPE,
    assert_same_training,
    batches,
    images,
    needs_compiler,
    trainer,
)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_recorded_step_replayed_is_the_same_training_bit_for_bit(name: str, precision: Precision) -> None:
    if precision == "bf16" and not has_native_bf16(CPU):
        pytest.skip("this CPU has no bf16")
    plain, recorder = trainer(name, precision=precision), Recorder()
    recorded = trainer(name, precision=precision, record=recorder)
    for run in (plain, recorded):
        while not run.done:
            run.run_epoch()
    assert len(recorder.recordings) == 2  # 72 images are four batches of 16 and one of 8
    assert len(set(plain.step_losses)) == 5
    assert_same_training(plain, recorded)


def test_a_training_that_is_let_go_frees_its_memory_at_once() -> None:
    run = trainer(NETWORKS[0])
    run.run_epoch()
    model = weakref.ref(run.model)
    gc.disable()  # which would find circles in its own time
    try:
        del run
        assert model() is None
    finally:
        gc.enable()


def test_a_recorded_training_resumes_exactly() -> None:
    whole = trainer(NETWORKS[0], record=Recorder())
    first = trainer(NETWORKS[0], record=Recorder())
    while not whole.done:
        whole.run_epoch()
    first.run_epoch()
    resumed = trainer(NETWORKS[0], record=Recorder())
    resumed.run_epoch()  # what was recorded before the state is loaded must not be replayed after it
    resumed.run_epoch()
    resumed.load_state_dict(first.state_dict())
    while not resumed.done:
        resumed.run_epoch()
    assert_same_training(whole, resumed)


class Elsewhere(TorchDispatchMode):
    """Collects operations on tensors that are not all on device `meta`; asking such a one for a number is an error."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.count = 0

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = op(*args, **(kwargs or {}))
        devices = {x.device.type for x in tree_leaves((args, kwargs, out)) if isinstance(x, torch.Tensor)}
        self.count += len(devices)
        if devices - {"meta"}:
            self.found.append(f"{op}: {sorted(devices)}")
        return out


FAMILIES = [
    *NETWORKS,
    "PreActResNet-B-11",
    "RKNet-k4-m1_1-3x2s_2x1",
    "RKNet-BC-k4-m2_2-4x1@rk4_1x2",
    "RKNet-BC-k4-m2_2-2x1@gauss2_1x2",
    "RKNet-Res-2x2_2x2_2x2",
    "RKCNN-E-k8-2x1_2x2",
    "RKCNN-I-k4-2x1_2x1-up2-att-ms",
    "RKCNN-R-k8-2x2_2x1-drop30",
    "CliqueNet-k4-T6",
]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_step_on_another_device_asks_nothing_of_the_host(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a graph is recorded of must neither wait for its device nor read the host's memory.

    Device `meta` has shapes and no numbers.
    """
    meta = torch.device("meta")
    data = TrainBatches(DeviceImages(*images(72, 1), DATA, meta), DATA, batch_size=16, augment=True, seed=5)
    model = build(parse(name), DATA).to(meta).train()
    monkeypatch.setattr(
        "rksearch.training.engine.step.autocast", lambda device, precision: nullcontext()
    )  # none for `meta`
    step = TrainStep(model, data, RECIPE, "fp32")
    updated: list[nn.Parameter] = []

    def update() -> None:  # torch has no fused one for `meta`
        updated.extend(parameter for parameter in model.parameters() if parameter.grad is not None)

    monkeypatch.setattr(step.optimizer, "step", update)
    step.begin(data.draw(), [0.1] * data.steps_per_epoch)
    with Elsewhere() as elsewhere:
        step.take(16, model)
    assert elsewhere.found == []
    assert elsewhere.count > 100
    assert len(updated) == len(list(model.parameters()))
    assert all(parameter.grad is None for parameter in model.parameters())


STEPS = 50
GENTLE = replace(RECIPE, epochs=60, batch_size=40, lr=0.003, warmup=0.1)
"""Training amplifies rounding: the larger the rate and the smaller the batch, the faster any two runs drift apart."""


Loop = PlainLoop | TunedLoop


def plain_loop(name: str, dtype: torch.dtype = torch.float32) -> PlainLoop:
    model = as_usually_written(build(parse(name), DATA)).to(dtype)
    return PlainLoop(model, *images(8, 0), DATA, GENTLE, CPU, workers=0)


def tuned_loop(name: str, *, compiled: bool = False) -> TunedLoop:
    return TunedLoop(as_usually_written(build(parse(name), DATA)), *images(8, 0), DATA, GENTLE, CPU, compiled=compiled)


def loop_losses(make: Callable[[], Loop], dtype: torch.dtype = torch.float32) -> list[float]:
    """Loss of every step of a loop that is not ours, from the weights and on the batches that `trainer` has."""
    seed_everything(3)
    loop = make()
    source = batches(80, GENTLE)
    losses: list[float] = []
    loop.model.train()
    while len(losses) < STEPS:
        for x, y in source.epoch():
            lr = GENTLE.lr_at(len(losses), source.steps_per_epoch)
            x = x if isinstance(loop, TunedLoop) else x.contiguous().to(dtype)
            losses.append(float(loop.step(x, y, lr)))
    return losses


def our_losses(name: str, choice: Choice = EAGER) -> list[float]:
    ours = trainer(name, count=80, recipe=GENTLE, choice=choice)
    losses: list[float] = []
    while len(losses) < STEPS:
        ours.run_epoch()
        losses += ours.step_losses
    assert ours.choice == choice
    return losses


def apart(one: list[float], other: list[float], steps: int = STEPS) -> float:
    """The largest relative difference in the first steps."""
    return max(abs(a - b) / b for a, b in zip(one[:steps], other[:steps], strict=True))


def assert_same_curves_to_rounding(name: str, choice: Choice) -> None:
    """Ours, the tuned and the plain loop stray alike from the plain one in float64, whose rounding is negligible."""
    exact = loop_losses(lambda: plain_loop(name, torch.float64), torch.float64)
    plain = loop_losses(lambda: plain_loop(name))
    tuned = loop_losses(lambda: tuned_loop(name, compiled=choice.compiled))
    for losses in (our_losses(name, choice), tuned):
        assert len(losses) == len(plain) == STEPS
        assert losses[0] == pytest.approx(plain[0], rel=1e-6)
        assert apart(losses, plain, 10) < 1e-4
        assert apart(losses, plain) < 1e-2
        assert apart(losses, exact) < 20 * max(apart(plain, exact), 1e-6)
    assert exact[-1] < 0.98 * exact[0]  # it learns, so the steps do matter


@pytest.mark.parametrize("name", [*(pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS[:2]), NETWORKS[2]])
def test_loss_curves_of_the_plain_loop_the_tuned_loop_and_ours_agree_step_by_step(name: str) -> None:
    assert_same_curves_to_rounding(name, EAGER)


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_compiled_loss_curves_agree_step_by_step(name: str) -> None:
    assert_same_curves_to_rounding(name, COMPILED)


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_compiled_training_resumes_exactly(precision: Precision) -> None:
    if precision == "bf16" and not has_native_bf16(CPU):
        pytest.skip("this CPU has no bf16")
    whole = trainer(NETWORKS[0], precision=precision, choice=COMPILED)
    while not whole.done:
        whole.run_epoch()
    assert whole.choice == COMPILED
    first = trainer(NETWORKS[0], precision=precision, choice=COMPILED)
    first.run_epoch()
    resumed = trainer(NETWORKS[0], precision=precision)  # the saved state says that it is compiled
    resumed.load_state_dict(first.state_dict())
    while not resumed.done:
        resumed.run_epoch()
    assert_same_training(whole, resumed)


def test_where_compiling_fails_the_training_goes_on_without_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(model: nn.Module, **options: object) -> Callable[..., torch.Tensor]:
        def forward(*inputs: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("no way")

        return forward

    monkeypatch.setattr(torch, "compile", fails)
    runs = []
    for choice in (EAGER, COMPILED):
        runs.append(trainer(NETWORKS[2], count=40, choice=choice))
        runs[-1].run_epoch()
    assert runs[1].choice.compiled is False
    assert "no way" in runs[1].choice.reason
    assert "not compiled, because that failed" in caplog.text
    assert_same_training(*runs)


def chosen(wanted: str, *, name: str = "DenseNet-BC-100-k12", images: int = 10**7, threads: int = 2) -> Choice:
    return choose(wanted, layout(parse(name), dataset("cifar10")), CPU, images=images, threads=threads)


def with_compiler(monkeypatch: pytest.MonkeyPatch, present: bool) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}" if present else None)


def test_compiling_is_chosen_where_it_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    with_compiler(monkeypatch, True)
    net = layout(parse("DenseNet-BC-100-k12"), dataset("cifar10"))
    enough = int(compile_s(net) / saved_s_per_image(net, 2))
    assert not chosen("auto", images=enough).compiled
    assert chosen("auto", images=enough + 1).compiled
    assert not chosen("auto", images=enough + 1, threads=4).compiled
    assert "s of compiling are less than the" in chosen("auto").reason
    assert "no less than" in chosen("auto", images=100).reason


def test_what_the_user_says_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    with_compiler(monkeypatch, True)
    assert chosen("on", images=1).compiled
    assert not chosen("off").compiled
    with pytest.raises(DeviceError, match="must be auto, on or off, but got 'yes'"):
        chosen("yes")


@pytest.mark.parametrize("wanted", ["auto", "on"])
def test_without_a_compiler_nothing_is_compiled_and_the_reason_is_told(
    monkeypatch: pytest.MonkeyPatch, wanted: str
) -> None:
    with_compiler(monkeypatch, False)
    found = chosen(wanted)
    assert not found.compiled
    assert found.reason == "not compiled: there is no C++ compiler (g++ or clang++) on the PATH"


SPEC = TrialSpec(
    arch=NETWORKS[0],
    dataset="digits",
    recipe=Recipe(name="short", epochs=3, batch_size=32, lr=0.05, schedule="cosine", warmup=0.1),
    train_images=100,
)


def execution(work_dir: Path, wanted: str) -> Execution:
    return Execution(work_dir=str(work_dir), data_dir=str(work_dir), precision="fp32", device="cpu", compile=wanted)


def numbers(result: TrialResult) -> list[Epoch]:
    return [replace(epoch, train_time_s=0) for epoch in result.epochs]


def test_a_trial_records_whether_it_was_compiled_and_why(tmp_path: Path) -> None:
    result = run_trial(SPEC, execution(tmp_path, "off"))
    assert (result.compiled, result.compile_reason) == (False, "not compiled, as asked")
    assert from_plain(TrialResult, to_plain(result)) == result


@needs_compiler
@pytest.mark.slow
def test_a_compiled_trial_goes_on_compiled_whatever_is_asked_then(tmp_path: Path) -> None:
    whole = run_trial(SPEC, execution(tmp_path / "whole", "on"))
    told: list[Epoch] = []
    run_trial(SPEC, execution(tmp_path / "parts", "on"), told.append, until=2)
    resumed = run_trial(SPEC, execution(tmp_path / "parts", "off"))
    assert whole.compiled is resumed.compiled is True
    assert whole.compile_reason == resumed.compile_reason == "compiled, as asked"
    assert numbers(resumed) == numbers(whole)
