"""Images: loading a data set, and the fixed split of its training images into training and validation.

Every decision about which image goes where follows from the SHA-256 of the image's bytes, so it depends neither on the
order of files nor on a random generator.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rksearch.data.downloads import Remote, ensure
from rksearch.data.facts import Dataset
from rksearch.errors import DataError

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
    match dataset.name:
        case "digits":
            return _load_digits(dataset)
        case "cifar10" | "cifar100":
            return _load_cifar(dataset, data_dir.expanduser(), download=download)
        case "svhn":
            return _load_svhn(dataset, data_dir.expanduser(), download=download)
    raise DataError(
        f"rksearch loads digits, cifar10, cifar100 and svhn, but got {dataset.name}; choose one of these: for "
        f"{dataset.name}, networks can be built and counted and not trained"
    )


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
    files = [*source.train_list, *source.test_list, (source.meta["filename"], source.meta["md5"])]
    remote = Remote(
        dataset=dataset.name,
        directory=data_dir,
        folder=source.base_folder,
        files=tuple((name, md5) for name, md5 in files),
        url=source.url,
        size="170 MB",
        damaged=source.filename,
        fetch=lambda: source(root=data_dir, train=True, download=True),
    )
    ensure(remote, download=download)
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


def _load_svhn(dataset: Dataset, data_dir: Path, *, download: bool) -> Images:
    """Training images are those of `train` and then those of `extra`, as is usual for this data set."""
    from torchvision.datasets import SVHN, utils  # torchvision takes a second to import

    parts = {part: tuple(SVHN.split_list[part]) for part in ("train", "extra", "test")}

    def fetch() -> None:
        for url, name, md5 in parts.values():
            utils.download_url(url, data_dir, name, md5)  # leaves an intact file alone

    remote = Remote(
        dataset=dataset.name,
        directory=data_dir,
        folder="",
        files=tuple((name, md5) for _, name, md5 in parts.values()),
        url=parts["train"][0].rpartition("/")[0],
        size="1.5 GB",
        damaged="*_32x32.mat",
        fetch=fetch,
    )
    ensure(remote, download=download)
    paths = {part: data_dir / name for part, (_, name, _) in parts.items()}
    train_images, train_labels = _read_svhn(dataset, [paths["train"], paths["extra"]])
    test_images, test_labels = _read_svhn(dataset, [paths["test"]])
    return Images(
        train_images=train_images, train_labels=train_labels, test_images=test_images, test_labels=test_labels
    )


def _read_svhn(dataset: Dataset, paths: list[Path]) -> tuple[Tensor, Tensor]:
    """Images (N, C, H, W) and labels (N,) of MATLAB files, one after another.

    All images take 1.9 GB, so they are written where they will stay, a file at a time.
    """
    from scipy.io import loadmat  # type: ignore[import-untyped]

    # The files call the digit 0 by 10.
    labels = [
        torch.from_numpy(loadmat(path, variable_names=["y"])["y"].astype(np.int64).ravel() % 10) for path in paths
    ]
    images = torch.empty((sum(map(len, labels)), dataset.channels, dataset.height, dataset.width), dtype=torch.uint8)
    for path, place in zip(paths, images.split([len(own) for own in labels]), strict=True):
        pixels = loadmat(path, variable_names=["X"])["X"]  # (H, W, C, N)
        place.copy_(torch.from_numpy(pixels).permute(3, 2, 0, 1))
    return images, torch.cat(labels)
