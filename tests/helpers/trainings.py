"""Small trainings on a CPU."""

import shutil
from dataclasses import replace

import pytest
import torch

from rksearch.arch import parse
from rksearch.data.batches import DeviceImages, TrainBatches
from rksearch.data.facts import dataset
from rksearch.models import build
from rksearch.recipes.recipe import Recipe
from rksearch.training.engine.compiling import EAGER, Choice
from rksearch.training.engine.precision import Precision
from rksearch.training.engine.programs import Recorder
from rksearch.training.trainer import Trainer, batches_of, seed_everything

CPU = torch.device("cpu")
DATA = replace(dataset("cifar10"), height=16, width=16)
RECIPE = Recipe(name="x", epochs=3, batch_size=16, lr=0.02, schedule="cosine", warmup=0.2, weight_decay=1e-3)
NETWORKS = ["RKNet-BC-k4-m2_2_3-1x2s_2x1_1x1", "DenseNet-BC-16-k4", "ResNet-8"]
COMPILED = Choice(compiled=True, reason="for the test")


needs_compiler = pytest.mark.skipif(
    not (shutil.which("g++") or shutil.which("clang++")), reason="there is no C++ compiler"
)


def images(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise with a bright corner that tells the class, so that there is something to learn."""
    labels = torch.arange(count) % DATA.classes
    shape = (count, DATA.channels, DATA.height, DATA.width)
    pixels = torch.randint(0, 150, shape, generator=torch.Generator().manual_seed(seed))
    for i, label in enumerate(labels.tolist()):
        pixels[i, label % 3, : 4 + label // 3, :8] += 100
    return pixels.to(torch.uint8), labels


def batches(count: int, recipe: Recipe = RECIPE, *, seed: int = 5) -> TrainBatches:
    train = DeviceImages(*images(count, 1), DATA, CPU)
    return batches_of(train, DATA, recipe, seed)


def trainer(
    name: str,
    *,
    count: int = 72,
    precision: Precision = "fp32",
    recipe: Recipe = RECIPE,
    choice: Choice = EAGER,
    record: Recorder | None = None,
    seed: int = 3,
) -> Trainer:
    """A training of `count` images; those of different seeds differ in weights and in the order of the images."""
    seed_everything(seed)
    model = build(parse(name), DATA)
    val = DeviceImages(*images(20, 2), DATA, CPU)
    return Trainer(model, batches(count, recipe, seed=seed + 2), val, recipe, precision, choice=choice, record=record)


def assert_same_training(one: Trainer, other: Trainer) -> None:
    for name, value in one.model.state_dict().items():
        assert torch.equal(value, other.model.state_dict()[name]), name
    assert [replace(e, train_time_s=0) for e in one.epochs] == [replace(e, train_time_s=0) for e in other.epochs]
    assert one.step_losses == other.step_losses
