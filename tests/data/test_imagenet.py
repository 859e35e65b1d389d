"""ImageNet's folders as torchvision reads them, made of a thousand small JPEGs."""

import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder

from rksearch.data.facts import dataset
from rksearch.data.images import load_data, split
from rksearch.data.pictures import Stored
from rksearch.errors import DataError

NAMES = [f"n{10_000_000 + 37 * i:08d}" for i in range(1000)]
META = ({name: (f"word {name}",) for name in NAMES}, [NAMES[(7 * i) % 1000] for i in range(1000)])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("made") / "imagenet"
    image = home / "one.jpg"
    home.mkdir()
    Image.new("RGB", (9, 7), (200, 10, 60)).save(image)
    content = image.read_bytes()
    image.unlink()
    for name in NAMES:
        for part, count in (("train", 3), ("val", 1)):
            (home / part / name).mkdir(parents=True)
            for i in range(count):
                (home / part / name / f"{name}_{i}.JPEG").write_bytes(content)
    return home.parent


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    """The folders again, as hard links."""
    shutil.copytree(made, tmp_path / "copy", copy_function=lambda a, b: Path(b).hardlink_to(a))
    return tmp_path / "copy"


def loaded(data_dir: Path) -> Stored:
    found = load_data(dataset("imagenet"), data_dir, download=False)
    assert isinstance(found, Stored)
    return found


def refused(data_dir: Path) -> str:
    with pytest.raises(DataError) as caught:
        loaded(data_dir)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_labels_and_order_are_torchvisions(made: Path) -> None:
    found = loaded(made)
    for part, pictures in (("train", found.train), ("val", found.test)):
        theirs = ImageFolder(made / "imagenet" / part)
        assert [(path.removeprefix(f"{made}/imagenet/"), label) for path, label in theirs.samples] == [
            (key.decode(), label) for key, label in zip(pictures.keys, pictures.labels.tolist(), strict=True)
        ]
    parts = split(dataset("imagenet"), found)
    assert (len(parts.train), len(parts.val)) == (2000, 1000)
    assert found.train.read(5).shape == (7, 9, 3)


def test_validation_images_without_folders_take_their_labels_from_the_development_kit(copy: Path) -> None:
    home = copy / "imagenet"
    for path in list((home / "val").rglob("*.JPEG")):
        path.rename(home / "val" / path.name)
    for name in NAMES:
        (home / "val" / name).rmdir()
    said = refused(copy)
    assert "or meta.bin must be beside it" in said
    assert f"put ILSVRC2012_devkit_t12.tar.gz into {home}, from which" in said
    torch.save(META, home / "meta.bin")
    found = loaded(copy)
    assert [NAMES[label] for label in found.test.labels.tolist()] == META[1]
    assert list(found.test.keys) == sorted(found.test.keys)
    (home / "val" / f"{NAMES[0]}_0.JPEG").unlink()
    assert "must have the 1,000 images of meta.bin, but has 999" in refused(copy)


def test_damaged_folders_are_one_line(copy: Path, tmp_path: Path) -> None:
    home = copy / "imagenet"
    said = refused(tmp_path / "nowhere")
    assert "train is missing; link or move them there, or put ILSVRC2012_img_train.tar, " in said
    (home / "meta.bin").write_bytes(b"broken")
    assert "must be the file that torchvision writes" in refused(copy)
    (home / "meta.bin").unlink()
    shutil.rmtree(home / "train" / NAMES[4])
    assert "must have 1,000 classes, but" in refused(copy)
    (home / "train" / NAMES[4]).mkdir()
    assert f"but {home / 'train' / NAMES[4]} has none" in refused(copy)
    (home / "train" / NAMES[4]).rename(home / "train" / "cats")
    torch.save(META, home / "meta.bin")
    assert "but cats is none" in refused(copy)
