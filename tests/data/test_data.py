import errno
import hashlib
import io
import os
import pickle
import tarfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from rksearch.data import downloads
from rksearch.data.dataset import Images
from rksearch.data.facts import dataset
from rksearch.data.images import load_images, split
from rksearch.errors import DataError
from tests.helpers.web_server import serving

DIGITS = dataset("digits")
CIFAR = dataset("cifar10")


@pytest.fixture(scope="module")
def digits() -> Images:
    return load_images(DIGITS, Path("unused"))


def test_digits_are_all_there_once(digits: Images) -> None:
    original = load_digits()
    ours = torch.cat([digits.train_images, digits.test_images]).flatten(1)
    labels = torch.cat([digits.train_labels, digits.test_labels])
    expected = Counter(
        (tuple(np.round(p.ravel() * 255 / 16).astype(int)), t)
        for p, t in zip(original.images, original.target, strict=True)
    )
    assert Counter((tuple(p), t) for p, t in zip(ours.tolist(), labels.tolist(), strict=True)) == expected
    assert digits.train_images.dtype == torch.uint8
    assert digits.train_images.shape[1:] == (DIGITS.channels, DIGITS.height, DIGITS.width)
    assert digits.train_images.max() == 255


def test_the_test_set_of_the_digits_is_a_third_of_every_class(digits: Images) -> None:
    test, train = torch.bincount(digits.test_labels), torch.bincount(digits.train_labels)
    assert ((test - (test + train) / 3).abs() <= 0.5).all()


def test_the_recorded_normalisation_of_the_digits_is_that_of_their_training_images(digits: Images) -> None:
    pixels = digits.train_images.double()
    assert pixels.mean().item() == pytest.approx(DIGITS.mean[0], abs=0.05)
    assert pixels.std(correction=0).item() == pytest.approx(DIGITS.std[0], abs=0.05)


