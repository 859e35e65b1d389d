"""Whole runs whose driver is suspended, whose newest checkpoints are damaged, or which may only be read."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch

from rksearch.bench.faults.disturbing import Numbers, numbers_in, numbers_of
from rksearch.results.codec import from_plain
from rksearch.results.ledger import Ledger
from rksearch.results.own_files import DERIVED
from rksearch.results.records import TrialResult
from tests.helpers.command_line import TINY_SPACE, command, environment, python, rksearch, rksearch_json
from tests.helpers.mounts import MOUNTS, can_mount
from tests.helpers.processes import none_left, started, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.ci]

EPOCHS = 300
SPACE = TINY_SPACE.replace("epochs: 2, batch_size: 32", f"epochs: {EPOCHS}")
BASELINES = ("DenseNet-10-k2", "ResNet-8")


def run(run_dir: Path) -> tuple[str, ...]:
    """The baselines alone."""
    (run_dir.parent / "space.yaml").write_text(SPACE)
    return ("run", "--space", "space.yaml", "--trials", "0", "--seeds", "1", "--out", run_dir.name, "--device", "cpu")


def epoch_times_s(checkpoint: Path) -> list[float]:
    """Seconds of each epoch that a checkpoint holds: no two trainings have the same."""
    _, _, content = checkpoint.read_bytes().partition(b"\n")
    epochs = torch.load(io.BytesIO(content), weights_only=True)["state"]["epochs"]
    return [epoch["train_time_s"] for epoch in epochs]


def checkpoints(run_dir: Path, name: str = "previous.pt") -> list[Path]:
    return sorted((run_dir / "work" / "trials").glob(f"*/{name}"))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Numbers]:
    """Numbers of the same trainings alone, each by a command of its own, without Ray."""
    place = tmp_path_factory.mktemp("undisturbed")
    recipe = ("--recipe", "short", "--epochs", str(EPOCHS), "--train-images", "100")
    found = {}
    for arch in BASELINES:
        words = ("train", arch, "--dataset", "digits", *recipe, "--threads", "1", "--device", "cpu", "--json")
        trained = rksearch_json(*words, cwd=place)
        found[trained["trial"]] = numbers_of(from_plain(TrialResult, trained["result"]))
    return found


@pytest.fixture(scope="module")
def suspended(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, str]:
    """A run whose driver alone was suspended for some seconds; its directory, its exit code and its errors."""
    run_dir = tmp_path_factory.mktemp("suspended") / "run"
    with started(*run(run_dir), cwd=run_dir.parent) as (driver, mark):
        wait_until(lambda: bool(checkpoints(run_dir)), driver)
        os.kill(driver.pid, signal.SIGSTOP)
        time.sleep(8)
        os.kill(driver.pid, signal.SIGCONT)
        _, errors = driver.communicate(timeout=300)
        assert none_left(mark)
    return run_dir, driver.returncode, errors


def test_a_run_whose_driver_alone_is_suspended_finishes(
    suspended: tuple[Path, int, str], undisturbed: dict[str, Numbers]
) -> None:
    run_dir, code, errors = suspended
    assert (code, errors) == (0, "")
    history = Ledger(run_dir).read()
    assert history.state == "finished"
    assert (history.repeated, history.damaged) == (0, 0)
    assert numbers_in(history) == undisturbed


READ = """
mount --bind run run && mount -o remount,bind,ro run || exit 99
if touch run/mine 2> /dev/null; then exit 98; fi
"$@" status run > status.txt || exit 1
"$@" report run --to page > report.txt || exit 2
"$@" export run:ResNet-8@0 --to exported > export.txt || exit 3
"$1" -c "import rksearch; print(len(rksearch.load('run:ResNet-8@0').state_dict()))" > loaded.txt || exit 4
"$@" report run > in_place.txt 2> in_place.errors
echo $? > in_place.code
"$@" resume run > resume.txt 2> resume.errors
echo $? > resume.code
"""


def files(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_a_run_that_may_only_be_read_is_reported_elsewhere_exported_and_loaded_from(
    suspended: tuple[Path, int, str],
) -> None:
    run_dir, _, _ = suspended
    place = run_dir.parent
    if not can_mount(run_dir):
        pytest.skip("nothing can be mounted here")
    before = files(run_dir)
    done = subprocess.run(
        [*MOUNTS, READ, "sh", *command()], cwd=place, env=environment(), capture_output=True, text=True, timeout=300
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert files(run_dir) == before
    assert {path.name for path in (place / "page").iterdir()} == set(DERIVED)
    assert (place / "page" / "trials.csv").read_bytes() == before["trials.csv"]
    there = "import rksearch; print(len(rksearch.load('exported').state_dict()))"
    assert (place / "loaded.txt").read_text() == python("-c", there, cwd=place).stdout
    for name in ("in_place", "resume"):
        [line] = (place / f"{name}.errors").read_text().splitlines()
        assert "Read-only file system" in line
        assert (place / f"{name}.code").read_text() == "2\n"


def test_damaged_checkpoints_fall_back_to_those_before_say_so_and_change_nothing(
    tmp_path: Path, undisturbed: dict[str, Numbers]
) -> None:
    run_dir = tmp_path / "run"
    with started(*run(run_dir), cwd=tmp_path) as (driver, mark):
        wait_until(lambda: bool(checkpoints(run_dir)), driver)
        os.kill(driver.pid, signal.SIGINT)
        _, errors = driver.communicate(timeout=120)
        assert (driver.returncode, errors) == (130, "")
        assert none_left(mark)
    before = {path.with_name("checkpoint.pt"): epoch_times_s(path) for path in checkpoints(run_dir)}
    for path, times_s in before.items():
        assert 0 < len(times_s) < len(epoch_times_s(path)) < EPOCHS
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    resumed = rksearch("resume", "run", cwd=tmp_path)
    assert (resumed.returncode, resumed.stderr) == (0, "")
    history = Ledger(run_dir).read()
    assert history.state == "finished"
    assert numbers_in(history) == undisturbed
    for path, times_s in before.items():
        said = f"{path} is damaged (its checksum is wrong); it is set aside and an earlier state, or none, is used"
        assert said in resumed.stdout
        assert said in (path.parent / "notes.txt").read_text()
        assert path.with_name("checkpoint.pt.unusable").exists()
        _, result = history.trials[path.parent.name]
        assert [epoch.train_time_s for epoch in result.epochs[: len(times_s)]] == times_s, "it began again"
