"""`rksearch data`: counts, measured values, duplicates and contact sheets."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from rksearch.cli.main import cli
from rksearch.data.dataset import Dataset, Images
from rksearch.data.facts import dataset, datasets, register_dataset
from rksearch.data.images import load_images, split
from rksearch.data.inspection import average_hashes
from rksearch.errors import DataError
from tests.helpers.extending import registrations_forgotten
from tests.helpers.pictures import digits_folder, enlarged, write_folder


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def answer(*args: str) -> str:
    done = CliRunner().invoke(cli, list(args), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_the_list_has_all_registered_sets() -> None:
    lines = answer("data", "list").splitlines()
    assert [line.split()[0] for line in lines] == list(datasets.items())
    facts = json.loads(answer("data", "list", "--json"))
    assert all(item["licence"] and item["citation"] and item["source"] and item["normalisation"] for item in facts)


def test_digits_are_counted_and_measured() -> None:
    digits = dataset("digits")
    images = load_images(digits, Path("unused"))
    parts = split(digits, images)
    found = json.loads(answer("data", "show", "digits", "--json"))["measured"]
    assert found["split"] == parts.digest
    assert found["counts"]["test"] == torch.bincount(images.test_labels).tolist()
    assert found["counts"]["train"] == torch.bincount(images.train_labels[parts.train]).tolist()
    used = images.train_images[parts.train].double()
    assert found["mean"] == pytest.approx([used.mean().item()], abs=1e-3)
    assert found["std"] == pytest.approx([used.std(correction=0).item()], abs=1e-3)
    shown = answer("data", "show", "digits")
    assert "Creative Commons Attribution 4.0" in shown
    assert parts.digest[:16] in shown


def test_exact_and_near_duplicates_between_parts_are_counted(here: Path) -> None:
    pixels, labels = enlarged(classes=2, each=12)
    for part, chosen in (("train", slice(0, 8)), ("val", slice(8, 10)), ("test", slice(10, 12))):
        for label in (0, 1):
            of_class = pixels[labels == label][chosen]
            write_folder(here / "digs" / part, of_class, np.full(len(of_class), label))
    home = here / "digs"
    before = json.loads(answer("data", "show", "folder:digs", "--json"))["measured"]["duplicates"]
    content = (home / "train" / "class0" / "0000.png").read_bytes()
    (home / "test" / "class0" / "copy.png").write_bytes(content)
    brighter = np.minimum(np.asarray(Image.open(home / "train" / "class1" / "0001.png")).astype(int) + 3, 255)
    Image.fromarray(brighter.astype(np.uint8)).save(home / "test" / "class1" / "near.png")
    after = json.loads(answer("data", "show", "folder:digs", "--json"))["measured"]["duplicates"]
    assert after["train, test"]["exact"] == before["train, test"]["exact"] + 1
    assert after["train, test"]["near"] == before["train, test"]["near"] + 1
    assert after["train, val"] == before["train, val"]
    assert "images of the second are in the first" in answer("data", "show", "folder:digs")


def test_average_hashes_equal_a_naive_count() -> None:
    pixels, _ = enlarged(classes=2, each=5, side=16)
    for image, found in zip(pixels, average_hashes(pixels[:, None]), strict=True):
        cells = [[image[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].mean() for x in range(8)] for y in range(8)]
        rounded = np.floor(np.array(cells) + 0.5)
        bits = "".join("1" if cell > rounded.mean() else "0" for cell in rounded.ravel())
        assert int(found) == int(bits, 2)


def test_a_contact_sheet_has_a_row_for_each_class(here: Path) -> None:
    pixels, labels = enlarged(classes=3, each=20)
    np.savez(here / "d.npz", x=np.stack([pixels, pixels // 2, 255 - pixels], axis=-1), y=labels)
    answer("data", "show", "npz:d.npz", "--contact-sheet", "sheet.png")
    sheet = np.asarray(Image.open(here / "sheet.png"))
    assert sheet.shape == (3 * 13 - 1, 10 * 13 - 1, 3)
    images = load_images(dataset("npz:d.npz"), here)
    first = images.train_images[images.train_labels == 1][0].permute(1, 2, 0).numpy()
    assert np.array_equal(sheet[13:25, :12], first)
    assert (sheet[12] == 255).all()


def test_a_sheet_that_cannot_be_written_is_one_line(here: Path) -> None:
    digits_folder(here / "digs")
    done = CliRunner().invoke(cli, ["data", "show", "folder:digs", "--contact-sheet", "no/where.png"])
    assert "the contact sheet must be written to no/where.png" in str(done.exception)


def test_a_contact_sheet_of_other_channels_is_one_line(here: Path) -> None:
    def load(data_dir: Path, download: bool) -> Images:
        pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (40, 5, 8, 8), dtype=np.uint8))
        labels = torch.arange(40) % 2
        return Images(train_images=pixels, train_labels=labels, test_images=pixels, test_labels=labels)

    mean, std = (128.0,) * 5, (64.0,) * 5
    bands = Dataset(name="bands", channels=5, height=8, width=8, classes=2, mean=mean, std=std, load=load)
    with registrations_forgotten(datasets):
        register_dataset(bands)
        assert "8 x 8, 5 channels" in answer("data", "show", "bands")
        done = CliRunner().invoke(cli, ["data", "show", "bands", "--contact-sheet", "sheet.png"])
    assert isinstance(done.exception, DataError)
    assert str(done.exception) == (
        "a contact sheet shows images with 1 or 3 channels, but those of bands have 5; leave out --contact-sheet"
    )
    assert list(here.iterdir()) == []