def random_images(labels: list[int], seed: int, distinct: int = 256) -> Images:
    """Images of 8 x 8 pixels; few `distinct` values of a single varying pixel make duplicates."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.zeros(len(labels), 1, 8, 8, dtype=torch.uint8)
    pixels[:, 0, 0, 0] = torch.randint(0, distinct, (len(labels),), generator=generator).to(torch.uint8)
    if distinct == 256:
        pixels = torch.randint(0, 256, pixels.shape, generator=generator).to(torch.uint8)
    values = torch.tensor(labels)
    return Images(train_images=pixels, train_labels=values, test_images=pixels[:0], test_labels=values[:0])


def contents(images: Images, index: torch.Tensor) -> Counter[tuple[bytes, int]]:
    return Counter((images.train_images[i].numpy().tobytes(), int(images.train_labels[i])) for i in index.tolist())


@settings(max_examples=25, deadline=None)
@given(
    extra=st.lists(st.integers(0, 9), max_size=150),
    seed=st.integers(0, 2**31),
    distinct=st.sampled_from([3, 256]),
    subset=st.data(),
)
def test_split_is_a_nested_stratified_partition_that_does_not_depend_on_order(
    extra: list[int], seed: int, distinct: int, subset: st.DataObject
) -> None:
    labels = [*range(10), *range(10), *extra]
    images = random_images(labels, seed, distinct)
    whole = split(DIGITS, images)
    assert sorted([*whole.train.tolist(), *whole.val.tolist()]) == list(range(len(labels)))
    for label, count in Counter(labels).items():
        held_out = int((images.train_labels[whole.val] == label).sum())
        assert held_out == max(1, round(DIGITS.val_fraction * count))

    smaller = subset.draw(st.integers(10, len(whole.train)))
    larger = subset.draw(st.integers(smaller, len(whole.train)))
    a, b = split(DIGITS, images, smaller), split(DIGITS, images, larger)
    assert len(a.train) == smaller
    assert set(a.train.tolist()) <= set(b.train.tolist()) <= set(whole.train.tolist())
    assert torch.equal(a.val, whole.val)
    taken = Counter(images.train_labels[a.train].tolist())
    for label, count in Counter(images.train_labels[whole.train].tolist()).items():
        assert abs(taken[label] - smaller * count / len(whole.train)) < 2

    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed + 1))
    shuffled = replace(images, train_images=images.train_images[order], train_labels=images.train_labels[order])
    again = split(DIGITS, shuffled, smaller)
    assert contents(shuffled, again.train) == contents(images, a.train)
    assert contents(shuffled, again.val) == contents(images, a.val)


def test_a_balanced_subset_has_equally_many_of_each_class() -> None:
    images = random_images([*range(10)] * 20, seed=5)
    assert torch.bincount(images.train_labels[split(DIGITS, images, 60).train]).tolist() == [6] * 10


def test_the_split_of_the_digits_never_changes(digits: Images) -> None:
    whole = split(DIGITS, digits)
    assert (len(whole.train), len(whole.val)) == (839, 359)
    # Results of different versions may be compared only while this holds.
    assert whole.digest == "a932a8fdb73ae599a084401ddce74ffb4d7b16871d3c51859735405810d4b13b"
    assert split(DIGITS, digits, 300).digest != whole.digest


@pytest.mark.parametrize("count", [-1, 0, 9, 840, 10**9])
def test_impossible_subsets_are_refused(digits: Images, count: int) -> None:
    with pytest.raises(DataError, match=rf"from 10 \(one per class\) to 839 .*, but got {count};"):
        split(DIGITS, digits, count)


@dataclass
class Mirror:
    """A server on this machine with a miniature of the CIFAR-10 archive."""

    archive: bytes
    host: str = ""
    requests: list[str] = field(default_factory=list)
    served: bytes = b""
    pixels: dict[str, np.ndarray] = field(default_factory=dict)


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    rng = np.random.default_rng(0)
    pixels = {name: rng.integers(0, 256, (20, 3072), dtype=np.uint8) for name in ("data_batch_1", "test_batch")}
    files = {name: pickle.dumps({"data": values, "labels": [*range(10)] * 2}) for name, values in pixels.items()}
    files["batches.meta"] = pickle.dumps({"label_names": [str(i) for i in range(10)]})
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    state = Mirror(archive=buffer.getvalue(), served=buffer.getvalue(), pixels=pixels)

    def md5(name: str) -> str:
        return hashlib.md5(files[name]).hexdigest()

    with serving(lambda _: state.served, state.requests) as state.host:
        cifar = torchvision.datasets.CIFAR10
        monkeypatch.setenv("no_proxy", "*")
        monkeypatch.setattr(cifar, "url", f"{state.host}/cifar-10-python.tar.gz")
        monkeypatch.setattr(cifar, "tgz_md5", hashlib.md5(state.archive).hexdigest())
        monkeypatch.setattr(cifar, "train_list", [["data_batch_1", md5("data_batch_1")]])
        monkeypatch.setattr(cifar, "test_list", [["test_batch", md5("test_batch")]])
        meta = {"filename": "batches.meta", "key": "label_names", "md5": md5("batches.meta")}
        monkeypatch.setattr(cifar, "meta", meta)
        yield state


def one_line(error: pytest.ExceptionInfo[DataError]) -> str:
    message = str(error.value)
    assert "\n" not in message
    assert "--data-dir" in message
    return message


def test_a_missing_data_set_is_downloaded_once_by_many_and_says_from_where_to_where(
    mirror: Mirror, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    load_images(CIFAR, tmp_path / "one")
    of_one = len(mirror.requests)
    with ThreadPoolExecutor(4) as pool:
        loaded = list(pool.map(lambda _: load_images(CIFAR, tmp_path / "new" / "dir"), range(4)))
    assert len(mirror.requests) == 2 * of_one
    for images in loaded:
        expected = mirror.pixels["data_batch_1"].reshape(20, 3, 32, 32)
        assert np.array_equal(images.train_images.numpy(), expected)
        assert np.array_equal(images.test_images.numpy(), mirror.pixels["test_batch"].reshape(20, 3, 32, 32))
        assert images.train_labels.tolist() == [*range(10)] * 2
    shown, errors = capfd.readouterr()
    assert shown == ""
    archive = "cifar-10-python.tar.gz"
    assert errors.splitlines() == [
        f"downloading {mirror.host}/{archive} ({len(mirror.archive) / 1e6:.1f} MB) to {directory / archive}"
        for directory in (tmp_path / "one", tmp_path / "new" / "dir")
    ]


def test_a_batch_that_would_run_code_is_refused(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_images(CIFAR, tmp_path)
    evil = pickle.dumps({"data": Touches(str(tmp_path / "was here")), "labels": [0]})
    (tmp_path / "cifar-10-batches-py" / "test_batch").write_bytes(evil)
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "test_list", [["test_batch", hashlib.md5(evil).hexdigest()]])
    with pytest.raises(DataError, match=r"it names .*, which is no part of an array"):
        load_images(CIFAR, tmp_path)
    assert not (tmp_path / "was here").exists()


class Touches:
    """What makes a file where it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (Path(self.path),)


