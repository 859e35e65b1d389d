"""What only a GPU can show: `pytest -m gpu`."""

from __future__ import annotations

import json
import logging
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rksearch.arch import parse
from rksearch.data.batches import DeviceImages, TrainBatches
from rksearch.data.facts import dataset
from rksearch.errors import TrialFailed
from rksearch.models import build
from rksearch.recipes.recipe import Recipe
from rksearch.training.engine.device import free_memory_bytes
from rksearch.training.engine.precision import Precision
from rksearch.training.engine.programs import Body, Recorder
from rksearch.training.memory import footprint
from rksearch.training.seed_groups import SeedGroup
from rksearch.training.trainer import Trainer, as_trial_failure, seed_everything
from tests.helpers.command_line import rksearch
from tests.helpers.measured import measure_step

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")]

DEVICE = torch.device("cuda")
DATA = replace(dataset("cifar10"), height=16, width=16)
RECIPE = Recipe(name="x", epochs=3, batch_size=16, lr=0.01, schedule="cosine", warmup=0.2, weight_decay=1e-3)
NETWORKS = ["RKNet-BC-k4-m2_2_3-1x2s_2x1_1x1", "DenseNet-BC-16-k4", "ResNet-8"]


def as_it_is(warm_up: Body, body: Body) -> Body:
    """A `Recorder` that records nothing."""
    return body


def trainer(
    name: str,
    *,
    device: torch.device = DEVICE,
    precision: Precision = "fp32",
    record: Recorder | None = None,
    seed: int = 3,
) -> Trainer:
    """72 images are four batches of 16 and one of 8, so that two graphs are recorded."""
    seed_everything(seed)
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(72) % DATA.classes
    pixels = torch.randint(0, 256, (72, 3, 16, 16), generator=generator).to(torch.uint8)
    images = DeviceImages(pixels, labels, DATA, device)
    batches = TrainBatches(images, DATA, batch_size=RECIPE.batch_size, augment=True, seed=seed + 2)
    return Trainer(build(parse(name), DATA), batches, images, RECIPE, precision, record=record)


def losses(run: Trainer) -> list[float]:
    """Of every step of the epochs that are left."""
    found = []
    while not run.done:
        run.run_epoch()
        found += run.step_losses
    return found


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", NETWORKS)
def test_graphs_are_recorded_and_replayed_as_the_same_training(
    name: str, precision: Precision, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        recorded, plain = trainer(name, precision=precision), trainer(name, precision=precision, record=as_it_is)
        found, expected = losses(recorded), losses(plain)
    assert [record for record in caplog.records if record.name.startswith("rksearch")] == []  # none has failed
    assert len(found) == 15
    # Sums on a GPU may come in another order, which bf16 rounds more coarsely.
    assert found == pytest.approx(expected, rel=1e-3 if precision == "fp32" else 5e-2)
    for name_, value in recorded.model.state_dict().items():
        other = plain.model.state_dict()[name_]
        assert torch.allclose(value.float(), other.float(), rtol=0.05, atol=0.02), name_


@pytest.mark.parametrize("name", NETWORKS)
def test_the_loss_curve_is_that_of_a_cpu(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    assert losses(trainer(name)) == pytest.approx(losses(trainer(name, device=torch.device("cpu"))), rel=2e-3)


def test_a_recorded_training_resumes() -> None:
    whole, first, resumed = (trainer(NETWORKS[0]) for _ in range(3))
    expected = losses(whole)
    first.run_epoch()
    resumed.run_epoch()  # what was recorded before the state is loaded must not be replayed after it
    resumed.run_epoch()
    resumed.load_state_dict(first.state_dict())
    assert losses(resumed) == pytest.approx(expected[5:], rel=1e-3)


@pytest.mark.parametrize("record", [None, as_it_is])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", NETWORKS)
def test_seeds_together_are_each_the_training_alone(
    name: str, precision: Precision, record: Recorder | None, caplog: pytest.LogCaptureFixture
) -> None:
    seeds = (3, 4, 5)
    expected = [losses(trainer(name, precision=precision, seed=seed)) for seed in seeds]
    runs = [trainer(name, precision=precision, seed=seed) for seed in seeds]
    with caplog.at_level(logging.WARNING):
        together = SeedGroup(runs, record)
        found: list[list[float]] = [[] for _ in seeds]
        while not runs[0].done:
            together.run_epoch()
            for curve, run in zip(found, runs, strict=True):
                curve += run.step_losses
    assert [record for record in caplog.records if record.name.startswith("rksearch")] == []  # none has failed
    for curve, other in zip(found, expected, strict=True):
        assert curve == pytest.approx(other, rel=1e-3 if precision == "fp32" else 5e-2)


def test_dropout_draws_anew_in_every_replay() -> None:
    run = trainer("RKCNN-E-k8-2x1_2x1-drop30")
    run.prepare()
    run.begin_epoch(1)
    before = torch.cuda.get_rng_state(DEVICE)
    run.take_steps(2)
    assert not torch.equal(torch.cuda.get_rng_state(DEVICE), before)
    assert all(math.isfinite(loss) for loss in losses(run))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", ["DenseNet-40-k12", "ResNet-20", "RKNet-BC-k8-m2_4_6-1x2s_1x1_1x1"])
def test_the_peak_of_a_step_is_predicted_within_15_percent(name: str, precision: Precision) -> None:
    data = dataset("cifar10")
    model = build(parse(name), data).to(device=DEVICE, memory_format=torch.channels_last)  # type: ignore[call-overload]
    found = measure_step(model, data, 64, precision)
    assert footprint(parse(name), data, 64, precision).step_peak == pytest.approx(found.peak, rel=0.15)


def test_running_out_of_memory_is_a_failure_of_its_own_kind() -> None:
    with pytest.raises(TrialFailed) as failed, as_trial_failure("trying"):
        torch.empty(4 * free_memory_bytes(DEVICE), dtype=torch.uint8, device=DEVICE)
    assert failed.value.kind == "out_of_memory"


def test_bench_train_measures_both_sides(tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    done = rksearch(
        *("bench", "train", "ResNet-8", "--dataset", "digits", "--device", "cuda", "--rounds", "2", "--steps", "4"),
        *("--to", str(path)),
    )
    assert done.returncode == 0, done.stderr
    (network,) = json.loads(path.read_text())["networks"]
    for side in network["sides"].values():
        assert side["images_per_s"]["median"] > 0
        assert side["peak_mem_bytes"] > 12 * network["params"]  # weights, momenta and gradients


def test_bench_train_measures_seeds_together_beside_processes(tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    done = rksearch(
        *("bench", "train", "ResNet-8", "--dataset", "digits", "--device", "cuda", "--rounds", "1", "--steps", "4"),
        *("--concurrent", "1,2", "--together", "2,4", "--to", str(path)),
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(path.read_text())["concurrent"]
    assert [(one["processes"], one["seeds"]) for one in found] == [(1, 1), (2, 1), (1, 2), (1, 4)]
    assert all(one["images_per_s"]["median"] > 0 for one in found)
