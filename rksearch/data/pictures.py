"""Images that are read one by one while they are needed, because all of them would not fit in memory; no torch.

A data set's loader returns `Stored` in place of `rksearch.data.dataset.Images` where its images stream.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from rksearch.data.decoding import UNREADABLE, converted, reason
from rksearch.data.order import Labels, hashed_order
from rksearch.errors import DataError

Picture = npt.NDArray[np.uint8]
"""One image (H, W, C)."""

SAMPLE = 1000
"""Largest number of images of which the mean and deviation of streamed images are measured."""


class PictureSource(Protocol):
    """Labelled images of any sizes, read one by one. It is sent to other processes, which read images too.

    Attributes:
        labels: int64 labels (N,).
        keys: bytes that identify each image, such as its file's name; the split is made by their hashes.
    """

    @property
    def labels(self) -> Labels:
        """Labels (N,)."""
        ...

    @property
    def keys(self) -> Sequence[bytes]:
        """One key for each image."""
        ...

    def __len__(self) -> int: ...

    def read(self, place: int) -> Picture:
        """Pixels (H, W, C) of the image at `place`.

        Raises:
            DataError: it cannot be read.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A data set whose images are read while they are needed.

    Attributes:
        train, test: its images.
        held_out: int64 indices (V,) of the training images that the data set itself holds out for validation; None
            where rksearch chooses them.
    """

    train: PictureSource
    test: PictureSource
    held_out: Labels | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePictures:
    """Images in files.

    Attributes:
        root: folder beneath which they lie.
        keys: path of each file beneath `root`, with forward slashes, as bytes.
        labels: int64 labels (N,).
        channels: 3 for colour, 1 for gray; each image is converted.
    """

    root: Path
    keys: Sequence[bytes]
    labels: Labels = field(compare=False)
    channels: int = 3

    def __len__(self) -> int:
        return len(self.keys)

    def read(self, place: int) -> Picture:
        """Pixels (H, W, C) of the image at `place`; see `PictureSource`."""
        path = self.root / os.fsdecode(self.keys[place])
        try:
            with Image.open(path) as image:
                pixels = np.asarray(converted(image, gray=self.channels == 1))
        except UNREADABLE as error:
            raise DataError(
                f"each image of {self.root} must be readable, but {shown_key(self.keys[place])} is not "
                f"({reason(error)}); remove or replace it"
            ) from error
        return pixels if pixels.ndim == 3 else pixels[..., None]


def shown_key(key: bytes) -> str:
    """A key as one line of printable text."""
    text = key.decode("utf-8", errors="replace")
    return text if text.isprintable() else repr(text)


def sample_of(pictures: PictureSource, places: npt.NDArray[np.int64], classes: int) -> list[int]:
    """At most `SAMPLE` of the images at `places`, the same ones whatever their order: those with the smallest hashes.

    Each class gives an equal share as far as it has one, so that no class is missing from the sample.
    """
    keys = [pictures.keys[place] for place in places.tolist()]
    members = hashed_order(keys, pictures.labels[places], classes=classes, purpose="sample")
    ranked = sorted((rank, label, index) for label, own in enumerate(members) for rank, index in enumerate(own))
    return sorted(int(places[index]) for _, _, index in ranked[:SAMPLE])


def measured_sample(pictures: PictureSource, places: Sequence[int]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel over all pixels of the images at `places`, on the 0..255 scale.

    Exact sums of integers, rounded to four digits behind the point.

    Raises:
        DataError: an image cannot be read.
    """
    histogram: npt.NDArray[np.int64] | None = None
    for place in places:
        pixels = pictures.read(place)
        counts = np.stack([np.bincount(pixels[..., c].ravel(), minlength=256) for c in range(pixels.shape[2])])
        histogram = counts if histogram is None else histogram + counts
    assert histogram is not None
    return moments(histogram)


def moments(counts: npt.NDArray[np.int64]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel from its histogram (C, 256), rounded to four digits."""
    values = np.arange(256)
    total = counts.sum(axis=1)
    mean = (counts @ values) / total
    variance = (counts @ values**2) / total - mean**2
    return tuple(np.round(mean, 4).tolist()), tuple(np.round(np.sqrt(np.maximum(variance, 0)), 4).tolist())