def test_an_archive_that_points_outside_writes_where_the_files_belong(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(mirror.archive)) as genuine,
        tarfile.open(fileobj=buffer, mode="w:gz") as tar,
    ):
        for name in ("../outside", str(tmp_path / "absolute")):
            info = tarfile.TarInfo(name)
            info.size = 3
            tar.addfile(info, io.BytesIO(b"bad"))
        link = tarfile.TarInfo("cifar-10-batches-py")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)
        tar.addfile(link)
        for member in genuine.getmembers():
            tar.addfile(member, genuine.extractfile(member))
    mirror.served = buffer.getvalue()
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "tgz_md5", hashlib.md5(mirror.served).hexdigest())
    home = tmp_path / "data"
    assert len(load_images(CIFAR, home).test_images) == 20
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]
    assert not (home / "cifar-10-batches-py").is_symlink()


def test_present_files_need_neither_network_nor_a_writable_directory(mirror: Mirror, tmp_path: Path) -> None:
    load_images(CIFAR, tmp_path)
    for path in tmp_path.iterdir():
        if path.is_file():
            path.unlink()
    mirror.requests.clear()
    load_images(CIFAR, tmp_path)
    assert mirror.requests == []
    assert [path.name for path in tmp_path.iterdir()] == ["cifar-10-batches-py"]


def test_missing_and_damaged_files_without_download(mirror: Mirror, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="data_batch_1 is missing; allow the download") as error:
        load_images(CIFAR, tmp_path, download=False)
    one_line(error)
    load_images(CIFAR, tmp_path)
    path = tmp_path / "cifar-10-batches-py" / "test_batch"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"test_batch is damaged \(its checksum is wrong\)") as error:
        load_images(CIFAR, tmp_path, download=False)
    one_line(error)


def test_a_damaged_file_is_replaced(mirror: Mirror, tmp_path: Path) -> None:
    load_images(CIFAR, tmp_path)
    (tmp_path / "cifar-10-batches-py" / "test_batch").write_bytes(b"")
    assert len(load_images(CIFAR, tmp_path).test_images) == 20


@pytest.mark.parametrize("damage", ["truncated", "altered"])
def test_a_damaged_archive(mirror: Mirror, tmp_path: Path, damage: str) -> None:
    mirror.served = mirror.archive[:-1000] if damage == "truncated" else b"x" + mirror.archive[1:]
    with pytest.raises(DataError, match="could not be downloaded from http") as error:
        load_images(CIFAR, tmp_path)
    one_line(error)
    mirror.served = mirror.archive
    assert len(load_images(CIFAR, tmp_path).train_images) == 20


def test_no_network(mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "url", "http://127.0.0.1:9/cifar-10-python.tar.gz")
    with pytest.raises(DataError, match=r"Connection refused.*check the network") as error:
        load_images(CIFAR, tmp_path)
    one_line(error)
    assert error.value.exit_code == 1


def test_a_directory_that_cannot_be_written(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="choose a directory that can be written") as error:
        load_images(CIFAR, tmp_path / "file" / "below")
    one_line(error)
    assert error.value.exit_code == 2


def test_a_full_disk_is_no_bad_input(mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, **options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(DataError, match="No space left") as error:
        load_images(CIFAR, tmp_path)
    assert error.value.exit_code == 1


def test_a_download_that_never_ends_elsewhere(mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "DOWNLOAD_WAIT_S", 0.1)
    lock = tmp_path / ".cifar-10-batches-py.lock"
    with FileLock(lock), pytest.raises(DataError, match="another process"):
        load_images(CIFAR, tmp_path)
    assert mirror.requests == []
