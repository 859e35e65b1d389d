import json
import math
import multiprocessing
import os
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from rksearch.arch import ArchSpec, parse
from rksearch.arch.cost import Cost, Witness, cost
from rksearch.data.dataset import Images
from rksearch.data.facts import Dataset, dataset
from rksearch.data.images import load_images
from rksearch.errors import CheckpointError, DataError, DeviceError, RunError, SpecError, StorageError, TrialFailed
from rksearch.models import build
from rksearch.models.witness import witness
from rksearch.recipes.recipe import Recipe
from rksearch.results.codec import from_plain, to_plain
from rksearch.results.files import file_lock
from rksearch.results.records import Epoch, ImageCounts, TestResult, TrialResult, TrialSpec
from rksearch.results.run_dir import mirror_address
from rksearch.training import inputs, lifecycle
from rksearch.training import trial as trial_module
from rksearch.training.checkpoint import NEWEST, PREVIOUS
from rksearch.training.engine.device import has_native_bf16
from rksearch.training.execution import Execution
from rksearch.training.memory import footprint, plan_memory
from rksearch.training.trainer import Trainer
from rksearch.training.trial import finished_weights, run_trial, trial_dir
from tests.helpers.ledgers import begin

RECIPE = Recipe(name="short", epochs=4, batch_size=32, lr=0.05, schedule="cosine", warmup=0.1)
SPEC = TrialSpec(arch="RKNet-BC-k2-m2_2-1x2s_1x1", dataset="digits", recipe=RECIPE, train_images=100)


def execution(work_dir: Path, **changes: Any) -> Execution:
    return replace(Execution(work_dir=str(work_dir), data_dir=str(work_dir / "data"), precision="fp32"), **changes)


def comparable(result: TrialResult) -> dict[str, Any]:
    """Everything but the times."""
    plain = to_plain(result)
    for epoch in plain["epochs"]:
        del epoch["train_time_s"]
    del plain["work_times"]
    return plain


def weights(work_dir: Path, file: str = NEWEST) -> dict[str, Any]:
    content = (trial_dir(work_dir, SPEC.id) / file).read_bytes()
    payload = content.partition(b"\n")[2]
    path = work_dir / "payload"
    path.write_bytes(payload)
    return dict(torch.load(path, weights_only=True)["state"]["model"])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrialResult]:
    """One uninterrupted training, shared by the tests that only look at it."""
    work_dir = tmp_path_factory.mktemp("whole")
    return work_dir, run_trial(SPEC, execution(work_dir))


def test_a_trial_tells_all_it_found(whole: tuple[Path, TrialResult]) -> None:
    _, result = whole
    counts = cost(parse(SPEC.arch), dataset("digits"))
    assert result.status == "complete"
    assert (result.failure, result.message) == (None, None)
    assert (result.params, result.params_paper, result.macs, result.fvcore_flops) == counts
    assert result.witness.agree is True
    assert result.images == ImageCounts(train=100, val=359)
    assert (result.device, result.precision, result.threads) == ("cpu", "fp32", 1)
    assert [e.epoch for e in result.epochs] == [1, 2, 3, 4]
    assert len(result.split) == 16
    times = result.work_times
    assert times is not None
    assert set(times.parts_s) == {"load", "build", "witness", "plan", "set_up", "prepare", "train", "validate", "save"}
    assert times.parts_s["train"] == pytest.approx(sum(e.train_time_s for e in result.epochs), abs=0.001)
    assert 0 < sum(times.parts_s.values()) <= times.ended_s - times.began_s + 0.01
    assert from_plain(TrialResult, to_plain(result)) == result


def test_a_worker_reads_and_splits_the_images_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []

    def counted(facts: Dataset, data_dir: Path, *, download: bool = True) -> Images:
        read.append(data_dir)
        return load_images(facts, data_dir, download=download)

    monkeypatch.setattr(inputs, "load_data", counted)
    there, elsewhere = execution(tmp_path), execution(tmp_path, data_dir=str(tmp_path / "other"))
    one, other = (run_trial(replace(SPEC, replicate=i), there, until=1) for i in range(2))
    assert one.split == other.split
    assert read == [tmp_path / "data"]
    final = run_trial(replace(SPEC, role="final"), there, until=1)
    assert final.images == ImageCounts(train=459, val=0)  # the others' split is as it was
    assert run_trial(replace(SPEC, replicate=2), there, until=1).images == ImageCounts(train=100, val=359)
    assert read == [tmp_path / "data"]
    run_trial(replace(SPEC, replicate=3), elsewhere, until=1)
    assert read == [tmp_path / "data", tmp_path / "other"]


