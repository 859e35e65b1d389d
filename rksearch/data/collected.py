"""One's own images as they were read, and what a data set needs of them: parts, facts and measured normalisation.

This module imports no torch.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rksearch.data.address import Address
from rksearch.data.dataset import Dataset
from rksearch.data.order import Labels, Pixels, hashed_order, held_out_first, split_order
from rksearch.data.pictures import moments
from rksearch.errors import DataError

PARTS = ("train", "val", "test")

TEST_FRACTION = 0.2
"""Share of each class that becomes the test set where there is none."""

VAL_FRACTION = 0.2
"""Share of the training images of each class that is held out where nothing is."""

MAX_LISTED = 20
"""Largest number of skipped files that a note names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """Images that were read from a folder or a file.

    Attributes:
        parts: images and labels of `train` and, where the source tells them apart, of `val` and `test`.
        class_names: names of the classes in the order of their labels.
        fingerprint: SHA-256 of the contents, in hex.
        skipped: files that could not be read, each with the reason.
    """

    parts: Mapping[str, tuple[Pixels, Labels]]
    class_names: tuple[str, ...]
    fingerprint: str
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembled:
    """A data set of one's own images: its facts, without a loader, and the arrays.

    Attributes:
        facts: the data set.
        train, test: images and labels of both parts.
        held_out: indices (V,) of the training images that the source holds out; None where rksearch chooses them.
    """

    facts: Dataset
    train: tuple[Pixels, Labels]
    test: tuple[Pixels, Labels]
    held_out: npt.NDArray[np.int64] | None


def assemble(address: Address, collected: Collected) -> Assembled:
    """The data set of what was collected.

    Raises:
        DataError: fewer than two classes, too few images of a class, shares for parts that the source has, or images
            that are all the same.
    """
    _check_classes(address, collected)
    _check_shares(address, collected)
    train, test, held_out = _parts(address, collected)
    val_fraction = address.options.val or VAL_FRACTION
    order, val = split_order(*train, classes=len(collected.class_names), val_fraction=val_fraction, held_out=held_out)
    labels = train[1]
    _check_counts(address, collected, {"train": labels[order], "val": labels[val], "test": test[1]})
    mean, std = measured(train[0], order)
    if min(std) == 0:
        raise DataError(f"the training images of {address} must differ in each channel, but one has a single value")
    _, channels, height, width = train[0].shape
    crop, flip = address.options.crop, address.options.flip
    facts = Dataset(
        name=str(address),
        channels=channels,
        height=height,
        width=width,
        classes=len(collected.class_names),
        mean=mean,
        std=std,
        normalisation="mean and standard deviation of each channel, measured on the images to train on",
        crop_padding=round(min(height, width) / 8) if crop is None else crop,
        flip=bool(flip),
        val_fraction=val_fraction,
        source=f"{len(train[0]):,} training and {len(test[0]):,} test images of {len(collected.class_names)} classes, "
        f"SHA-256 {collected.fingerprint[:16]}",
        licence="not stated",
        class_names=collected.class_names,
        fingerprint=collected.fingerprint,
        notes=_notes(collected),
    )
    return Assembled(facts=facts, train=train, test=test, held_out=held_out)


def measured(images: Pixels, index: list[int]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel over the images (N, C, H, W) at `index`, on the 0..255 scale.

    Exact sums of integers, rounded to four digits behind the point.
    """
    channels = images.shape[1]
    counts = np.zeros((channels, 256), dtype=np.int64)
    for i in index:
        for channel in range(channels):
            counts[channel] += np.bincount(images[i, channel].ravel(), minlength=256)
    return moments(counts)


def _check_classes(address: Address, collected: Collected) -> None:
    classes = len(collected.class_names)
    if classes < 2:
        found = f"one ({collected.class_names[0]})" if classes else "none"
        raise DataError(f"{address} must have at least two classes, but has {found}; add images of another class")


def _check_shares(address: Address, collected: Collected) -> None:
    for part in ("val", "test"):
        if part in collected.parts and getattr(address.options, part) is not None:
            raise DataError(
                f"a share for {part} is for images without that part, but {address} has one of its own; remove {part}="
            )


def _parts(
    address: Address, collected: Collected
) -> tuple[tuple[Pixels, Labels], tuple[Pixels, Labels], npt.NDArray[np.int64] | None]:
    """Training images, test images, and which training images the source holds out."""
    images, labels = collected.parts["train"]
    if "test" in collected.parts:
        test = collected.parts["test"]
    else:
        chosen = np.zeros(len(labels), dtype=np.bool_)
        for members in hashed_order(images, labels, classes=len(collected.class_names), purpose="test"):
            chosen[held_out_first(members, address.options.test or TEST_FRACTION)[0]] = True
        test = images[chosen], labels[chosen]
        images, labels = images[~chosen], labels[~chosen]
    held_out = None
    if "val" in collected.parts:
        more, theirs = collected.parts["val"]
        held_out = np.arange(len(images), len(images) + len(more))
        images, labels = np.concatenate([images, more]), np.concatenate([labels, theirs])
    return (images, labels), test, held_out


def _check_counts(address: Address, collected: Collected, parts: Mapping[str, Labels]) -> None:
    """Each class has an image to train on, one to validate on and one to test on."""
    for part, labels in parts.items():
        counts = np.bincount(labels, minlength=len(collected.class_names))
        if not counts.all():
            name = collected.class_names[int(counts.argmin())]
            total = sum(int((of == int(counts.argmin())).sum()) for of in parts.values())
            raise DataError(
                f"each class of {address} must have images for training, validation and test, but {name} has none for "
                f"{_WORDS[part]} (and {total} in all); add images of it or remove the class"
            )


_WORDS = {"train": "training", "val": "validation", "test": "the test"}


def _notes(collected: Collected) -> tuple[str, ...]:
    skipped = collected.skipped
    if not skipped:
        return ()
    listed = ", ".join(skipped[:MAX_LISTED]) + (", ..." if len(skipped) > MAX_LISTED else "")
    count = "1 file is" if len(skipped) == 1 else f"{len(skipped):,} files are"
    return (f"{count} skipped: {listed}",)


def shown(path: Path, base: Path) -> str:
    """A path within `base` as one line of printable text, for messages and records."""
    text = os.fsencode(path.relative_to(base).as_posix()).decode("utf-8", errors="replace")
    return text if text.isprintable() else repr(text)
