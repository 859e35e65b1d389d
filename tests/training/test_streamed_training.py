"""Trainings on streamed images: by the trainer, in trials that are interrupted, and by the command line."""

import multiprocessing
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from rksearch.arch import parse
from rksearch.cli.main import cli
from rksearch.data.facts import dataset
from rksearch.data.pictures import Stored
from rksearch.models import build
from rksearch.recipes.recipe import Recipe
from rksearch.recipes.shipped import recipe
from rksearch.results.codec import from_plain, to_plain
from rksearch.results.records import ImageCounts, TrialResult, TrialSpec
from rksearch.space import load_space
from rksearch.training.execution import Execution
from rksearch.training.inputs import GroupInputs, SharedInputs, largest_group
from rksearch.training.memory import plan_memory
from rksearch.training.trainer import Trainer, batches_of, check_images_suit, seed_everything
from rksearch.training.trial import run_trial, run_trials
from rksearch.training.trial import test_trial as read_test_set
from tests.helpers.command_line import rksearch
from tests.helpers.pictures import photos_folder
from tests.helpers.recorded import Recorder
from tests.helpers.trainings import assert_same_training

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = replace(recipe("paper_imagenet_256"), epochs=3, batch_size=8)
TABLE_3 = ["RKNet-BC-k32-m2_4_8_16-3x1_3x1_3x1_1x1", "RKNet-BC-k32-m2_4_8_16-1x3s_1x3s_1x3s_1x1", "DenseNet-121"]


@pytest.fixture
def photos(tmp_path: Path) -> str:
    return f"folder:{photos_folder(tmp_path / 'photos')},size=28,stream=yes,flip=yes"


def trial(photos: str, chosen: Recipe = SMALL, replicate: int = 0) -> TrialSpec:
    return TrialSpec(arch="ResNet-8", dataset=photos, recipe=chosen, replicate=replicate)


def execution(work: Path, threads: int = 1) -> Execution:
    return Execution(work_dir=str(work), data_dir=str(work), device="cpu", precision="fp32", threads=threads)


def numbers(result: TrialResult) -> list[object]:
    assert result.status == "complete", result.message
    return [replace(epoch, train_time_s=0.0) for epoch in result.epochs]


def test_a_training_that_is_interrupted_has_the_numbers_of_one_that_is_not(tmp_path: Path, photos: str) -> None:
    whole = run_trial(trial(photos), execution(tmp_path / "a"))
    for until in (1, 2):
        assert run_trial(trial(photos), execution(tmp_path / "b"), until=until).status == "paused"
    resumed = run_trial(trial(photos), execution(tmp_path / "b"))
    assert numbers(resumed) == numbers(whole)
    assert whole.images is not None
    assert (whole.images.train, whole.images.val) == (24, 6)
    one, other = (read_test_set(trial(photos), execution(tmp_path / name)) for name in "ab")
    assert one == other
    assert one.test_images == 6


@pytest.mark.slow
@pytest.mark.ci
def test_workers_change_no_number_and_end_with_the_training(tmp_path: Path, photos: str) -> None:
    chosen = replace(SMALL, epochs=2)
    result = run_trial(trial(photos, chosen), execution(tmp_path / "a", threads=2))  # with one worker
    assert result.status == "complete"
    assert multiprocessing.active_children() == []
    shared = SharedInputs.load(trial(photos, chosen), execution(tmp_path / "c", threads=3))
    group = GroupInputs(shared, chosen, execution(tmp_path / "c", threads=3), 1)
    try:
        trainers = [_trainer(shared, group), _trainer(shared, GroupInputs(shared, chosen, execution(tmp_path), 1))]
        for each in trainers:
            for _ in range(2):
                each.run_epoch()
        assert_same_training(*trainers)
    finally:
        group.close()
    assert multiprocessing.active_children() == []


def _trainer(shared: SharedInputs, group: GroupInputs, record: Recorder | None = None) -> Trainer:
    chosen = replace(SMALL, epochs=2)
    seed_everything(1)
    model = build(shared.arch, shared.facts)
    train, val = group.images
    batches = batches_of(train, shared.facts, chosen, 2)
    return Trainer(model, batches, val, chosen, "fp32", record=record)


def test_a_recorded_step_replayed_reads_streamed_batches(tmp_path: Path, photos: str) -> None:
    """Batches come into tensors that do not move: a replay, as of a CUDA graph, sees the next one."""
    shared = SharedInputs.load(trial(photos), execution(tmp_path))
    recorder = Recorder()
    plain, recorded = (
        _trainer(shared, GroupInputs(shared, SMALL, execution(tmp_path), 1), record) for record in (None, recorder)
    )
    for each in (plain, recorded):
        each.run_epoch()
        each.run_epoch()
    assert len(recorder.recordings) == 1
    assert_same_training(plain, recorded)


def test_seeds_of_streamed_images_run_one_after_another(tmp_path: Path, photos: str) -> None:
    chosen = replace(SMALL, epochs=1)
    specs = [trial(photos, chosen, replicate) for replicate in (0, 1)]
    assert largest_group(SharedInputs.load(specs[0], execution(tmp_path)), specs, execution(tmp_path)) == 1
    together = run_trials(specs, execution(tmp_path / "a"))
    assert [numbers(result) for result in together] == [
        numbers(run_trial(spec, execution(tmp_path / "b"))) for spec in specs
    ]


