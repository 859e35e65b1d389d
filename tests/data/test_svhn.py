"""SVHN: MATLAB files, two of them for training."""

import hashlib
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from filelock import FileLock
from scipy.io import savemat  # type: ignore[import-untyped]

from rksearch.data import downloads
from rksearch.data.batches import DeviceImages
from rksearch.data.facts import dataset
from rksearch.data.images import load_images, split
from rksearch.errors import DataError
from tests.helpers.web_server import serving

SVHN = dataset("svhn")
SIZES = {"train": 40, "extra": 70, "test": 20}


@dataclass
class Mirror:
    """A server with miniature files, and what is in them: pixels (H, W, C, N) and labels 1 to 10."""

    files: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    pixels: dict[str, np.ndarray] = field(default_factory=dict)
    labels: dict[str, np.ndarray] = field(default_factory=dict)


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    state, rng = Mirror(), np.random.default_rng(0)
    with serving(lambda path: state.files[path.removeprefix("/")], state.requests) as host:
        parts = {}
        for part, size in SIZES.items():
            state.pixels[part] = rng.integers(0, 256, (32, 32, 3, size), dtype=np.uint8)
            state.labels[part] = rng.permutation(np.arange(size, dtype=np.uint8) % 10 + 1)[:, None]
            buffer = io.BytesIO()
            savemat(buffer, {"X": state.pixels[part], "y": state.labels[part]}, do_compression=True)
            name = f"{part}_32x32.mat"
            state.files[name] = buffer.getvalue()
            parts[part] = [f"{host}/{name}", name, hashlib.md5(buffer.getvalue()).hexdigest()]
        monkeypatch.setenv("no_proxy", "*")
        monkeypatch.setattr(torchvision.datasets.SVHN, "split_list", parts)
        yield state


def one_line(error: pytest.ExceptionInfo[DataError]) -> None:
    assert "\n" not in str(error.value)
    assert "--data-dir" in str(error.value)


def test_all_files_are_read_as_torchvision_reads_them_after_one_download(
    mirror: Mirror, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with ThreadPoolExecutor(4) as pool:
        images, *others = pool.map(lambda _: load_images(SVHN, tmp_path / "new" / "dir"), range(4))
    assert sorted(mirror.requests) == sorted(f"/{name}" for name in mirror.files)
    assert all(torch.equal(other.train_images, images.train_images) for other in others)
    theirs = {part: torchvision.datasets.SVHN(tmp_path / "new" / "dir", part) for part in SIZES}
    assert np.array_equal(images.train_images, np.concatenate([theirs["train"].data, theirs["extra"].data]))
    assert np.array_equal(images.train_labels, np.concatenate([theirs["train"].labels, theirs["extra"].labels]))
    assert np.array_equal(images.test_images, theirs["test"].data)
    assert np.array_equal(images.test_labels, theirs["test"].labels)
    assert images.train_images.dtype == torch.uint8
    assert images.train_images.is_contiguous()
    assert images.train_labels.dtype == torch.int64
    assert torch.bincount(images.train_labels).tolist() == [11] * 10, (
        "the digit 0, which the files call 10, has label 0"
    )
    shown, errors = capfd.readouterr()
    assert shown == ""
    assert [line.split()[0] for line in errors.splitlines()] == ["downloading"] * 3


def test_pixels_are_divided_by_255_and_nothing_else(mirror: Mirror, tmp_path: Path) -> None:
    images = load_images(SVHN, tmp_path)
    on_device = DeviceImages(images.test_images, images.test_labels, SVHN, torch.device("cpu"))
    batch, _ = next(on_device.batches())
    assert torch.equal(batch, images.test_images.float() / 255)
    assert (SVHN.crop_padding, SVHN.flip) == (0, False)


def test_about_six_thousand_images_are_held_out(mirror: Mirror, tmp_path: Path) -> None:
    assert round(SVHN.val_fraction * (73_257 + 531_131)) == 6_044
    parts = split(SVHN, load_images(SVHN, tmp_path))
    assert (len(parts.train), len(parts.val)) == (100, 10), "one of each class of the miniature"


def test_present_files_need_no_network(mirror: Mirror, tmp_path: Path) -> None:
    load_images(SVHN, tmp_path)
    mirror.requests.clear()
    load_images(SVHN, tmp_path, download=False)
    assert mirror.requests == []


def test_missing_and_damaged_files_without_download(mirror: Mirror, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train_32x32\.mat is missing; allow the download") as error:
        load_images(SVHN, tmp_path, download=False)
    one_line(error)
    load_images(SVHN, tmp_path)
    path = tmp_path / "extra_32x32.mat"
    content = bytearray(path.read_bytes())
    content[200] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"extra_32x32\.mat is damaged \(its checksum is wrong\)") as error:
        load_images(SVHN, tmp_path, download=False)
    one_line(error)
    mirror.requests.clear()
    load_images(SVHN, tmp_path)
    assert set(mirror.requests) == {"/extra_32x32.mat"}, "only the damaged file is fetched again"


def test_a_damaged_download(mirror: Mirror, tmp_path: Path) -> None:
    whole = mirror.files["extra_32x32.mat"]
    mirror.files["extra_32x32.mat"] = whole[:-100] + bytes(100)
    with pytest.raises(DataError, match="svhn could not be downloaded from http") as error:
        load_images(SVHN, tmp_path)
    one_line(error)
    mirror.files["extra_32x32.mat"] = whole
    assert len(load_images(SVHN, tmp_path).train_images) == 110


def test_no_network(mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = {part: ["http://127.0.0.1:9/x.mat", f"{part}_32x32.mat", "0" * 32] for part in SIZES}
    monkeypatch.setattr(torchvision.datasets.SVHN, "split_list", parts)
    with pytest.raises(DataError, match=r"Connection refused.*check the network") as error:
        load_images(SVHN, tmp_path)
    one_line(error)


def test_a_directory_that_cannot_be_written(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="choose a directory that can be written") as error:
        load_images(SVHN, tmp_path / "file" / "below")
    one_line(error)


def test_a_download_that_never_ends_elsewhere(mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "DOWNLOAD_WAIT_S", 0.1)
    with FileLock(tmp_path / ".svhn.lock"), pytest.raises(DataError, match="another process"):
        load_images(SVHN, tmp_path)
    assert mirror.requests == []
