"""MNIST and its kind: compressed IDX files from a server on this machine, and torchvision's other sets by name."""

import bz2
import contextlib
import gzip
import hashlib
import io
import struct
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from rksearch.data import torchvision_sets
from rksearch.data.dataset import Images
from rksearch.data.facts import dataset, datasets
from rksearch.data.images import load_images, split
from rksearch.data.torchvision_sets import NOT_READ, SHIPPED
from rksearch.errors import DataError
from tests.helpers.command_line import environment, python
from tests.helpers.web_server import serving

NAMES = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST", "torchvision:KMNIST": "KMNIST"}


def idx(array: np.ndarray) -> bytes:
    header = struct.pack(f">BBBB{array.ndim}i", 0, 0, 8, array.ndim, *array.shape)
    return gzip.compress(header + array.tobytes(), mtime=0)


@dataclass
class Mirror:
    """A server with four miniature files, and what is in them."""

    files: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    host: str = ""


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    state, rng = Mirror(), np.random.default_rng(0)
    for part, count in (("train", 40), ("t10k", 20)):
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = rng.permutation(np.arange(count, dtype=np.uint8) % 10)
        state.arrays |= {f"{part}-images-idx3-ubyte.gz": images, f"{part}-labels-idx1-ubyte.gz": labels}
    state.files = {name: idx(array) for name, array in state.arrays.items()}
    with serving(lambda path: state.files[path.removeprefix("/")], state.requests) as state.host:
        monkeypatch.setenv("no_proxy", "*")
        for name in NAMES.values():
            source = getattr(torchvision.datasets, name)
            monkeypatch.setattr(source, "mirrors", ["http://127.0.0.1:9/", f"{state.host}/"])
            monkeypatch.setattr(
                source, "resources", [(name, hashlib.md5(content).hexdigest()) for name, content in state.files.items()]
            )
        yield state


@pytest.mark.parametrize("name", NAMES)
def test_images_are_those_that_torchvision_reads(mirror: Mirror, tmp_path: Path, name: str) -> None:
    data = dataset(name)
    images = load_images(data, tmp_path)
    source = getattr(torchvision.datasets, NAMES[name])
    for part, pixels, labels in (
        (True, images.train_images, images.train_labels),
        (False, images.test_images, images.test_labels),
    ):
        with unpacked(tmp_path / NAMES[name] / "raw"):
            theirs = source(tmp_path, train=part)
        assert torch.equal(pixels[:, 0], theirs.data)
        assert torch.equal(labels, theirs.targets)
    parts = split(data, images)
    assert (len(parts.train), len(parts.val)) == (30, 10)
    mirror.requests.clear()
    load_images(data, tmp_path, download=False)
    assert mirror.requests == []


