"""A folder of images that are streamed: its facts, from names and a sample, without reading every image; no torch."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from rksearch.data.address import Address
from rksearch.data.collected import (
    VAL_FRACTION,
    check_classes,
    check_counts,
    check_shares,
    own_facts,
    parted,
    shown,
    unreadable_notes,
)
from rksearch.data.dataset import Dataset
from rksearch.data.decoding import ANOTHER_TIME, GRAY, UNREADABLE
from rksearch.data.folder import check_every_class, class_names_of, existing, files, layout_of
from rksearch.data.order import Keys, Labels, split_order
from rksearch.data.pictures import FilePictures, Stored, measured_sample, sample_of, shown_key
from rksearch.errors import unreadable


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamedFolder:
    """A folder as a data set: facts without a loader, and the images."""

    facts: Dataset
    images: Stored


def open_folder(address: Address, root: Path) -> StreamedFolder:
    """The data set of a folder whose images are streamed.

    Which image goes where follows from the SHA-256 of its file's name beneath the folder. Colour, mean and deviation
    are those of a sample of the images to train on, and a note names those of it that cannot be read. The fingerprint
    is of the names and sizes of all files, since to read them all takes hours where there are many.

    Raises:
        DataError: there is no such folder, it holds no images or no classes, or a part lacks a class
            or images of one that can be read, or a file is gone or its disk does not answer.
    """
    assert address.options.size is not None
    homes = layout_of(address, existing(address, root))
    names = class_names_of(address, homes)
    check_classes(address, names)
    check_shares(address, homes)
    digest = hashlib.sha256()
    parts: dict[str, tuple[Keys, Labels]] = {}
    for part, home in homes.items():
        parts[part] = listed(root, home, names)
        check_every_class(address, home, root, names, parts[part][1].tolist())
        for key in parts[part][0]:
            digest.update(key + b"\0" + str(_file_bytes(root, key)).encode() + b"\0")
    train, test, held_out = parted(address, parts, classes=len(names))
    order, val = split_order(
        *train, classes=len(names), val_fraction=address.options.val or VAL_FRACTION, held_out=held_out
    )
    labels = train[1]
    check_counts(address, names, {"train": labels[order], "val": labels[val], "test": test[1]})
    coloured = FilePictures(root=root, keys=tuple(train[0]), labels=labels)
    sample = sample_of(coloured, np.array(sorted(order)), len(names))
    channels = 1 if all(_is_gray(coloured, place) for place in sample) else 3
    pictures = FilePictures(root=root, keys=coloured.keys, labels=labels, channels=channels)
    measured = measured_sample(pictures, sample, address.options.size)
    readable = np.setdiff1d(order, list(measured.unreadable))  # or not known to be unreadable
    check_every_class(address, homes["train"], root, names, labels[readable].tolist())
    facts = own_facts(
        address,
        class_names=tuple(shown(homes["train"] / name, homes["train"]) for name in names),
        channels=channels,
        size=address.options.size,
        measured=(measured.mean, measured.std),
        measured_on=f"{measured.images:,} of the images to train on",
        counts=(len(labels), len(test[1])),
        to_train_on=len(order),
        fingerprint=digest.hexdigest(),
        notes=unreadable_notes(measured),
        streamed=True,
    )
    tested = FilePictures(root=root, keys=tuple(test[0]), labels=test[1], channels=channels)
    return StreamedFolder(facts=facts, images=Stored(train=pictures, test=tested, held_out=held_out))


def listed(root: Path, home: Path, names: tuple[str, ...]) -> tuple[Keys, Labels]:
    """Keys and labels of the images of a part, class by class, in the order of their names.

    Args:
        root: folder beneath which keys are paths.
        home: the part.
        names: folders of the classes, in the order of their labels.

    Raises:
        DataError: a folder cannot be read.
    """
    found = [(path, label) for label, name in enumerate(names) for path in files(home / name)]
    keys = np.empty(len(found), dtype=np.object_)
    keys[:] = [os.fsencode(path.relative_to(root).as_posix()) for path, _ in found]
    return keys, np.array([label for _, label in found], dtype=np.int64)


def _file_bytes(root: Path, key: bytes) -> int:
    """Size of a file."""
    try:
        return os.path.getsize(root / os.fsdecode(key))
    except OSError as error:
        raise unreadable(f"each image of {root}", shown_key(key), error) from error


def _is_gray(pictures: FilePictures, place: int) -> bool:
    """Whether a file holds a gray image, by its header; also true of what never can be read."""
    key = pictures.keys[place]
    try:
        with Image.open(pictures.root / os.fsdecode(key)) as image:
            return image.mode in GRAY
    except UNREADABLE as error:
        if isinstance(error, OSError) and error.errno in ANOTHER_TIME:
            raise unreadable(f"each image of {pictures.root}", shown_key(key), error) from error
        return True
