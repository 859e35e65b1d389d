"""One's own images as they were read, and what a data set needs of them: parts, facts and measured normalisation.

This module imports no torch.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from rksearch.data.address import Address
from rksearch.data.dataset import Dataset
from rksearch.data.order import Labels, Pixels, hashed_order, held_out_first, split_order
from rksearch.data.pictures import MeasuredSample, moments
from rksearch.errors import DataError
from rksearch.ordinary import legible

PARTS = ("train", "val", "test")

Hashed: TypeAlias = npt.NDArray[Any]
"""What stands for images when they are parted: their pixels (N, C, H, W), or their keys, an array of bytes objects."""

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
    names = collected.class_names
    check_classes(address, names)
    check_shares(address, collected.parts)
    train, test, held_out = parted(address, collected.parts, classes=len(names))
    val_fraction = address.options.val or VAL_FRACTION
    order, val = split_order(*train, classes=len(names), val_fraction=val_fraction, held_out=held_out)
    labels = train[1]
    check_counts(address, names, {"train": labels[order], "val": labels[val], "test": test[1]})
    mean, std = measured(train[0], order)
    _, channels, height, width = train[0].shape
    facts = own_facts(
        address,
        class_names=names,
        channels=channels,
        size=(height, width),
        measured=(mean, std),
        measured_on="the images to train on",
        counts=(len(train[0]), len(test[0])),
        to_train_on=len(order),
        fingerprint=collected.fingerprint,
        notes=skipped_notes(collected.skipped, "is skipped", "are skipped"),
    )
    return Assembled(facts=facts, train=train, test=test, held_out=held_out)


def own_facts(
    address: Address,
    *,
    class_names: tuple[str, ...],
    channels: int,
    size: tuple[int, int],
    measured: tuple[tuple[float, ...], tuple[float, ...]],
    measured_on: str,
    counts: tuple[int, int],
    to_train_on: int,
    fingerprint: str,
    notes: tuple[str, ...] = (),
    streamed: bool = False,
) -> Dataset:
    """Facts about one's own images, without a loader.

    Args:
        address: says what the user wishes.
        class_names, channels, fingerprint, notes, streamed: see `Dataset`.
        size: height and width.
        measured, measured_on: mean and deviation of each channel, and the images they were measured on, in words.
        counts: numbers of training and test images.
        to_train_on: number of training images that are not held out.

    Raises:
        DataError: all values of a channel are the same.
    """
    mean, std = measured
    if min(std) == 0:
        raise DataError(f"the training images of {address} must differ in each channel, but one has a single value")
    (height, width), (train, test) = size, counts
    crop, flip = address.options.crop, address.options.flip
    return Dataset(
        name=str(address),
        channels=channels,
        height=height,
        width=width,
        classes=len(class_names),
        mean=mean,
        std=std,
        normalisation=f"mean and standard deviation of each channel, measured on {measured_on}",
        crop_padding=usual_padding(height, width) if crop is None else crop,
        flip=bool(flip),
        val_fraction=address.options.val or VAL_FRACTION,
        source=f"{train:,} training and {test:,} test images of {len(class_names)} classes, SHA-256 {fingerprint[:16]}",
        licence="not stated",
        class_names=class_names,
        fingerprint=fingerprint,
        most_train_images=to_train_on,
        notes=notes,
        streamed=streamed,
    )


def usual_padding(height: int, width: int) -> int:
    """Zero padding before the random crop where nothing says another: an eighth of the shorter side, in pixels."""
    return round(min(height, width) / 8)


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


def check_classes(address: Address, names: tuple[str, ...]) -> None:
    """Raise a DataError unless there are two classes."""
    if len(names) < 2:
        found = f"one ({names[0]})" if names else "none"
        raise DataError(f"{address} must have at least two classes, but has {found}; add images of another class")


def check_shares(address: Address, parts: Mapping[str, object]) -> None:
    """Raise a DataError where the address gives a share for a part that the source has."""
    for part in ("val", "test"):
        if part in parts and getattr(address.options, part) is not None:
            raise DataError(
                f"a share for {part} is for images without that part, but {address} has one of its own; remove {part}="
            )


def parted(
    address: Address, parts: Mapping[str, tuple[Hashed, Labels]], *, classes: int
) -> tuple[tuple[Hashed, Labels], tuple[Hashed, Labels], npt.NDArray[np.int64] | None]:
    """Training images, test images, and which training images the source holds out; by pixels or by keys."""
    images, labels = parts["train"]
    if "test" in parts:
        test = parts["test"]
    else:
        chosen = np.zeros(len(labels), dtype=np.bool_)
        for members in hashed_order(images, labels, classes=classes, purpose="test"):
            chosen[held_out_first(members, address.options.test or TEST_FRACTION)[0]] = True
        test = images[chosen], labels[chosen]
        images, labels = images[~chosen], labels[~chosen]
    held_out = None
    if "val" in parts:
        more, theirs = parts["val"]
        held_out = np.arange(len(images), len(images) + len(more))
        images, labels = np.concatenate([images, more]), np.concatenate([labels, theirs])
    return (images, labels), test, held_out


def check_counts(address: Address, names: tuple[str, ...], parts: Mapping[str, Labels]) -> None:
    """Raise a DataError unless each class has an image to train on, one to validate on and one to test on."""
    for part, labels in parts.items():
        counts = np.bincount(labels, minlength=len(names))
        if not counts.all():
            name = names[int(counts.argmin())]
            total = sum(int((of == int(counts.argmin())).sum()) for of in parts.values())
            raise DataError(
                f"each class of {address} must have images for training, validation and test, but {name} has none for "
                f"{_WORDS[part]} (and {total} in all); add images of it or remove the class"
            )


_WORDS = {"train": "training", "val": "validation", "test": "the test"}


def skipped_notes(skipped: Sequence[str], one: str, more: str) -> tuple[str, ...]:
    """A note that names files which were skipped; none where there are none.

    Args:
        skipped: the files.
        one, more: what is said of one file and of several, after their number.
    """
    if not skipped:
        return ()
    listed = ", ".join(skipped[:MAX_LISTED]) + (", ..." if len(skipped) > MAX_LISTED else "")
    return (f"1 file {one}: {listed}" if len(skipped) == 1 else f"{len(skipped):,} files {more}: {listed}",)


UNREADABLE_NOTE = "cannot be read, and trainings leave"


def unreadable_notes(sample: MeasuredSample) -> tuple[str, ...]:
    """A note on the images of a sample that cannot be read; none where all can."""
    lines = tuple(sample.unreadable.values())
    return skipped_notes(lines, f"{UNREADABLE_NOTE} it out", f"{UNREADABLE_NOTE} them out")


def shown(path: Path, base: Path) -> str:
    """A path within `base` as one line of printable text, for messages and records."""
    return legible(os.fsencode(path.relative_to(base).as_posix()).decode("utf-8", errors="replace"))
