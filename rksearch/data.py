"""Images: loading a data set, and the fixed split of its training images into training and validation.

Every decision about which image goes where follows from the SHA-256 of the image's bytes, so it depends neither on the
order of files nor on a random generator.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import io
import logging
import socket
import tarfile
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rksearch.datasets import Dataset
from rksearch.errors import DataError
from rksearch.files import file_lock

logger = logging.getLogger(__name__)

DOWNLOAD_WAIT_S = 3600.0
"""How long a trial waits for another one that is downloading the same data set."""

CONNECTION_TIMEOUT_S = 60.0
"""Silence of the server after which a download is given up."""

DIGITS_TEST_FRACTION = 1 / 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """A data set in memory: uint8 pixels (N, C, H, W) and int64 labels (N,), on the CPU."""

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Which training images are trained on and which are held out for validation.

    Attributes:
        train, val: ascending int64 indices into the training images.
        digest: SHA-256 of both, 64 hex digits.
    """

    train: Tensor
    val: Tensor
    digest: str


def load_images(dataset: Dataset, data_dir: Path, *, download: bool = True) -> Images:
    """All images of `dataset`, read from `data_dir`, whither they are downloaded first when they are not there.

    Processes that need the same download wait for the one that does it. Embedded data sets ignore `data_dir`.

    Raises:
        DataError: files are missing or damaged and must not or cannot be downloaded.
    """
    if dataset.name == "digits":
        return _load_digits(dataset)
    if not dataset.name.startswith("cifar"):
        raise DataError(
            f"rksearch loads digits, cifar10 and cifar100, but got {dataset.name}; choose one of these: for "
            f"{dataset.name}, networks can be built and counted and not trained"
        )
    return _load_cifar(dataset, data_dir, download=download)


def split(dataset: Dataset, images: Images, train_images: int | None = None) -> Split:
    """The fixed split of the training images, stratified by class.

    In each class the images with the smallest hashes are held out, `dataset.val_fraction` of them. The others stand in
    one fixed order in which every prefix is stratified, and a training subset is a prefix: subsets are nested and
    never touch the validation images.

    Args:
        dataset: facts about the data set.
        images: its images.
        train_images: size of the training subset; None for all that are not held out.

    Raises:
        DataError: `train_images` is less than one per class, or more than there are.
    """
    val: list[int] = []
    ranked: list[tuple[float, int, int]] = []
    for label, members in enumerate(_hashed_order(images.train_images, images.train_labels, dataset, "val")):
        held_out = max(1, round(len(members) * dataset.val_fraction))
        val += members[:held_out]
        rest = members[held_out:]
        # Spreading each class evenly over [0, 1] makes every prefix of the merged order stratified to within one image.
        ranked += [((rank + 0.5) / len(rest), label, index) for rank, index in enumerate(rest)]
    order = [index for _, _, index in sorted(ranked)]
    if train_images is not None and not dataset.classes <= train_images <= len(order):
        raise DataError(
            f"train_images of {dataset.name} must be from {dataset.classes} (one per class) to {len(order)} "
            f"({len(val)} are held out for validation), but got {train_images}; leave it out to train on all"
        )
    train = torch.tensor(sorted(order[:train_images]), dtype=torch.int64)
    held = torch.tensor(sorted(val), dtype=torch.int64)
    return Split(train=train, val=held, digest=_digest(train, held))


def _digest(train: Tensor, val: Tensor) -> str:
    parts = [b"train", train.numpy().astype("<i8").tobytes(), b"val", val.numpy().astype("<i8").tobytes()]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def _hashed_order(images: Tensor, labels: Tensor, dataset: Dataset, purpose: str) -> list[list[int]]:
    """Indices of each class's images (N, C, H, W), ordered by hash.

    `purpose` enters the hash, so that decisions for different purposes are independent. Identical images of a class
    are told apart by counting them.
    """
    seen: Counter[tuple[int, bytes]] = Counter()
    members: list[list[tuple[bytes, int]]] = [[] for _ in range(dataset.classes)]
    for index, (pixels, label) in enumerate(zip(images.numpy(), labels.tolist(), strict=True)):
        content = hashlib.sha256(pixels.tobytes()).digest()
        occurrence = seen[label, content]
        seen[label, content] += 1
        key = hashlib.sha256(f"{purpose} {occurrence} ".encode() + content).digest()
        members[label].append((key, index))
    return [[index for _, index in sorted(keyed)] for keyed in members]


