"""CIFAR-10 and CIFAR-100, by torchvision's addresses and checksums."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rksearch.data.dataset import Dataset, Images
from rksearch.errors import DataError, in_one_line

if TYPE_CHECKING:
    from torch import Tensor


CITATION = "A. Krizhevsky (2009), Learning multiple layers of features from tiny images, technical report, Toronto"

LICENCE = "the authors state no licence and ask for the citation"

NORMALISATION = "mean and standard deviation of each channel over the training images, as in the DenseNet code"


def _load(name: str, data_dir: Path, download: bool) -> Images:
    """All images, from the Python archives of the data set's home page.

    Raises:
        DataError: files are missing or damaged and must not or cannot be downloaded.
    """
    from torchvision import datasets as sources  # torchvision takes a second to import

    from rksearch.data.downloads import Remote, ensure
    from rksearch.data.fetching import extract, fetch

    source: Any = {"cifar10": sources.CIFAR10, "cifar100": sources.CIFAR100}[name]
    batches = [*source.train_list, *source.test_list]
    files = [(file, md5) for file, md5 in (*batches, (source.meta["filename"], source.meta["md5"]))]

    def fetched() -> None:
        fetch(source.url, data_dir / source.filename, source.tgz_md5)
        extract(
            data_dir / source.filename,
            {f"{source.base_folder}/{file}": data_dir / source.base_folder / file for file, _ in files},
        )

    remote = Remote(
        dataset=name,
        directory=data_dir,
        folder=source.base_folder,
        files=tuple(files),
        url=source.url,
        damaged=source.filename,
        fetch=fetched,
    )
    ensure(remote, download=download)
    train_images, train_labels = _read([remote.home / file for file, _ in source.train_list])
    test_images, test_labels = _read([remote.home / file for file, _ in source.test_list])
    return Images(
        train_images=train_images, train_labels=train_labels, test_images=test_images, test_labels=test_labels
    )


LABELS = ("labels", "fine_labels")
"""Names of the labels in the batches of CIFAR-10 and CIFAR-100."""


def _read(paths: Sequence[Path]) -> tuple[Tensor, Tensor]:
    """Images (N, C, H, W) and labels (N,) of batches, one after another.

    Raises:
        DataError: a batch holds something else.
    """
    import numpy as np
    import torch

    from rksearch.data.unpickling import unpickled_arrays

    pixels, labels = [], []
    for path in paths:
        try:
            batch = unpickled_arrays(path.read_bytes())
            own = next(batch[key] for key in LABELS if key in batch)
            images = np.asarray(batch["data"])
            targets = np.asarray(own, dtype=np.int64)
            if images.dtype != np.uint8 or images.shape != (len(targets), 3 * 32 * 32):
                raise ValueError(f"its pixels are {images.dtype} of shape {images.shape}")
        except Exception as error:  # a damaged pickle raises almost anything
            raise DataError(
                f"{path} must be a batch of CIFAR, an array of pixels with labels, but cannot be read as one "
                f"({in_one_line(error)}); remove it and let it be downloaded again"
            ) from error
        pixels.append(images.reshape(-1, 3, 32, 32))
        labels.append(targets)
    return torch.from_numpy(np.concatenate(pixels)), torch.from_numpy(np.concatenate(labels))


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
