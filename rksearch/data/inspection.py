"""Inspection of a data set: counts, measured normalisation, duplicates between its parts, and a contact sheet."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from rksearch.data.collected import measured, unreadable_notes
from rksearch.data.dataset import Dataset, Images
from rksearch.data.decoding import resized
from rksearch.data.images import Split
from rksearch.data.order import Labels, Pixels
from rksearch.data.pictures import PictureSource, Stored, UnreadablePicture, measured_sample, read_to_cover, sample_of
from rksearch.errors import DataError

HASH_SIDE = 8
"""A perceptual hash has one bit for each cell of a grid of this side."""

PER_CLASS = 10
"""Images of each class on a contact sheet."""

MAX_CLASSES = 50
"""Classes on a contact sheet; those after are left out."""

PAIRS = (("train", "val"), ("train", "test"), ("val", "test"))
"""Parts that should share no image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicates:
    """Images of a later part that an earlier part also has.

    Attributes:
        exact: number of those with equal pixels.
        near: number of the others whose average hash differs in one bit at most.
    """

    exact: int
    near: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """Measured facts about a data set.

    Attributes:
        counts: numbers of images of each class, by part: `train`, `val`, `test`.
        mean, std: of each channel over the images to train on, or a sample of them, on the 0..255 scale.
        split: SHA-256 of the split's indices, in hex.
        duplicates: by pair of parts, such as `train, test`; empty where images are streamed, which are not all read.
        sample: number of images that were measured; None for all.
        notes: on images that cannot be read.
    """

    counts: Mapping[str, tuple[int, ...]]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    split: str
    duplicates: Mapping[str, Duplicates]
    sample: int | None = None
    notes: tuple[str, ...] = ()


def inspect(dataset: Dataset, images: Images | Stored, parts: Split) -> Inspection:
    """Count and measure the parts of a data set; of streamed images a sample is measured.

    Raises:
        DataError: no image of the sample can be read.
    """
    if isinstance(images, Stored):
        return _inspect_streamed(dataset, images, parts)
    pixels = _parts(images, parts)
    mean, std = measured(images.train_images.numpy(), parts.train.tolist())
    hashes = {part: average_hashes(found) for part, (found, _) in pixels.items()}
    contents = {
        part: [hashlib.sha256(image.tobytes()).digest() for image in found] for part, (found, _) in pixels.items()
    }
    return Inspection(
        counts={
            part: tuple(np.bincount(labels, minlength=dataset.classes).tolist()) for part, (_, labels) in pixels.items()
        },
        mean=mean,
        std=std,
        split=parts.digest,
        duplicates={f"{a}, {b}": _duplicates((contents[a], hashes[a]), (contents[b], hashes[b])) for a, b in PAIRS},
    )


def _inspect_streamed(dataset: Dataset, images: Stored, parts: Split) -> Inspection:
    labels = images.train.labels
    sample = sample_of(images.train, parts.train.numpy(), dataset.classes)
    found = measured_sample(images.train, sample, (dataset.height, dataset.width))
    of_parts = {
        "train": labels[parts.train.numpy()],
        "val": labels[parts.val.numpy()],
        "test": images.test.labels,
    }
    return Inspection(
        counts={part: tuple(np.bincount(of, minlength=dataset.classes).tolist()) for part, of in of_parts.items()},
        mean=found.mean,
        std=found.std,
        split=parts.digest,
        duplicates={},
        sample=found.images,
        notes=unreadable_notes(found),
    )


def average_hashes(images: Pixels) -> npt.NDArray[np.uint64]:
    """Average hash of each image (N, C, H, W): 64 bits, one for each cell of an 8 x 8 grid brighter than the mean.

    An image keeps its hash when its brightness or contrast changes a little, or when it is resized.
    """
    found = np.empty(len(images), dtype=np.uint64)
    for i, image in enumerate(images):
        gray = Image.fromarray(np.rint(image.mean(axis=0)).astype(np.uint8))
        cells = np.asarray(gray.resize((HASH_SIDE, HASH_SIDE), Image.Resampling.BOX), dtype=np.float64)
        found[i] = np.packbits(cells > cells.mean()).view(">u8")[0]
    return found


def _parts(images: Images, parts: Split) -> dict[str, tuple[Pixels, Labels]]:
    train, labels = images.train_images.numpy(), images.train_labels.numpy()
    return {
        "train": (train[parts.train.numpy()], labels[parts.train.numpy()]),
        "val": (train[parts.val.numpy()], labels[parts.val.numpy()]),
        "test": (images.test_images.numpy(), images.test_labels.numpy()),
    }


def _duplicates(
    earlier: tuple[list[bytes], npt.NDArray[np.uint64]], later: tuple[list[bytes], npt.NDArray[np.uint64]]
) -> Duplicates:
    contents, hashes = set(earlier[0]), set(earlier[1].tolist())
    exact = [content in contents for content in later[0]]
    near = 0
    for same, value in zip(exact, later[1].tolist(), strict=True):
        near += not same and (value in hashes or any(value ^ (1 << bit) in hashes for bit in range(HASH_SIDE**2)))
    return Duplicates(exact=sum(exact), near=near)


SHEET_MARK = b"tEXtSoftware\0rksearch"
"""Bytes near the beginning of each contact sheet: a chunk of text that says what wrote it."""


def contact_sheet(dataset: Dataset, images: Images | Stored) -> bytes:
    """A PNG file with one row for each class: its first training images that can be read, side by side.

    Raises:
        DataError: the images have gone, or are neither gray nor coloured.
    """
    channels, height, width = dataset.channels, dataset.height, dataset.width
    if channels not in (1, 3):
        raise DataError(
            f"a contact sheet shows images with 1 or 3 channels, but those of {dataset.name} have {channels}; "
            "leave out --contact-sheet"
        )
    labels = images.train.labels if isinstance(images, Stored) else images.train_labels.numpy()
    rows = min(dataset.classes, MAX_CLASSES)
    sheet = np.full((rows * (height + 1) - 1, PER_CLASS * (width + 1) - 1, channels), 255, dtype=np.uint8)
    for row in range(rows):
        places = np.flatnonzero(labels == row).tolist()
        if isinstance(images, Stored):
            found = _readable(images.train, places, (height, width))
        else:
            found = (images.train_images[place].numpy().transpose(1, 2, 0) for place in places)
        for column, pixels in enumerate(islice(found, PER_CLASS)):
            y, x = row * (height + 1), column * (width + 1)
            sheet[y : y + height, x : x + width] = pixels
    about = PngInfo()
    about.add_text("Software", "rksearch")
    content = io.BytesIO()
    Image.fromarray(sheet[..., 0] if channels == 1 else sheet).save(content, format="PNG", pnginfo=about)
    return content.getvalue()


def _readable(pictures: PictureSource, places: list[int], size: tuple[int, int]) -> Iterator[npt.NDArray[np.uint8]]:
    """Those of the pictures at `places` that can be read, at `size`."""
    for place in places:
        with suppress(UnreadablePicture):
            yield _at_size(pictures, place, size)


def _at_size(pictures: PictureSource, place: int, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """A picture (H, W, C), resized and cropped to `size`."""
    picture = read_to_cover(pictures, place, size)
    image = Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture)
    pixels = np.asarray(resized(image, size))
    return pixels if pixels.ndim == 3 else pixels[..., None]
