"""Tiny ImageNet in miniature: the official archive's folders, and its annotations of the validation images."""

import hashlib
import io
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rksearch.data import tiny_imagenet
from rksearch.data.facts import dataset
from rksearch.data.images import load_images
from rksearch.errors import DataError

CLASSES = ("n02", "n01", "n03")
DATA = replace(dataset("tiny_imagenet"), classes=3)


def jpeg(value: int) -> bytes:
    buffer = io.BytesIO()
    mode = "L" if value % 2 else "RGB"  # some of the official images are gray
    Image.new(mode, (64, 64), value if mode == "L" else (value, value, value)).save(buffer, "JPEG", quality=100)
    return buffer.getvalue()


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / tiny_imagenet.ARCHIVE
    with zipfile.ZipFile(path, "w") as file:
        root = tiny_imagenet.FOLDER
        file.writestr(f"{root}/wnids.txt", "\n".join(CLASSES) + "\n")
        for i, name in enumerate(CLASSES):
            for j in range(4):
                file.writestr(f"{root}/train/{name}/images/{name}_{j}.JPEG", jpeg(40 * i + j))
            file.writestr(f"{root}/train/{name}/{name}_boxes.txt", "")
            file.writestr(f"{root}/val/images/val_{i}.JPEG", jpeg(200 + i))
            file.writestr(f"{root}/test/images/test_{i}.JPEG", jpeg(0))
        lines = [f"val_{i}.JPEG\t{name}\t0\t0\t62\t57\n" for i, name in enumerate(CLASSES)]
        file.writestr(f"{root}/val/val_annotations.txt", "".join(lines))
    monkeypatch.setattr(tiny_imagenet, "MD5", hashlib.md5(path.read_bytes()).hexdigest())
    return path


@pytest.fixture(autouse=True)
def forgotten() -> None:
    tiny_imagenet._decoded.cache_clear()


@pytest.mark.parametrize("unpacked", [False, True])
def test_the_archive_and_its_folder_hold_the_same(archive: Path, unpacked: bool) -> None:
    if unpacked:
        with zipfile.ZipFile(archive) as file:
            file.extractall(archive.parent)
        archive.unlink()
    images = load_images(DATA, archive.parent, download=False)
    assert images.train_images.shape == (12, 3, 64, 64)
    assert images.train_labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4, "classes are in the order of their names"
    values = [40 * i + j for i in (1, 0, 2) for j in range(4)]
    assert images.train_images[:, 0, 0, 0].tolist() == pytest.approx(values, abs=2)
    assert torch.equal(images.test_labels, torch.tensor([1, 0, 2]))
    assert images.test_images[:, 1, 5, 5].tolist() == pytest.approx([200, 201, 202], abs=2)


def test_a_missing_or_damaged_archive_is_one_line(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"tiny-imagenet-200\.zip is missing; allow the download"):
        load_images(DATA, tmp_path / "other", download=False)
    content = bytearray(archive.read_bytes())
    content[100] ^= 1
    archive.write_bytes(content)
    with pytest.raises(DataError, match="its checksum is wrong"):
        load_images(DATA, tmp_path, download=False)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("val/val_annotations.txt", b"val_0.JPEG\tn09\n", "known class in each line, but got 'val_0.JPEG"),
        ("val/val_annotations.txt", b"val_0.JPEG\tn01\n", "must have images, but val of .* lacks n02"),
        ("val/images/val_1.JPEG", b"broken", "val_1.JPEG of .* must be an image of 64 x 64 pixels"),
        ("wnids.txt", b"", "must list the classes, but is empty"),
        ("wnids.txt", b"n01\nn04\n", "must have images, but train of .* lacks n04|known class"),
        ("wnids.txt", None, "needs wnids.txt in .* but it is missing"),
    ],
)
def test_a_damaged_folder_is_one_line(archive: Path, file: str, content: bytes | None, message: str) -> None:
    with zipfile.ZipFile(archive) as whole:
        whole.extractall(archive.parent)
    path = archive.parent / tiny_imagenet.FOLDER / file
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        load_images(DATA, archive.parent, download=False)
    assert "\n" not in str(caught.value)


def test_an_image_of_another_size_is_one_line(archive: Path) -> None:
    with zipfile.ZipFile(archive) as whole:
        whole.extractall(archive.parent)
    path = archive.parent / tiny_imagenet.FOLDER / "val" / "images" / "val_1.JPEG"
    Image.fromarray(np.zeros((10, 12, 3), np.uint8)).save(path)
    with pytest.raises(DataError, match=r"val_1.JPEG of .* must be an image of 64 x 64 pixels"):
        load_images(DATA, archive.parent, download=False)
