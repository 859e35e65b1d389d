"""Whole runs on images of the user's own, through the command line: real Ray, real training of tiny networks."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from rksearch.results.ledger import Ledger
from tests.helpers.command_line import TINY_SPACE, rksearch
from tests.helpers.pictures import digits_folder, enlarged, photos_folder

SPACE = (
    TINY_SPACE.replace("trials: 3", "trials: 1").replace("final: 2", "final: 1").replace("train_images: 100\n", "")
).replace("epochs: 2", "epochs: 1")


def call(*args: str, cwd: Path) -> str:
    done = rksearch(*args, cwd=cwd, timeout_s=500)
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout


def refused(*args: str, cwd: Path) -> str:
    done = rksearch(*args, cwd=cwd, timeout_s=500)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), (done.stdout, done.stderr)
    return done.stderr


@pytest.mark.slow
def test_a_folder_from_a_run_to_the_report_and_not_when_it_changes(tmp_path: Path) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    elsewhere.mkdir()
    images = digits_folder(home / "digs")
    (images / "class0" / "broken.png").write_bytes(b"broken")
    (home / "own.yaml").write_text(SPACE.replace("dataset: digits", "dataset: folder:digs"), encoding="utf-8")

    said = call("run", "--space", "own.yaml", "--out", "run", cwd=home)
    note = "1 file is skipped: class0/broken.png (no image)"
    assert f"folder:digs: {note}" in said
    history = Ledger(home / "run").read()
    assert history.data is not None
    assert history.data.class_names == ("class0", "class1", "class2")
    assert history.data.notes == (note,)
    assert history.data.fingerprint
    assert {spec.dataset for spec, _ in history.trials.values()} == {"folder:digs"}
    assert all(result.images.train == 39 for _, result in history.trials.values())
    shared = [path for path in (home / "run").iterdir() if path.is_file()]
    assert not [path.name for path in shared if str(tmp_path) in path.read_text(encoding="utf-8")]

    page = (home / "run" / "README.md").read_text(encoding="utf-8")
    path = images / "class1" / "0020.png"
    content = path.read_bytes()
    path.unlink()
    assert "the images of folder:digs must stay as they were" in refused("resume", "../home/run", cwd=elsewhere)
    path.write_bytes(content)
    assert "class0/broken.png" in page

    shutil.rmtree(images)
    before = (home / "run" / "report.html").read_bytes()
    call("report", "../home/run", cwd=elsewhere)
    assert (home / "run" / "report.html").read_bytes() == before
    trial = next(iter(history.trials))
    call("export", f"../home/run:{trial}", "--to", "net", cwd=elsewhere)
    data = json.loads((elsewhere / "net" / "spec.json").read_text(encoding="utf-8"))["data"]
    assert (data["name"], data["classes"], data["height"]) == ("folder:digs", 3, 12)


@pytest.mark.slow
def test_arrays_from_a_run_to_the_report_wherever_it_is_resumed(tmp_path: Path) -> None:
    pixels, labels = enlarged(classes=3, each=20)
    (tmp_path / "arrays").mkdir()
    np.savez(tmp_path / "arrays" / "d.npz", x=np.stack([pixels, pixels // 2, 255 - pixels], axis=-1), y=labels)
    (tmp_path / "own.yaml").write_text(SPACE.replace("dataset: digits", "dataset: npz:arrays/d.npz"), encoding="utf-8")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    call("run", "--space", "../own.yaml", "--out", "../run", cwd=elsewhere)
    trained = len(Ledger(tmp_path / "run").read().trials)
    call("resume", "run", "--trials", "2", cwd=tmp_path)
    assert len(Ledger(tmp_path / "run").read().trials) > trained
    page = (tmp_path / "run" / "README.md").read_text(encoding="utf-8")
    assert "npz:arrays/d.npz: 48 training and 12 test images of 3 classes" in page + (
        tmp_path / "run" / "report.html"
    ).read_text(encoding="utf-8")
    said = call("final", "run", cwd=tmp_path)
    assert "finished" in said
    assert {reading.result.test_images for reading in Ledger(tmp_path / "run").read().tests} == {12}

    np.savez(tmp_path / "arrays" / "d.npz", x=pixels, y=labels)
    for command in (["final", "run"], ["resume", "run"], ["run", "--space", "own.yaml", "--out", "run"]):
        assert "the images of npz:arrays/d.npz must stay as they were" in refused(*command, cwd=tmp_path)


@pytest.mark.slow
def test_a_streamed_folder_from_a_run_to_the_test_with_workers_inside_of_rays(tmp_path: Path) -> None:
    photos_folder(tmp_path / "photos")
    space = SPACE.replace("dataset: digits", "dataset: folder:photos,size=28,stream=yes,flip=yes")
    space = space.replace("name: short", "name: paper_imagenet_256").replace("batch_size: 32", "batch_size: 8")
    (tmp_path / "own.yaml").write_text(space, encoding="utf-8")
    call("run", "--space", "own.yaml", "--out", "run", "--cpus-per-trial", "2", cwd=tmp_path)
    history = Ledger(tmp_path / "run").read()
    assert history.data is not None
    assert history.data.streamed
    assert {result.status for _, result in history.trials.values()} == {"complete"}
    assert all((result.images.train, result.images.val) == (24, 6) for _, result in history.trials.values())
    call("final", "run", cwd=tmp_path)
    assert {reading.result.test_images for reading in Ledger(tmp_path / "run").read().tests} == {6}


def test_a_search_on_imagenet_says_where_its_images_must_lie(tmp_path: Path) -> None:
    said = refused("run", "--space", "imagenet_bc", "--out", "run", "--data-dir", "none", cwd=tmp_path)
    assert "imagenet needs the folders train and val in" in said