def test_a_recipe_of_images_in_memory_suits_streamed_ones(tmp_path: Path, photos: str) -> None:
    chosen = replace(recipe("fast"), epochs=2, batch_size=8)
    assert len(numbers(run_trial(trial(photos, chosen), execution(tmp_path)))) == 2


def test_damaged_images_are_left_out_counted_and_listed(tmp_path: Path, photos: str) -> None:
    """Also where a training is interrupted: its numbers are those of one that was not."""
    shared = SharedInputs.load(trial(photos), execution(tmp_path))
    assert isinstance(shared.images, Stored)
    lost = [shared.images.train.keys[int(part[1])] for part in (shared.parts.train, shared.parts.val)]
    tested = shared.images.test.keys[4]
    for key in (*lost, tested):
        path = tmp_path / "photos" / key.decode()
        path.write_bytes(bytes(path.stat().st_size))
    chosen = trial(photos, replace(SMALL, epochs=2))
    whole = run_trial(chosen, execution(tmp_path / "a"))
    run_trial(chosen, execution(tmp_path / "b"), until=1)
    resumed = run_trial(chosen, execution(tmp_path / "b"))
    assert numbers(resumed) == numbers(whole)
    for result in (whole, resumed):
        assert result.unreadable == tuple(f"{key.decode()} (no image)" for key in lost)
        assert result.images == ImageCounts(train=23, val=5)
        assert result.val_confusion is not None
        assert sum(result.val_confusion.images) == 5
        assert from_plain(TrialResult, to_plain(result)) == result
    found = read_test_set(chosen, execution(tmp_path / "a"))
    assert (found.test_images, found.unreadable) == (5, (f"{tested.decode()} (no image)",))


@pytest.mark.slow
def test_the_command_says_which_images_were_left_out(tmp_path: Path, photos: str) -> None:
    shared = SharedInputs.load(trial(photos), execution(tmp_path))
    assert isinstance(shared.images, Stored)
    lost = shared.images.train.keys[int(shared.parts.val[0])].decode()
    (tmp_path / "photos" / lost).write_bytes(b"broken")
    words = [
        "train",
        "ResNet-8",
        "--dataset",
        photos,
        "--recipe",
        "short",
        "--epochs",
        "1",
        "--out",
        str(tmp_path / "out"),
    ]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0, done.output
    assert f"1 image could not be read and counts nowhere: {lost} (no image)" in done.stderr


def test_memory_is_planned_for_a_batch_and_not_for_all_images() -> None:
    spec, data = parse("DenseNet-121"), dataset("imagenet")
    chosen = replace(SMALL, batch_size=32)

    def peak(**terms: object) -> int:
        return plan_memory(spec, data, chosen, "bf16", 2**50, eval_batch_size=64, **terms).predicted_peak_bytes  # type: ignore[arg-type]

    pixels, count = 3 * 224 * 224, 1_281_167
    assert peak(images=count) - peak() == count * (pixels + 8)
    assert peak(images=count, streamed=True) - peak() == 45 * count + (32 + 64) * pixels


def test_recipes_for_imagenet_suit_its_space() -> None:
    definition = load_space("imagenet_bc").definition
    assert definition.recipe.augmentation == "scale_aspect"
    assert (definition.recipe.epochs, definition.recipe.batch_size) == (90, 256)
    for name in ("paper_imagenet_256", "paper_imagenet_128"):
        check_images_suit(recipe(name), "imagenet")


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLE_3)
def test_networks_of_table_3_take_steps_at_224(tmp_path: Path, name: str) -> None:
    home = photos_folder(tmp_path / "photos", classes=2, each=8, side=280)
    spec = TrialSpec(
        arch=name,
        dataset=f"folder:{home},size=224,stream=yes,flip=yes",
        recipe=replace(recipe("paper_imagenet_128"), epochs=1, batch_size=4),
    )
    result = run_trial(spec, execution(tmp_path))
    assert result.status == "complete", result.message
    assert result.witness is not None
    assert result.witness.agree


@pytest.mark.slow
@pytest.mark.ci
def test_the_command_trains_a_network_of_table_3_on_a_folder_and_a_pack(tmp_path: Path) -> None:
    home = photos_folder(tmp_path / "photos", classes=2, each=6, side=256)
    (tmp_path / "mine.yaml").write_text("epochs: 1\nbatch_size: 4\naugmentation: scale_aspect\n")
    name = f"folder:{home},size=224,stream=yes"
    packed = rksearch("data", "pack", name, "--to", "x.rkpack", cwd=tmp_path)
    assert packed.returncode == 0, packed.stderr
    for address in (name, "pack:x.rkpack"):
        done = rksearch(
            "train", TABLE_3[0], "--dataset", address, "--recipe", "./mine.yaml", "--threads", "2", "--test",
            "--device", "cpu", "--precision", "fp32", "--out", address[:4], cwd=tmp_path, timeout_s=900,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "epoch   1/1" in done.stdout
        assert "on 2 images" in done.stdout


def test_each_fetch_brings_the_next_batch(tmp_path: Path, photos: str) -> None:
    shared = SharedInputs.load(trial(photos), execution(tmp_path))
    group = GroupInputs(shared, SMALL, execution(tmp_path), 1)
    batches = batches_of(group.images[0], shared.facts, SMALL, 2)
    draws = batches.draw()
    batches.begin(draws)
    places = torch.arange(8)
    batches.fetch()
    first, labels = batches.at(places, draws)
    batches.fetch()
    second, _ = batches.at(places + 8, draws)
    assert not torch.equal(first, second)
    assert labels.tolist() == batches.images.labels(draws.order[:8]).tolist()
