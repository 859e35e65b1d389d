"""Images that are read one by one while they are needed, because all of them would not fit in memory; no torch.

A data set's loader returns `Stored` in place of `rksearch.data.dataset.Images` where its images stream.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from rksearch.data.decoding import (
    ANOTHER_TIME,
    SHORT_OF_MEMORY,
    UNREADABLE,
    converted,
    covering,
    reason,
    short_of_memory,
)
from rksearch.data.order import Labels, hashed_order
from rksearch.errors import DataError, unreadable
from rksearch.ordinary import legible

Picture = npt.NDArray[np.uint8]
"""One image (H, W, C)."""

SAMPLE = 1000
"""Largest number of images of which the mean and deviation of streamed images are measured."""


class UnreadablePicture(DataError):
    """One image is damaged, or must not be read: the same whenever it is read, so that it can be left out.

    Args:
        rule: what must hold, for a message about this image alone.
        name: of the image.
        why: a few words on the reason.
    """

    def __init__(self, rule: str, name: str, why: str) -> None:
        super().__init__(f"{rule}, but {name} is not ({why}); remove or replace it")
        self.name, self.why = name, why

    @property
    def line(self) -> str:
        """Name and reason, as lists of such images have them."""
        return f"{self.name} ({self.why})"


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
            UnreadablePicture: it never can be read; trainings leave it out.
            DataError: it cannot be read; trainings end.
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
        except SHORT_OF_MEMORY as error:
            raise short_of_memory(self.root, shown_key(self.keys[place])) from error
        except UNREADABLE as error:
            things, name = f"each image of {self.root}", shown_key(self.keys[place])
            if isinstance(error, OSError) and error.errno in ANOTHER_TIME:
                raise unreadable(things, name, error) from error
            raise UnreadablePicture(f"{things} must be readable", name, reason(error)) from error
        return pixels if pixels.ndim == 3 else pixels[..., None]


def read_to_cover(pictures: PictureSource, place: int, area: tuple[int, int]) -> Picture:
    """Pixels (H, W, C) of the image at `place`, which can be resized to cover an area of this height and width.

    Raises:
        UnreadablePicture: it never can be read, or would be too large.
        DataError: as `PictureSource.read`.
    """
    picture = pictures.read(place)
    try:
        covering((picture.shape[0], picture.shape[1]), area)
    except ValueError as error:
        name = shown_key(pictures.keys[place])
        raise UnreadablePicture("each image must have a form that can be resized", name, reason(error)) from error
    return picture


def shown_key(key: bytes) -> str:
    """A key as one line of printable text."""
    return legible(key.decode("utf-8", errors="replace"))


def sample_of(pictures: PictureSource, places: npt.NDArray[np.int64], classes: int) -> list[int]:
    """At most `SAMPLE` of the images at `places`, the same ones whatever their order: those with the smallest hashes.

    Each class gives an equal share as far as it has one, so that no class is missing from the sample.
    """
    keys = [pictures.keys[place] for place in places.tolist()]
    members = hashed_order(keys, pictures.labels[places], classes=classes, purpose="sample")
    ranked = sorted((rank, label, index) for label, own in enumerate(members) for rank, index in enumerate(own))
    return sorted(int(places[index]) for _, _, index in ranked[:SAMPLE])


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredSample:
    """Measurements on a sample of images.

    Attributes:
        mean, std: of each channel over all pixels of its images, on the 0..255 scale, from exact sums of integers,
            rounded to four digits behind the point.
        images: number of images that were read.
        unreadable: the others, place and line of each.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    images: int
    unreadable: Mapping[int, str]


def measured_sample(pictures: PictureSource, places: Sequence[int], size: tuple[int, int]) -> MeasuredSample:
    """Mean and standard deviation of the images at `places`; those that cannot be read, or resized, are left out.

    Args:
        pictures: the images, which are measured as they are.
        places: those to measure.
        size: height and width to which trainings resize them.

    Raises:
        DataError: none of them can be read.
    """
    histogram: npt.NDArray[np.int64] | None = None
    unreadable: dict[int, str] = {}
    for place in places:
        try:
            pixels = read_to_cover(pictures, place, size)
        except UnreadablePicture as error:
            unreadable[place] = error.line
            continue
        counts = np.stack([np.bincount(pixels[..., c].ravel(), minlength=256) for c in range(pixels.shape[2])])
        histogram = counts if histogram is None else histogram + counts
    if histogram is None:
        raise DataError(
            f"images must be readable, but none of {len(places):,} is, the first being "
            f"{unreadable[places[0]]}; replace them"
        )
    mean, std = moments(histogram)
    return MeasuredSample(mean=mean, std=std, images=len(places) - len(unreadable), unreadable=unreadable)


def moments(counts: npt.NDArray[np.int64]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel from its histogram (C, 256), rounded to four digits."""
    values = np.arange(256)
    total = counts.sum(axis=1)
    mean = (counts @ values) / total
    variance = (counts @ values**2) / total - mean**2
    return tuple(np.round(mean, 4).tolist()), tuple(np.round(np.sqrt(np.maximum(variance, 0)), 4).tolist())