def _load_digits(dataset: Dataset) -> Images:
    from sklearn.datasets import load_digits  # scikit-learn takes a second to import

    bunch = load_digits()
    pixels = np.rint(bunch.images * (255 / 16)).astype(np.uint8)  # stored as 0..16
    images = torch.from_numpy(pixels).unsqueeze(1)
    labels = torch.from_numpy(bunch.target).to(torch.int64)
    test: list[int] = []
    for members in _hashed_order(images, labels, dataset, "test"):
        test += members[: round(len(members) * DIGITS_TEST_FRACTION)]
    is_test = torch.zeros(len(labels), dtype=torch.bool)
    is_test[test] = True
    return Images(
        train_images=images[~is_test],
        train_labels=labels[~is_test],
        test_images=images[is_test],
        test_labels=labels[is_test],
    )


def _load_cifar(dataset: Dataset, data_dir: Path, *, download: bool) -> Images:
    from torchvision import datasets as sources  # torchvision takes a second to import

    source = {"cifar10": sources.CIFAR10, "cifar100": sources.CIFAR100}[dataset.name]
    data_dir = data_dir.expanduser()
    problem = _problem(source, data_dir)
    if problem and not download:
        raise DataError(
            f"{dataset.name} needs intact files in {data_dir / source.base_folder}, but {problem}; allow the download "
            f"or point --data-dir at the directory that holds {source.base_folder}/"
        )
    if problem:
        _download(dataset, source, data_dir)
    train = source(root=data_dir, train=True, download=False)
    test = source(root=data_dir, train=False, download=False)
    return Images(
        train_images=_channels_first(train.data),
        train_labels=torch.tensor(train.targets, dtype=torch.int64),
        test_images=_channels_first(test.data),
        test_labels=torch.tensor(test.targets, dtype=torch.int64),
    )


def _channels_first(pixels: Any) -> Tensor:
    """uint8 numpy pixels (N, H, W, C) as a tensor (N, C, H, W)."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()


def _problem(source: Any, data_dir: Path) -> str | None:
    """What is wrong with the unpacked files of a torchvision CIFAR class, or None."""
    files = [*source.train_list, *source.test_list, (source.meta["filename"], source.meta["md5"])]
    for name, md5 in files:
        path = data_dir / source.base_folder / name
        try:
            with path.open("rb") as handle:
                intact = hashlib.file_digest(handle, "md5").hexdigest() == md5
        except FileNotFoundError:
            return f"{name} is missing"
        except OSError as error:
            return f"{name} cannot be read ({error.strerror})"
        if not intact:
            return f"{name} is damaged (its checksum is wrong)"
    return None


def _download(dataset: Dataset, source: Any, data_dir: Path) -> None:
    """Fetch and unpack under a lock; whoever had to wait finds the files there.

    Raises:
        DataError: the directory cannot be written, or the download failed or is damaged.
    """
    instead = f"or point --data-dir at a directory that holds {source.base_folder}/"
    lock = data_dir / f".{source.base_folder}.lock"
    busy = DataError(
        f"{dataset.name} is being downloaded by another process that has held {lock} for over "
        f"{DOWNLOAD_WAIT_S / 60:.0f} minutes; end that process or wait for it"
    )
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with file_lock(lock, wait_s=DOWNLOAD_WAIT_S, busy=busy):
            if _problem(source, data_dir) is None:
                return
            logger.info("downloading %s (about 170 MB) from %s to %s", dataset.name, source.url, data_dir)
            _fetch(dataset, source, data_dir, instead)
            problem = _problem(source, data_dir)
    except OSError as error:
        raise DataError(
            f"{dataset.name} cannot be stored in {data_dir} ({error.strerror or error}); "
            f"choose a directory that can be written, {instead}"
        ) from error
    if problem:
        raise DataError(
            f"{dataset.name} was downloaded to {data_dir}, but {problem}; "
            f"remove {data_dir / source.filename} and try again, {instead}"
        )


def _fetch(dataset: Dataset, source: Any, data_dir: Path, instead: str) -> None:
    try:
        with (
            _connection_timeout(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            source(root=data_dir, train=True, download=True)
    except (OSError, RuntimeError, http.client.HTTPException, EOFError, tarfile.TarError, zlib.error) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"{dataset.name} could not be downloaded from {source.url} to {data_dir} ({reason}); "
            f"check the network and the disk and try again, {instead}"
        ) from error


@contextlib.contextmanager
def _connection_timeout() -> Iterator[None]:
    """torchvision opens its connections without a time limit; a silent server would hang the trial for good."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(CONNECTION_TIMEOUT_S)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
