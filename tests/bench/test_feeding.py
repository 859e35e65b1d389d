"""Rates of streamed images beside those of training."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from rksearch.arch import parse
from rksearch.bench.feeding import Feeding, bench_feeding
from rksearch.cli.main import cli
from rksearch.data.augmentation import Augmentation
from rksearch.data.facts import dataset
from rksearch.data.images import load_data
from rksearch.data.packing import write_pack
from rksearch.data.pictures import Stored
from tests.helpers.command_line import rksearch
from tests.helpers.pictures import photos_folder

RATES = Feeding(decode=300, augment=400, deliver=600, train=500, workers=4)


def test_the_limit_is_the_slower_one_of_what_is_too_slow() -> None:
    assert RATES.limit == "training"
    assert replace(RATES, train=700).limit == "decoding"
    assert replace(RATES, train=700, augment=200).limit == "augmentation"


@pytest.mark.usefixtures("one_thread")
def measured(home: Path, window_s: float) -> Feeding:
    """Rates of a streamed folder of photos, beside the training of ResNet-8."""
    data = dataset(f"folder:{photos_folder(home / 'photos')},size=28,stream=yes")
    images = load_data(data, home)
    assert isinstance(images, Stored)
    return bench_feeding(
        parse("ResNet-8"),
        data,
        images,
        augmentation=Augmentation(kind="scale_aspect"),
        batch_size=8,
        device=torch.device("cpu"),
        precision="fp32",
        workers=0,
        window_s=window_s,
    )


def test_rates_are_measured_and_delivering_is_slower_than_decoding(tmp_path: Path) -> None:
    found = measured(tmp_path, window_s=0.1)
    assert min(found.decode, found.augment, found.deliver, found.train) > 0
    assert found.deliver < found.decode


@pytest.mark.timing
def test_delivering_takes_longer_than_augmenting_alone(tmp_path: Path) -> None:
    """By a sixth where decoding is fast, which is less than a busy machine shifts between two windows."""
    found = measured(tmp_path, window_s=1.0)
    assert found.deliver < found.augment


def test_images_in_memory_have_no_rate() -> None:
    done = rksearch("bench", "data", "digits")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "held in memory" in done.stderr


@pytest.mark.timing
def test_a_pack_loads_at_least_three_times_as_fast_as_its_folder(tmp_path: Path) -> None:
    """JPEGs of ImageNet's usual size, 500 x 375; the whole command, with two workers."""
    home = photos_folder(tmp_path / "photos", classes=3, each=60, side=375)
    name = f"folder:{home},size=224,stream=yes"
    data = dataset(name)
    images = load_data(data, tmp_path)
    assert isinstance(images, Stored)
    write_pack(data, images, tmp_path / "x.rkpack", threads=2)
    rates = {}
    for address in (name, f"pack:{tmp_path / 'x.rkpack'}"):
        done = CliRunner().invoke(
            cli, ["bench", "data", address, "--arch", "ResNet-8", "--workers", "2", "--seconds", "3", "--json"]
        )
        assert done.exit_code == 0, done.output
        rates[address] = json.loads(done.stdout)
    folder, packed = rates.values()
    assert packed["decode"] >= 3 * folder["decode"]
    assert packed["deliver"] > folder["deliver"]
