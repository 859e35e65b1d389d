"""CIFAR-10 and CIFAR-100, through torchvision."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rksearch.data.dataset import Dataset, Images

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor


CITATION = "A. Krizhevsky (2009), Learning multiple layers of features from tiny images, technical report, Toronto"

LICENCE = "the authors state no licence and ask for the citation"

NORMALISATION = "mean and standard deviation of each channel over the training images, as in the DenseNet code"


def _load(name: str, data_dir: Path, download: bool) -> Images:
    """All images, from the Python archives of the data set's home page.

    Raises:
        DataError: files are missing or damaged and must not or cannot be downloaded.
    """
    import torch
    from torchvision import datasets as sources  # torchvision takes a second to import

    from rksearch.data.downloads import Remote, ensure

    source: Any = {"cifar10": sources.CIFAR10, "cifar100": sources.CIFAR100}[name]
    files = [*source.train_list, *source.test_list, (source.meta["filename"], source.meta["md5"])]
    remote = Remote(
        dataset=name,
        directory=data_dir,
        folder=source.base_folder,
        files=tuple((file, md5) for file, md5 in files),
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


def _channels_first(pixels: npt.NDArray[np.uint8]) -> Tensor:
    """Pixels (N, H, W, C) as a tensor (N, C, H, W)."""
    import torch

    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()


CIFAR10 = Dataset(
    name="cifar10",
    channels=3,
    height=32,
    width=32,
    classes=10,
    mean=(125.3, 123.0, 113.9),
    std=(63.0, 62.1, 66.7),
    normalisation=NORMALISATION,
    crop_padding=4,
    flip=True,
    val_fraction=0.1,
    source="CIFAR-10 (Krizhevsky 2009), 50,000 training and 10,000 test images, through torchvision",
    licence=LICENCE,
    citation=CITATION,
    class_names=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    most_train_images=45_000,
    load=partial(_load, "cifar10"),
)

CIFAR100 = Dataset(
    name="cifar100",
    channels=3,
    height=32,
    width=32,
    classes=100,
    mean=(129.3, 124.1, 112.4),
    std=(68.2, 65.4, 70.4),
    normalisation=NORMALISATION,
    crop_padding=4,
    flip=True,
    val_fraction=0.1,
    source="CIFAR-100 (Krizhevsky 2009), 50,000 training and 10,000 test images, through torchvision",
    licence=LICENCE,
    citation=CITATION,
    most_train_images=45_000,
    load=partial(_load, "cifar100"),
)
