"""SVHN: cropped digits of house numbers, through torchvision's list of files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rksearch.data.dataset import Dataset, Images

if TYPE_CHECKING:
    from torch import Tensor


def _load(data_dir: Path, download: bool) -> Images:
    """All images; the training images are those of `train` and then those of `extra`, as is usual for SVHN.

    Raises:
        DataError: files are missing or damaged and must not or cannot be downloaded.
    """
    from torchvision.datasets import SVHN as SOURCE  # torchvision takes a second to import

    from rksearch.data.downloads import as_served, ensure

    parts = {part: tuple(SOURCE.split_list[part]) for part in ("train", "extra", "test")}

    files = list(parts.values())
    remote = as_served("svhn", data_dir, "", files, url=files[0][0].rpartition("/")[0], damaged="*_32x32.mat")
    ensure(remote, download=download)
    paths = {part: data_dir / name for part, (_, name, _) in parts.items()}
    train_images, train_labels = _read([paths["train"], paths["extra"]])
    test_images, test_labels = _read([paths["test"]])
    return Images(
        train_images=train_images, train_labels=train_labels, test_images=test_images, test_labels=test_labels
    )


def _read(paths: list[Path]) -> tuple[Tensor, Tensor]:
    """Images (N, C, H, W) and labels (N,) of MATLAB files, one after another.

    All images take 1.9 GB, so each file is copied to its final place before the next is read.
    """
    import numpy as np
    import torch
    from scipy.io import loadmat  # type: ignore[import-untyped]

    # The files label the digit 0 with 10.
    labels = [
        torch.from_numpy(loadmat(path, variable_names=["y"])["y"].astype(np.int64).ravel() % 10) for path in paths
    ]
    images = torch.empty((sum(map(len, labels)), SVHN.channels, SVHN.height, SVHN.width), dtype=torch.uint8)
    start = 0
    for path, own in zip(paths, labels, strict=True):
        pixels = loadmat(path, variable_names=["X"])["X"]  # (H, W, C, N)
        images[start : start + len(own)] = torch.from_numpy(pixels).permute(3, 2, 0, 1)
        start += len(own)
    return images, torch.cat(labels)


SVHN = Dataset(
    name="svhn",
    channels=3,
    height=32,
    width=32,
    classes=10,
    mean=(0.0, 0.0, 0.0),
    std=(255.0, 255.0, 255.0),
    normalisation="pixels divided by 255, as in the DenseNet paper, section 4.1, which also has no augmentation and "
    "6,000 validation images",
    val_fraction=0.01,
    source="SVHN, cropped digits (Netzer et al. 2011), 73,257 + 531,131 training and 26,032 test images, "
    "through torchvision",
    licence="for non-commercial use only",
    citation="Y. Netzer et al. (2011), Reading digits in natural images with unsupervised feature learning, NIPS "
    "workshop on deep learning and unsupervised feature learning",
    most_train_images=598_349,
    load=_load,
)
