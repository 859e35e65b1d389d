"""Images in memory, and the fixed split of the training images into training and validation, see `data.order`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from rksearch.data.dataset import Dataset, Images
from rksearch.data.order import Labels, Pixels, split_order
from rksearch.data.pictures import Stored
from rksearch.errors import ANY_FAULT, DataError, RksearchError, in_one_line, is_short_of_memory
from rksearch.ordinary import expanded


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Indices of the images to train on, and of those that are held out for validation.

    Attributes:
        train, val: ascending int64 indices into the training images.
        digest: SHA-256 of both, 64 hex digits.
    """

    train: Tensor
    val: Tensor
    digest: str


def load_images(dataset: Dataset, data_dir: Path, *, download: bool = True) -> Images:
    """All images of a data set that is held in memory; see `load_data`.

    Raises:
        DataError: as `load_data`, or the images are streamed.
    """
    images = load_data(dataset, data_dir, download=download)
    if isinstance(images, Stored):
        raise DataError(
            f"this needs images that lie in memory, but those of {dataset.name} are streamed; choose a smaller data set"
        )
    return images


def load_data(dataset: Dataset, data_dir: Path, *, download: bool = True) -> Images | Stored:
    """All images of a data set, in memory or to be streamed, as its loader gives them.

    Args:
        dataset: the data set.
        data_dir: directory for data sets; `~` stands for the home directory. Embedded data sets ignore it.
        download: whether missing files may be downloaded. Processes that need the same download wait for one of them.

    Raises:
        DataError: the data set has no loader, files are missing or damaged and must not or cannot be downloaded, or
            the images are not as the facts say.
    """
    if dataset.load is None:
        raise DataError(
            f"networks for {dataset.name} can be built and counted and not trained, because it has no loader; "
            "choose a data set that has one, such as digits or cifar10"
        )
    try:
        images = dataset.load(expanded(data_dir, DataError), download)
    except (RksearchError, OSError, MemoryError):
        raise
    except ANY_FAULT as error:
        if is_short_of_memory(error):
            raise
        raise DataError(
            f"the loader of {dataset.name} must give its images, but failed ({in_one_line(error)}); correct it"
        ) from error
    if not isinstance(images, Images | Stored):
        raise DataError(
            f"the loader of {dataset.name} must give Images or Stored, but gave {type(images).__name__}; correct it"
        )
    if isinstance(images, Stored):
        for part, pictures in (("training", images.train), ("test", images.test)):
            _check_labels(dataset, part, pictures.labels)
        return images
    for part, pixels, labels in (
        ("training", images.train_images, images.train_labels),
        ("test", images.test_images, images.test_labels),
    ):
        _check(dataset, part, pixels, labels)
    return images


def _check(dataset: Dataset, part: str, pixels: Tensor, labels: Tensor) -> None:
    """Raise a DataError unless images (N, C, H, W) and labels (N,) are as the data set's facts say."""
    for name, given in (("images", pixels), ("labels", labels)):
        if not isinstance(given, Tensor):
            raise DataError(
                f"the {part} {name} of {dataset.name} must be a tensor, but got {type(given).__name__}; correct its "
                "loader"
            )
    shape = (dataset.channels, dataset.height, dataset.width)
    dtypes = (torch.uint8, torch.int64)
    rules: list[tuple[bool, str, object]] = [
        ((pixels.dtype, labels.dtype) == dtypes, "uint8 pixels and int64 labels", (pixels.dtype, labels.dtype)),
        (pixels.ndim == 4 and pixels.shape[1:] == shape, f"the shape (N, {', '.join(map(str, shape))})",
         tuple(pixels.shape)),
        (labels.shape == pixels.shape[:1], f"one label per image, {len(pixels)} in all", tuple(labels.shape)),
    ]  # fmt: skip
    for holds, rule, value in rules:
        if not holds:
            raise DataError(
                f"the {part} images of {dataset.name} must have {rule}, but got {value}; correct its loader"
            )
    _check_labels(dataset, part, labels.numpy())


def _check_labels(dataset: Dataset, part: str, labels: Labels) -> None:
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < dataset.classes:
        raise DataError(
            f"labels of {dataset.name} must be from 0 to {dataset.classes - 1}, but the {part} images have labels from "
            f"{int(labels.min())} to {int(labels.max())}; correct its loader or its number of classes"
        )


def split(dataset: Dataset, images: Images | Stored, train_images: int | None = None) -> Split:
    """The fixed split of the training images, stratified by class.

    In each class the images with the smallest hashes are held out, `dataset.val_fraction` of them, unless the data set
    itself holds some out. The others stand in one fixed order in which every prefix is stratified, and a training
    subset is a prefix: subsets are nested and never touch the validation images. The hashes are those of the pixels, or
    of the keys of streamed images.

    Args:
        dataset: facts about the data set.
        images: its images.
        train_images: size of the training subset; None for all that are not held out.

    Raises:
        DataError: `train_images` is less than one per class, or more than there are.
    """
    hashed: tuple[Pixels | Sequence[bytes], Labels]
    if isinstance(images, Stored):
        hashed, held_out = (images.train.keys, images.train.labels), images.held_out
    else:
        hashed = images.train_images.numpy(), images.train_labels.numpy()
        held_out = None if images.held_out is None else images.held_out.numpy()
    order, val = split_order(*hashed, classes=dataset.classes, val_fraction=dataset.val_fraction, held_out=held_out)
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
