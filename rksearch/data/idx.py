"""MNIST and the sets of its form: gray images and labels in compressed IDX files, by torchvision's addresses."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rksearch.data.dataset import Dataset, Images
from rksearch.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

NAMES = ("train-images", "train-labels", "t10k-images", "t10k-labels")
"""Beginnings of the names of the four files, in the order of the arguments of `Images`."""


def load_idx(name: str, class_name: str, data_dir: Path, download: bool) -> Images:
    """All images, read from the archives themselves, whose checksums torchvision knows.

    Args:
        name: name of the data set.
        class_name: name of torchvision's class, which is also the folder's.
        data_dir: directory for data sets.
        download: whether missing or damaged archives may be downloaded.

    Raises:
        DataError: archives are missing or damaged and must not or cannot be downloaded.
    """
    from torchvision import datasets as sources  # torchvision takes a second to import

    from rksearch.data.downloads import Remote, ensure

    source: Any = getattr(sources, class_name)
    folder = f"{class_name}/raw"
    remote = Remote(
        dataset=name,
        directory=data_dir,
        folder=folder,
        files=tuple((file, md5) for file, md5 in source.resources),
        url=source.mirrors[0],
        damaged=f"{folder}/*.gz",
        fetch=lambda: _fetch(source, data_dir / folder),
    )
    ensure(remote, download=download)
    files = [next(file for file, _ in source.resources if file.startswith(begin)) for begin in NAMES]
    train_images, train_labels, test_images, test_labels = (read_idx(name, remote.home / file) for file in files)
    return Images(
        train_images=train_images.unsqueeze(1),
        train_labels=train_labels.long(),
        test_images=test_images.unsqueeze(1),
        test_labels=test_labels.long(),
    )


def _fetch(source: Any, home: Path) -> None:
    """Download what is missing or damaged, from the first mirror that has it."""
    from rksearch.data.fetching import fetch

    for file, md5 in source.resources:
        for i, mirror in enumerate(source.mirrors):
            try:
                fetch(mirror + file, home / file, md5)
                break
            except OSError:
                if i == len(source.mirrors) - 1:
                    raise


def read_idx(name: str, path: Path) -> Tensor:
    """The array of a compressed IDX file.

    Raises:
        DataError: the file holds something else, although its checksum is right.
    """
    import gzip

    return parsed(name, path.name, gzip.decompress(path.read_bytes()))


TYPES = {8: ">u1", 12: ">i4"}
"""Types of numbers by the third byte of an IDX file: images and labels are bytes, QMNIST's labels are integers."""


def parsed(name: str, file: str, content: bytes) -> Tensor:
    """The array of an unpacked IDX file: two zero bytes, type, number of dimensions, lengths, values.

    Raises:
        DataError: the content is something else.
    """
    import numpy as np
    import torch

    kind = TYPES.get(content[2]) if len(content) > 3 and content[:2] == b"\0\0" else None
    if kind:
        shape = np.frombuffer(content, ">i4", content[3], offset=4).tolist()
        values = content[4 + 4 * len(shape) :]
        if shape and len(values) == np.dtype(kind).itemsize * math.prod(shape):
            array = np.frombuffer(values, kind).reshape(shape)
            return torch.from_numpy(array.astype(array.dtype.newbyteorder("=")))
    raise DataError(f"{file} of {name} must be an IDX file of numbers, but is none; remove it and try again")


MNIST = Dataset(
    name="mnist",
    channels=1,
    height=28,
    width=28,
    classes=10,
    mean=(33.32,),
    std=(78.57,),
    normalisation="mean and standard deviation over the 60,000 training images",
    crop_padding=2,
    val_fraction=0.1,
    source="MNIST (LeCun et al. 1998), handwritten digits, 60,000 training and 10,000 test images, through torchvision",
    licence="Creative Commons Attribution-ShareAlike 3.0",
    citation="Y. LeCun et al. (1998), Gradient-based learning applied to document recognition, Proceedings of the IEEE "
    "86",
    class_names=tuple("0123456789"),
    most_train_images=54_001,
    load=partial(load_idx, "mnist", "MNIST"),
)

FASHION_MNIST = Dataset(
    name="fashion_mnist",
    channels=1,
    height=28,
    width=28,
    classes=10,
    mean=(72.94,),
    std=(90.02,),
    normalisation="mean and standard deviation over the 60,000 training images",
    crop_padding=2,
    flip=True,
    val_fraction=0.1,
    source="Fashion-MNIST (Xiao et al. 2017), articles of clothing, 60,000 training and 10,000 test images, through "
    "torchvision",
    licence="MIT",
    citation="H. Xiao, K. Rasul and R. Vollgraf (2017), Fashion-MNIST: a novel image dataset for benchmarking machine "
    "learning algorithms, arXiv:1708.07747",
    class_names=("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
                 "Ankle boot"),
    most_train_images=54_000,
    load=partial(load_idx, "fashion_mnist", "FashionMNIST"),
)  # fmt: skip