@contextlib.contextmanager
def unpacked(folder: Path) -> Iterator[None]:
    """The archives of a folder unpacked beside them, as torchvision does it."""
    for path in folder.glob("*.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
    yield
    for path in folder.glob("*-ubyte"):
        path.unlink()


def test_missing_and_damaged_archives(mirror: Mirror, tmp_path: Path) -> None:
    data = dataset("mnist")
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz is missing; allow the download"):
        load_images(data, tmp_path, download=False)
    load_images(data, tmp_path)
    path = tmp_path / "MNIST" / "raw" / "t10k-images-idx3-ubyte.gz"
    content = bytearray(path.read_bytes())
    content[30] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte\.gz is damaged \(its checksum is wrong\)"):
        load_images(data, tmp_path, download=False)
    mirror.requests.clear()
    load_images(data, tmp_path)
    assert set(mirror.requests) == {"/t10k-images-idx3-ubyte.gz"}, "only the damaged file is fetched again"


@pytest.mark.slow
def test_two_processes_on_an_empty_directory_download_once(mirror: Mirror, tmp_path: Path) -> None:
    script = tmp_path / "load.py"
    resources = torchvision.datasets.MNIST.resources
    script.write_text(
        "import sys, torchvision\n"
        "from pathlib import Path\n"
        "from rksearch.data.facts import dataset\n"
        "from rksearch.data.images import load_images\n"
        f"torchvision.datasets.MNIST.mirrors = ['{mirror.host}/']\n"
        f"torchvision.datasets.MNIST.resources = {resources!r}\n"
        "print(len(load_images(dataset('mnist'), Path(sys.argv[1])).train_images))\n",
        encoding="utf-8",
    )
    command = [sys.executable, str(script), str(tmp_path / "data")]
    both = [subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate(timeout=300)[0] for process in both] == ["40\n", "40\n"]
    together = len(mirror.requests)
    mirror.requests.clear()
    alone = python(str(script), str(tmp_path / "other"))
    assert alone.returncode == 0, alone.stderr
    assert together == len(mirror.requests)


def test_usps_is_read_by_torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = {}
    for part, count in (("train", 30), ("test", 20)):
        lines = [" ".join([str(i % 10 + 1), *(f"{j + 1}:{(i + j) % 3 - 1}" for j in range(256))]) for i in range(count)]
        content = bz2.compress("\n".join(lines).encode())
        (tmp_path / f"{part}.bz2").write_bytes(content)
        parts[part] = ["http://127.0.0.1:9/x", f"{part}.bz2", hashlib.md5(content).hexdigest()]
    monkeypatch.setattr(torchvision.datasets.USPS, "split_list", parts)
    images = load_images(dataset("torchvision:USPS"), tmp_path, download=False)
    assert images.train_images.shape == (30, 1, 16, 16)
    assert images.train_images[0, 0, 0, :3].tolist() == [0, 127, 255]
    assert images.test_labels.tolist() == [*range(10)] * 2


def assert_a_fifth_is_for_testing(images: Images, pixels: np.ndarray, labels: np.ndarray, classes: int) -> None:
    """All images are there once, with their labels, and a fifth of each class is the test set."""
    found = [
        (pixels.numpy().tobytes(), int(label))
        for part, of in ((images.train_images, images.train_labels), (images.test_images, images.test_labels))
        for pixels, label in zip(part, of, strict=True)
    ]
    assert sorted(found) == sorted((p.tobytes(), int(label)) for p, label in zip(pixels, labels, strict=True))
    assert np.bincount(images.test_labels, minlength=classes).tolist() == [len(labels) // classes // 5] * classes


def test_eurosat_is_read_from_its_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = dataset("torchvision:EuroSAT")
    rng = np.random.default_rng(0)
    (tmp_path / "eurosat").mkdir()
    path = tmp_path / "eurosat" / "EuroSAT.zip"
    pixels, labels = [], []
    with zipfile.ZipFile(path, "w") as archive:
        for label, name in enumerate(data.class_names):
            for i in range(5):
                file = io.BytesIO()
                Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(file, format="JPEG")
                archive.writestr(f"2750/{name}/{name}_{i}.jpg", file.getvalue())
                pixels.append(np.asarray(Image.open(file)).transpose(2, 0, 1))
                labels.append(label)
    monkeypatch.setattr(torchvision_sets, "EUROSAT_MD5", hashlib.md5(path.read_bytes()).hexdigest())
    images = load_images(data, tmp_path, download=False)
    assert_a_fifth_is_for_testing(images, np.stack(pixels), np.array(labels), 10)


def test_semeion_is_read_by_torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    bits, labels = rng.integers(0, 2, (100, 256)), np.arange(100) % 10
    text = "\n".join(
        " ".join(map(str, [*row, *np.eye(10, dtype=int)[label]])) for row, label in zip(bits, labels, strict=True)
    )
    (tmp_path / "semeion.data").write_text(text)
    monkeypatch.setattr(torchvision.datasets.SEMEION, "md5_checksum", hashlib.md5(text.encode()).hexdigest())
    images = load_images(dataset("torchvision:SEMEION"), tmp_path, download=False)
    pixels = (255 * bits).astype(np.uint8).reshape(100, 1, 16, 16)
    assert_a_fifth_is_for_testing(images, pixels, labels, 10)


def test_qmnist_has_the_first_of_eight_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    home = tmp_path / "QMNIST" / "raw"
    home.mkdir(parents=True)
    arrays, resources = {}, {}
    for part, count in (("train", 40), ("test", 30)):
        pixels = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = np.column_stack([np.arange(count) % 10, rng.integers(-300, 70_000, (count, 7))]).astype(">i4")
        header = struct.pack(">BBBB2i", 0, 0, 12, 2, *labels.shape)
        files = {
            f"qmnist-{part}-images-idx3-ubyte.gz": idx(pixels),
            f"qmnist-{part}-labels-idx2-int.gz": gzip.compress(header + labels.tobytes()),
        }
        for file, content in files.items():
            (home / file).write_bytes(content)
        resources[part] = [(f"http://127.0.0.1:9/{f}", hashlib.md5(c).hexdigest()) for f, c in files.items()]
        arrays[part] = pixels, labels[:, 0].tolist()
    monkeypatch.setattr(torchvision.datasets.QMNIST, "resources", resources)
    images = load_images(dataset("torchvision:QMNIST"), tmp_path, download=False)
    assert np.array_equal(images.train_images[:, 0].numpy(), arrays["train"][0])
    assert np.array_equal(images.test_images[:, 0].numpy(), arrays["test"][0])
    assert (images.train_labels.tolist(), images.test_labels.tolist()) == (arrays["train"][1], arrays["test"][1])
    (home / "qmnist-test-labels-idx2-int.gz").unlink()
    with pytest.raises(DataError, match=r"needs intact files in .*QMNIST/raw, but .*allow the download"):
        load_images(dataset("torchvision:QMNIST"), tmp_path, download=False)


@pytest.mark.parametrize(("key", "file"), [("fer", "fer2013.csv"), ("icml", "icml_face_data.csv")])
def test_fer2013_is_read_from_the_file_with_the_test_labels(
    key: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = dataset("torchvision:FER2013")
    with pytest.raises(
        DataError, match=r"needs fer2013.csv or icml_face_data.csv in .*, but there is neither; download"
    ):
        load_images(data, tmp_path, download=False)
    rng = np.random.default_rng(0)
    pixels, labels = rng.integers(0, 256, (42, 48 * 48), dtype=np.uint8), np.arange(42) % 7
    uses = ["Training"] * 28 + ["PublicTest"] * 7 + ["PrivateTest"] * 7
    if key == "fer":
        lines = ["emotion,pixels,Usage"]
        lines += [f"{c},{' '.join(map(str, p))},{use}" for c, p, use in zip(labels, pixels, uses, strict=True)]
    else:
        lines = ["emotion, Usage, pixels"]
        lines += [f"{c},{use},{' '.join(map(str, p))}" for c, p, use in zip(labels, pixels, uses, strict=True)]
    content = "\n".join(lines)
    (tmp_path / "fer2013").mkdir()
    (tmp_path / "fer2013" / file).write_text(content)
    with pytest.raises(DataError, match=f"but {file} is damaged"):
        load_images(data, tmp_path, download=False)
    known = torchvision.datasets.FER2013._RESOURCES
    monkeypatch.setitem(known, key, (file, hashlib.md5(content.encode()).hexdigest()))
    images = load_images(data, tmp_path, download=False)
    shaped = pixels.reshape(42, 1, 48, 48)
    assert np.array_equal(images.train_images.numpy(), shaped[:28])
    assert np.array_equal(images.test_images.numpy(), shaped[28:])
    assert (images.train_labels.tolist(), images.test_labels.tolist()) == (labels[:28].tolist(), labels[28:].tolist())


def test_splits_of_emnist_are_read_from_the_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    arrays = {}
    home = tmp_path / "EMNIST" / "raw"
    home.mkdir(parents=True)
    path = home / torchvision.datasets.EMNIST.url.rpartition("/")[2]
    with zipfile.ZipFile(path, "w") as archive:
        for part, first, classes in (("letters", 1, 26), ("balanced", 0, 47)):
            for kind, count in (("train", 100), ("test", 50)):
                pixels = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
                labels = (np.arange(count) % classes).astype(np.uint8)
                arrays[part, kind] = pixels, labels
                archive.writestr(f"gzip/emnist-{part}-{kind}-images-idx3-ubyte.gz", idx(pixels))
                archive.writestr(f"gzip/emnist-{part}-{kind}-labels-idx1-ubyte.gz", idx(labels + np.uint8(first)))
    monkeypatch.setattr(torchvision.datasets.EMNIST, "md5", hashlib.md5(path.read_bytes()).hexdigest())
    for part in ("letters", "balanced"):
        images = load_images(dataset(f"torchvision:EMNIST-{part}"), tmp_path, download=False)
        for kind, found, of in (
            ("train", images.train_images, images.train_labels),
            ("test", images.test_images, images.test_labels),
        ):
            assert np.array_equal(found[:, 0].numpy(), arrays[part, kind][0])
            assert np.array_equal(of.numpy(), arrays[part, kind][1])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        *((f"torchvision:{theirs}", f"has a name of its own here.*; use {ours}") for theirs, ours in SHIPPED.items()),
        (
            "torchvision:Food101",
            "must have one size, but those of torchvision's Food101 have many; .*folder:PATH,size=N",
        ),
        (
            "torchvision:CocoDetection",
            "must be one of KMNIST, QMNIST, FER2013, STL10, USPS, EuroSAT, SEMEION, EMNIST-.*, which are",
        ),
        *(
            (
                f"torchvision:{name}",
                f"must be usable as they are, but torchvision's {name} (has|is) .*; .*use (npz|folder):",
            )
            for name in NOT_READ
        ),
        ("torchvision:kmnist", r"but got 'kmnist' \(did you mean 'KMNIST'\?\)"),
        ("torchvision:EMNIST", "the name must say one, but got .*; use torchvision:EMNIST-balanced"),
        ("torchvision:KMNISTS", r"but got 'KMNISTS' \(did you mean 'KMNIST'\?\)"),
    ],
)
def test_other_sets_of_torchvision_are_refused_in_one_line(name: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        dataset(name)
    assert "\n" not in str(caught.value)


def test_the_names_that_are_used_instead_are_registered() -> None:
    assert set(SHIPPED.values()) <= set(datasets.items())