def test_a_finished_trial_returns_at_once_and_reports_no_epoch_again(
    whole: tuple[Path, TrialResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    work_dir, result = whole

    def never(*args: object, **kwargs: object) -> None:
        raise AssertionError("a finished trial needs no data")

    monkeypatch.setattr(inputs, "load_data", never)
    told: list[Epoch] = []
    assert run_trial(replace(SPEC, role="baseline"), execution(work_dir), told.append) == result
    assert told == []


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_stopped_after_epoch_3_and_resumed_equals_uninterrupted(tmp_path: Path, precision: str) -> None:
    if precision == "bf16" and not has_native_bf16(torch.device("cpu")):
        pytest.skip("this CPU has no bf16")
    expected = run_trial(SPEC, execution(tmp_path / "a", precision=precision))
    told: list[Epoch] = []
    there = execution(tmp_path / "b", precision=precision)
    paused = run_trial(SPEC, there, told.append, until=1)
    assert (paused.status, paused.epochs) == ("paused", tuple(told[:1]))
    again = run_trial(SPEC, there, told.append, until=1)
    assert replace(again, work_times=paused.work_times) == paused, "it has got there already"
    stopped = run_trial(SPEC, there, told.append, until=3)
    assert (stopped.status, stopped.failure) == ("paused", None)
    assert stopped.epochs == tuple(told)
    assert (stopped.params, stopped.witness) == (expected.params, expected.witness)
    late = run_trial(SPEC, replace(there, deadline_s=time.time() - 1), told.append)
    assert replace(late, work_times=stopped.work_times) == stopped
    assert late.work_times is not None
    assert "train" not in late.work_times.parts_s  # what came before is not of this start
    torch.manual_seed(1)  # what else happens in the process must not matter
    resumed = run_trial(SPEC, there, told.append, until=9)
    assert comparable(resumed) == comparable(expected)
    assert resumed.epochs == tuple(told)
    original = weights(tmp_path / "a")
    for name, value in weights(tmp_path / "b").items():
        assert torch.equal(value, original[name]), name


def damage_newest(directory: Path) -> None:
    path = directory / NEWEST
    path.write_bytes(path.read_bytes()[:-100])


def damage_both(directory: Path) -> None:
    damage_newest(directory)
    (directory / PREVIOUS).write_bytes(b"nothing")


def remove_newest(directory: Path) -> None:
    (directory / NEWEST).unlink()


@pytest.mark.parametrize(
    ("harm", "epochs_again"), [(damage_newest, [3, 4]), (damage_both, [1, 2, 3, 4]), (remove_newest, [3, 4])]
)
def test_damaged_checkpoints_cost_time_and_change_nothing(
    tmp_path: Path, whole: tuple[Path, TrialResult], harm: Callable[[Path], None], epochs_again: list[int]
) -> None:
    told: list[Epoch] = []
    run_trial(SPEC, execution(tmp_path), told.append, until=3)
    harm(trial_dir(tmp_path, SPEC.id))
    again: list[int] = []
    result = run_trial(SPEC, execution(tmp_path), lambda epoch: again.append(epoch.epoch))
    assert again == epochs_again
    assert comparable(result) == comparable(whole[1])


@pytest.mark.parametrize(
    "other",
    [
        replace(SPEC, recipe=replace(RECIPE, lr=0.01)),
        replace(SPEC, train_images=200),
        replace(SPEC, recipe=replace(RECIPE, epochs=2)),
    ],
)
def test_a_checkpoint_of_another_recipe_or_subset_is_not_used(tmp_path: Path, other: TrialSpec) -> None:
    assert run_trial(other, execution(tmp_path), until=1).status == "paused"
    result = run_trial(SPEC, execution(tmp_path))
    assert [e.epoch for e in result.epochs] == [1, 2, 3, 4]
    assert "another trial or recipe" in (trial_dir(tmp_path, SPEC.id) / "notes.txt").read_text()


def test_the_end_of_another_training_is_not_displaced(tmp_path: Path) -> None:
    other = replace(SPEC, recipe=replace(RECIPE, epochs=2))
    run_trial(other, execution(tmp_path))
    directory = trial_dir(tmp_path, SPEC.id)
    before = {path.name: path.read_bytes() for path in directory.glob("*.pt*")}
    with pytest.raises(RunError, match=r"is the end of another one of this name .* choose another --out"):
        run_trial(SPEC, execution(tmp_path))
    assert {path.name: path.read_bytes() for path in directory.glob("*.pt*")} == before
    assert run_trial(other, execution(tmp_path)).status == "complete"


def test_the_weights_of_a_finished_trial_are_read_without_a_trace(tmp_path: Path) -> None:
    """As from a run that may only be read; a damaged newest checkpoint leaves the one before, which is no end."""
    short = replace(SPEC, recipe=replace(RECIPE, epochs=2))
    run_trial(short, execution(tmp_path))
    directory = trial_dir(tmp_path, short.id)
    (directory / "lock").unlink()
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    assert finished_weights(short, tmp_path)
    (directory / "checkpoint.pt").write_bytes(b"torn")
    with pytest.raises(RunError, match="there is none"):
        finished_weights(short, tmp_path)
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == {**before, "checkpoint.pt": b"torn"}


def test_a_checkpoint_that_does_not_fit_the_network_is_not_used(
    tmp_path: Path, whole: tuple[Path, TrialResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:  # as if an older version had built the network otherwise
        patch.setattr(lifecycle, "build", lambda arch, facts: build(parse("ResNet-8"), facts))
        told: list[Epoch] = []
        run_trial(SPEC, execution(tmp_path), told.append, until=2)
    result = run_trial(SPEC, execution(tmp_path))
    assert comparable(result) == comparable(whole[1])
    assert "does not fit the network" in (trial_dir(tmp_path, SPEC.id) / "notes.txt").read_text()


def test_a_checkpoint_that_is_loaded_in_part_leaves_no_trace(tmp_path: Path, whole: tuple[Path, TrialResult]) -> None:
    run_trial(SPEC, execution(tmp_path), until=1)
    directory = trial_dir(tmp_path, SPEC.id)
    store = trial_module._checkpoints(SPEC, execution(tmp_path), directory)
    state = next(store.newest_first()).state
    *_, last = state["model"]
    state["model"][last] = torch.zeros(1)  # loading copies all others before it complains of this one
    store.save(state)
    (directory / PREVIOUS).unlink()
    assert comparable(run_trial(SPEC, execution(tmp_path))) == comparable(whole[1])
    assert "does not fit the network" in (directory / "notes.txt").read_text()


@pytest.mark.parametrize("arch", [SPEC.arch, "ResNet-8", "RKCNN-E-k4-1x1_1x1-drop30", "RKNet-Res-2x1@heun2+train"])
def test_a_trial_builds_one_network_which_is_counted_and_then_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arch: str
) -> None:
    spec = replace(SPEC, arch=arch)
    built: list[nn.Module] = []
    counted: list[tuple[nn.Module, dict[str, torch.Tensor], torch.Tensor]] = []
    trained: list[tuple[nn.Module, dict[str, torch.Tensor], torch.Tensor]] = []

    def start(model: nn.Module) -> tuple[nn.Module, dict[str, torch.Tensor], torch.Tensor]:
        return model, {name: value.clone() for name, value in model.state_dict().items()}, torch.get_rng_state()

    def builder(arch: ArchSpec, facts: Dataset) -> nn.Module:
        built.append(build(arch, facts))
        return built[-1]

    def counter(model: nn.Module, facts: Dataset, counts: Cost, executed_macs: int) -> Witness:
        counted.append(start(model))
        torch.rand(1)  # whatever counting draws must not change the training
        return witness(model, facts, counts, executed_macs)

    class Noted(Trainer):
        def run_epoch(self) -> Epoch:
            if not trained:
                trained.append(start(self.model))
            return super().run_epoch()

    monkeypatch.setattr(lifecycle, "build", builder)
    monkeypatch.setattr(lifecycle, "witness", counter)
    monkeypatch.setattr(lifecycle, "Trainer", Noted)
    result = run_trial(spec, execution(tmp_path / "noted"), until=2)
    assert result.witness.agree is True
    assert built == [counted[0][0]] == [trained[0][0]]
    torch.manual_seed(spec.seed)
    expected = start(build(parse(arch), dataset("digits")))
    for _, weights, generator in (counted[0], trained[0]):
        assert weights.keys() == expected[1].keys()
        assert all(torch.equal(value, expected[1][name]) for name, value in weights.items())
        assert torch.equal(generator, expected[2])
    run_trial(spec, execution(tmp_path / "noted"))
    assert len(built) == 2, "one more for the resumed training"


def test_checkpoints_are_those_of_earlier_versions() -> None:
    """The identity that is stored in checkpoints: another one, and no run of before could be resumed."""
    assert json.dumps(trial_module._identity(SPEC), sort_keys=True) == (
        '{"arch": "RKNet-BC-k2-m2_2-1x2s_1x1", "dataset": "digits", "recipe": {"augment": true, '
        '"batch_size": 32, "epochs": 4, "lr": 0.05, "milestones": [0.5, 0.75], "momentum": 0.9, '
        '"name": "short", "nesterov": true, "schedule": "cosine", "warmup": 0.1, '
        '"weight_decay": 0.0001}, "replicate": 0, "train_images": 100}'
    )
    assert trial_module._identity(replace(SPEC, role="baseline")) == trial_module._identity(SPEC)
    final = trial_module._identity(replace(SPEC, role="final"))
    assert final == {**trial_module._identity(SPEC), "id": "RKNet-BC-k2-m2_2-1x2s_1x1@final0"}


def test_replicates_differ_and_repetitions_do_not(tmp_path: Path, whole: tuple[Path, TrialResult]) -> None:
    again = run_trial(SPEC, execution(tmp_path))
    other = run_trial(replace(SPEC, replicate=1), execution(tmp_path))
    assert comparable(again) == comparable(whole[1])
    assert [e.val_loss for e in other.epochs] != [e.val_loss for e in again.epochs]
    assert other.split == again.split


def test_a_diverging_trial_fails_with_the_reason_and_the_traceback(tmp_path: Path) -> None:
    spec = replace(SPEC, recipe=replace(RECIPE, lr=1e30, warmup=0.0))
    result = run_trial(spec, execution(tmp_path))
    assert (result.status, result.failure) == ("failed", "non_finite_loss")
    assert "\n" not in str(result.message)
    assert "epoch 1" in str(result.message)
    assert result.params == cost(parse(SPEC.arch), dataset("digits")).params
    assert "TrialFailed" in (trial_dir(tmp_path, spec.id) / "error.txt").read_text()
    with pytest.raises(TrialFailed, match="cannot be tested: the loss must stay finite"):
        trial_module.test_trial(spec, execution(tmp_path))


class Broken(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise ZeroDivisionError("broken\nnetwork \udcff")


def test_an_exception_of_the_network_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "build", lambda arch, facts: Broken())
    monkeypatch.setattr(lifecycle, "witness", lambda *args: {})
    result = run_trial(SPEC, execution(tmp_path))
    assert result.failure == "error"
    assert result.message == "ZeroDivisionError while training epoch 1: broken network \udcff"
    note = (trial_dir(tmp_path, SPEC.id) / "error.txt").read_text()
    assert "in forward" in note
    assert r"network \udcff" in note
    assert to_plain(result)["message"].endswith(r"broken network \udcff")


def test_a_fault_is_noted_whatever_its_message(tmp_path: Path) -> None:
    trial_dir(tmp_path, SPEC.id).mkdir(parents=True)
    try:
        raise ValueError("no \udcff")
    except ValueError as error:
        trial_module.note_fault([SPEC], execution(tmp_path), error)
    assert r"ValueError: no \udcff" in (trial_dir(tmp_path, SPEC.id) / "error.txt").read_text()


def test_a_trial_recomputes_what_would_not_fit_and_finds_the_same(
    tmp_path: Path, whole: tuple[Path, TrialResult]
) -> None:
    arch, facts = parse(SPEC.arch), dataset("digits")
    peaks = [
        footprint(arch, facts, SPEC.recipe.batch_size, "fp32", recompute=again, eval_batch_size=0).step_peak
        for again in (False, True)
    ]
    assert peaks[1] < peaks[0]
    # Of so small a network an evaluated batch is larger than a training step, whichever way that is taken.
    whole_peak = plan_memory(arch, facts, replace(SPEC.recipe, batch_size=256), "fp32", 2**40).predicted_peak_bytes
    spec = replace(SPEC, recipe=replace(SPEC.recipe, batch_size=256), train_images=300)
    plain = run_trial(spec, execution(tmp_path / "plain"))
    assert plain.memory is not None
    assert plain.memory.recompute is False
    predicted = plain.memory.predicted_peak_bytes
    assert predicted is not None
    assert predicted > whole_peak
    little = int(1.15 * predicted) - 1
    again = run_trial(spec, execution(tmp_path / "again", memory_bytes=little))
    assert again.memory is not None
    assert again.memory.recompute is True
    differ = {"memory": None, "compile_reason": None}
    assert {**comparable(again), **differ} == {**comparable(plain), **differ}


def test_a_trial_that_cannot_fit_is_refused(tmp_path: Path) -> None:
    result = run_trial(SPEC, execution(tmp_path, memory_bytes=2**16))
    assert (result.status, result.failure) == ("failed", "does_not_fit")
    assert "use a smaller batch, micro_batch_size or network, or fewer trials at a time" in str(result.message)
    assert "\n" not in str(result.message)
    assert result.epochs == ()


class Greedy(nn.Module):
    """Runs out of memory in its first step."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def test_out_of_memory_is_a_failure_that_holds_nothing_and_can_be_tried_again(
    tmp_path: Path, whole: tuple[Path, TrialResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[weakref.ref[nn.Module]] = []

    def greedy(arch: ArchSpec, facts: Dataset) -> nn.Module:
        model = Greedy()
        made.append(weakref.ref(model))
        return model

    with monkeypatch.context() as patch:
        patch.setattr(lifecycle, "build", greedy)
        patch.setattr(lifecycle, "witness", lambda *args: {})
        result = run_trial(SPEC, execution(tmp_path))
    assert (result.status, result.failure) == ("failed", "out_of_memory")
    assert "fewer trials at a time" in str(result.message)
    assert made
    assert all(model() is None for model in made)
    assert comparable(run_trial(SPEC, execution(tmp_path))) == comparable(whole[1])


def test_what_the_callback_raises_goes_through_and_the_epoch_is_safe(tmp_path: Path) -> None:
    def interrupt(epoch: Epoch) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_trial(SPEC, execution(tmp_path), interrupt)
    again: list[int] = []
    run_trial(SPEC, execution(tmp_path), lambda epoch: again.append(epoch.epoch))
    assert again == [2, 3, 4]


def test_faults_that_are_not_the_networks_are_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SpecError):
        run_trial(replace(SPEC, arch="RKNet-none"), execution(tmp_path))
    with pytest.raises(DataError, match="allow the download"):
        run_trial(replace(SPEC, dataset="cifar10"), execution(tmp_path, download=False))
    with pytest.raises(DataError, match="train_images"):
        run_trial(replace(SPEC, train_images=3), execution(tmp_path))
    with pytest.raises(DeviceError):
        run_trial(SPEC, execution(tmp_path, device="tpu"))
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="the work directory must be writable"):
        run_trial(SPEC, execution(tmp_path / "file"))
    assert not (trial_dir(tmp_path, SPEC.id) / "error.txt").exists()

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match="No space left"):
        run_trial(SPEC, execution(tmp_path))


def test_a_trial_that_another_process_is_running_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_module, "LOCK_WAIT_S", 0.1)
    directory = trial_dir(tmp_path, SPEC.id)
    directory.mkdir(parents=True)
    with (
        file_lock(
            directory / "lock", wait_s=0, busy=RunError("unexpected"), unusable=lambda error: RunError(str(error))
        ),
        pytest.raises(RunError, match="is being run by another process"),
    ):
        run_trial(SPEC, execution(tmp_path))


def test_the_test_set_is_read_with_the_weights_of_the_last_epoch(whole: tuple[Path, TrialResult]) -> None:
    work_dir, _ = whole
    facts = dataset("digits")
    model = build(parse(SPEC.arch), facts)
    model.load_state_dict(weights(work_dir))
    images = load_images(facts, work_dir)
    with torch.no_grad():
        logits = model.eval()((images.test_images.float() - facts.mean[0]) / facts.std[0])
    expected = 100 * (logits.argmax(1) != images.test_labels).double().mean().item()
    found = trial_module.test_trial(SPEC, execution(work_dir))
    assert found.test_error_pct == pytest.approx(expected, abs=0.4)  # a tie may fall either way
    assert found.test_loss == pytest.approx(nn.functional.cross_entropy(logits, images.test_labels).item(), rel=1e-4)
    assert found.test_images == len(images.test_labels)
    assert from_plain(TestResult, to_plain(found)) == found


def test_the_test_set_can_be_read_when_the_checkpoint_is_gone(tmp_path: Path, whole: tuple[Path, TrialResult]) -> None:
    assert trial_module.test_trial(SPEC, execution(tmp_path)) == trial_module.test_trial(SPEC, execution(whole[0]))


def train_slowly(spec: TrialSpec, where: Execution) -> None:
    run_trial(spec, where, lambda epoch: time.sleep(0.02))


@pytest.mark.slow
@pytest.mark.ci
def test_killed_at_random_moments_it_ends_with_the_same_numbers(tmp_path: Path) -> None:
    spec = replace(SPEC, recipe=replace(RECIPE, epochs=25))
    expected = run_trial(spec, execution(tmp_path / "whole"))
    where = execution(tmp_path / "killed")
    newest = trial_dir(tmp_path / "killed", spec.id) / NEWEST
    context = multiprocessing.get_context("spawn")
    for delay_s in (0.0, 0.03, 0.11, 0.17, 0.26):
        process = context.Process(target=train_slowly, args=(spec, where))
        process.start()
        before = newest.stat().st_mtime_ns if newest.exists() else 0
        while process.is_alive() and (not newest.exists() or newest.stat().st_mtime_ns == before):
            time.sleep(0.005)
        time.sleep(delay_s)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    assert comparable(run_trial(spec, where)) == comparable(expected)


def test_nothing_of_the_search_is_imported() -> None:
    heavy = "{'ray', 'optuna', 'fvcore', 'torchvision', 'sklearn'}"
    code = f"import sys, rksearch.training.trial; print(*({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


def test_a_final_training_also_has_the_validation_images_and_other_seeds(tmp_path: Path) -> None:
    spec = replace(SPEC, role="final", recipe=replace(SPEC.recipe, epochs=1))
    result = run_trial(spec, execution(tmp_path))
    assert result.status == "complete"
    usual = run_trial(replace(spec, role="candidate"), execution(tmp_path))
    assert result.images == ImageCounts(train=(usual.images.train or 0) + (usual.images.val or 0), val=0)
    assert math.isnan(result.epochs[-1].val_error_pct)
    assert spec.seed != SPEC.seed
    reading = trial_module.test_trial(spec, execution(tmp_path))
    assert 0 <= reading.test_error_pct <= 100


def test_a_trial_goes_on_on_another_machine_bit_for_bit(tmp_path: Path, whole: tuple[Path, TrialResult]) -> None:
    """Two work directories that share nothing but a storage; the first one pauses twice, the second goes on."""
    storage = f"file://{tmp_path}/storage"
    one, other = (execution(tmp_path / name, storage=storage) for name in ("one", "other"))
    trained: list[int] = []
    for where, until in ((one, 1), (other, 2), (one, 3), (other, None)):
        result = run_trial(SPEC, where, lambda epoch: trained.append(epoch.epoch), until=until)
    assert trained == [1, 2, 3, 4]
    assert comparable(result) == comparable(whole[1])
    expected = weights(whole[0])
    assert all(torch.equal(expected[key], value) for key, value in weights(Path(other.work_dir)).items())
    # A third one has nothing left to do, and its weights can be had without training.
    again = run_trial(SPEC, execution(tmp_path / "third", storage=storage), lambda epoch: pytest.fail("trained again"))
    assert comparable(again) == comparable(result)
    found = finished_weights(SPEC, tmp_path / "fourth", storage)
    assert all(torch.equal(expected[key], value) for key, value in found.items())


def test_trainings_of_runs_with_odd_names_have_places_of_their_own_in_a_storage(tmp_path: Path) -> None:
    """The names hold what ends the path of a URI, or is encoded in one; the storage has parameters."""
    names = ("run#1", "run#2", "my run", "100%", "läuf?")
    for name in names:
        history = begin(tmp_path / name, name=name).read()
        where = execution(tmp_path / name, storage=mirror_address(history, f"file://{tmp_path}/storage?buffer_size=0"))
        trained: list[int] = []
        run_trial(SPEC, where, lambda epoch: trained.append(epoch.epoch), until=1)  # noqa: B023 - called at once
        assert trained == [1], "none takes up the copies of another"
    places = sorted(path.relative_to(tmp_path / "storage") for path in (tmp_path / "storage").rglob("*.pt"))
    assert [place.parts[1:] for place in places] == [("trials", SPEC.id, "checkpoint-000001.pt")] * len(names)
    assert [place.parts[0].rpartition("-")[0] for place in places] == sorted(names)


def test_a_storage_that_is_gone_stops_the_trial_and_loses_nothing(tmp_path: Path) -> None:
    (tmp_path / "storage").write_text("a file where a directory should be")
    where = execution(tmp_path / "one", storage=str(tmp_path / "storage"))
    with pytest.raises(StorageError, match="what is finished is kept"):
        run_trial(SPEC, where)
    (tmp_path / "storage").unlink()
    trained: list[int] = []
    run_trial(SPEC, where, lambda epoch: trained.append(epoch.epoch), until=2)
    assert trained in ([1, 2], [2])
