"""Images in an `.npz` file: arrays of pixels and labels under the usual names; no torch.

`x` and `y`; `x_train`, `y_train`, `x_test`, `y_test` and perhaps `x_val`, `y_val` (as Keras has them); `train_images`,
`train_labels`, `val_images`, ... (MedMNIST). Nothing is unpickled.
"""

from __future__ import annotations

import errno
import hashlib
import lzma
import math
import os
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from rksearch.data.address import Address
from rksearch.data.collected import PARTS, Collected
from rksearch.data.decoding import covering, resized
from rksearch.data.folder import require_memory
from rksearch.data.order import Labels, Pixels
from rksearch.errors import DataError, unreadable
from rksearch.ordinary import legible, no_file

LAYOUTS: tuple[dict[str, tuple[str, str]], ...] = (
    {"train": ("x", "y")},
    {part: (f"x_{part}", f"y_{part}") for part in PARTS},
    {part: (f"{part}_images", f"{part}_labels") for part in PARTS},
)
"""Names of the arrays of each part, one dictionary for each convention; `train` must be there."""

UNREADABLE = (
    OSError,
    ValueError,
    EOFError,
    KeyError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    OverflowError,
    RuntimeError,  # encrypted; NotImplementedError of other forms, RecursionError of a header
)
"""Errors of numpy and zipfile for files that are damaged or hold other things."""


def signature(path: Path) -> str:
    """Size and time of the file; empty where there is none."""
    try:
        state = path.stat()
    except OSError:
        return ""
    return f"{state.st_size} {state.st_mtime_ns}"


def collect(address: Address, path: Path) -> Collected:
    """All images of a file.

    Raises:
        DataError: it is missing or damaged or cannot be read now, or its arrays are not as they must be.
    """
    arrays = _arrays(address, path)
    layout = _layout(address, arrays)
    digest = hashlib.sha256()
    for keys in layout.values():
        for key in keys:
            array = arrays[key]
            digest.update(f"{key} {array.dtype.str} {array.shape} ".encode() + np.ascontiguousarray(array).tobytes())
    pairs = {part: (arrays[x], arrays[y]) for part, (x, y) in layout.items()}
    values = np.unique(_labels(address, layout["train"][1], pairs["train"][1]))
    return Collected(
        parts={part: _part(address, layout[part], images, labels, values) for part, (images, labels) in pairs.items()},
        class_names=tuple(legible(str(value)) for value in values.tolist()),
        fingerprint=digest.hexdigest(),
    )


def _arrays(address: Address, path: Path) -> dict[str, npt.NDArray[Any]]:
    if not os.path.isfile(path):
        folder = f"name a file in it, or images in folders as folder:{address.place}"
        remedy = folder if os.path.isdir(path) else "correct the path"
        raise DataError(f"{address} needs a file at {path}, which {no_file(path)}; {remedy}")
    try:
        wanted = {key for layout in LAYOUTS for keys in layout.values() for key in keys}
        with zipfile.ZipFile(path) as archive:
            items = [item for item in archive.infolist() if item.filename.removesuffix(".npy") in wanted]
            _check_memory(address, path, items)
            _check_headers(archive, items)
        with np.load(path, allow_pickle=False) as file:
            found = {key: file[key] if key in wanted else None for key in file.files}
    except MemoryError as error:
        raise unreadable("a file of arrays", path, error) from error
    except UNREADABLE as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # a damaged file's offset is invalid
            raise unreadable("a file of arrays", path, error) from error
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"{address} must be a file that numpy.savez has written, without pickled objects, but {path} is not "
            f"({reason}); write it again"
        ) from error
    if not any(value is not None for value in found.values()):
        raise _without(address, list(found))
    return {key: value for key, value in found.items() if value is not None}


def _check_memory(address: Address, path: Path, items: list[zipfile.ZipInfo]) -> None:
    """Make sure that the arrays fit in half of the memory: compressed, gigabytes of zeros take some kilobytes.

    Raises:
        DataError: they do not.
    """
    needed = sum(item.file_size for item in items)
    require_memory(
        f"the arrays of {address}",
        needed,
        f"{path} holds {needed / 1e9:.1f} GB",
        "write the images as files, and use folder:PATH,size=N,stream=yes",
    )


def _check_headers(archive: zipfile.ZipFile, items: list[zipfile.ZipInfo]) -> None:
    """Make sure that no header claims more than the file holds: numpy asks for the memory before it reads.

    Raises:
        ValueError: one does, or something else than an array is there.
    """
    for item in items:
        with archive.open(item.filename) as file:
            version = npy.read_magic(file)
            shape, _, dtype = (npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0)(file)
        if not dtype.hasobject and (claimed := math.prod(shape) * dtype.itemsize) > item.file_size:
            raise ValueError(f"{item.filename} claims {claimed:,} bytes, but has {item.file_size:,}")


def _layout(address: Address, arrays: dict[str, npt.NDArray[Any]]) -> dict[str, tuple[str, str]]:
    """The names of the arrays of each part that is there."""
    for layout in LAYOUTS:
        x, y = layout["train"]
        if x in arrays and y in arrays:
            found = {part: keys for part, keys in layout.items() if set(keys) & arrays.keys()}
            for keys in found.values():
                for key in keys:
                    if key not in arrays:
                        raise DataError(
                            f"images and labels come in pairs, but {address} has no array {key}; add it or remove "
                            f"{keys[0] if key == keys[1] else keys[1]}"
                        )
            return found
    raise _without(address, list(arrays))


def _without(address: Address, found: list[str]) -> DataError:
    return DataError(
        f"{address} must have the arrays x and y, x_train and y_train, or train_images and train_labels, but has "
        f"{', '.join(found) or 'none'}; name them so, as in numpy.savez(path, x=images, y=labels)"
    )


def _part(
    address: Address,
    keys: tuple[str, str],
    images: npt.NDArray[Any],
    labels: npt.NDArray[Any],
    values: npt.NDArray[Any],
) -> tuple[Pixels, Labels]:
    """Images (N, C, H, W) and labels, as places among the sorted `values`."""
    pixels = _pixels(address, keys[0], images)
    flat = _labels(address, keys[1], labels)
    # numpy would compare 10 with "10", and find its place in the order of words.
    if (flat.dtype.kind == "U") != (values.dtype.kind == "U"):
        raise DataError(
            f"labels of {address} must be whole numbers in every array, or words in every one, but those of {keys[1]} "
            f"are of type {flat.dtype}, and those of the training images of type {values.dtype}; correct the arrays"
        )
    if len(pixels) != len(flat):
        raise DataError(
            f"{keys[0]} and {keys[1]} of {address} must be equally many, but got {len(pixels):,} images and "
            f"{len(flat):,} labels; correct the arrays"
        )
    known = np.isin(flat, values)
    if not known.all():
        raise DataError(
            f"all labels of {address} must occur among its training images, but {keys[1]} has "
            f"{legible(str(flat[~known][0]))}; "
            "add images of that class or remove it"
        )
    if address.options.size is not None:
        pixels = _resized(address, keys[0], pixels, address.options.size)
    return pixels, np.searchsorted(values, flat).astype(np.int64)


def _pixels(address: Address, key: str, array: npt.NDArray[Any]) -> Pixels:
    """Images (N, C, H, W) of an array (N, H, W), (N, H, W, C) or (N, C, H, W) with one or three channels."""
    whole = array.dtype.kind in "ui"
    if not whole or (array.size and not 0 <= int(array.min()) <= int(array.max()) <= 255):
        found = f"values of type {array.dtype}" + (f" up to {array.max()}" if whole and array.size else "")
        raise DataError(
            f"{key} of {address} must be whole numbers from 0 to 255, but got {found}; "
            "convert it, as in (255 * x).round().astype('uint8') for values from 0 to 1"
        )
    if array.ndim == 3:
        array = array[:, None]
    elif array.ndim == 4 and array.shape[3] in (1, 3):
        array = array.transpose(0, 3, 1, 2)
    elif array.ndim != 4 or array.shape[1] not in (1, 3):
        raise DataError(
            f"{key} of {address} must have the shape (N, H, W), (N, H, W, C) or (N, C, H, W) with C 1 or 3, "
            f"but got {array.shape}; correct the array"
        )
    if not array.size:
        raise DataError(f"{key} of {address} must hold images, but its shape is {array.shape}; correct the array")
    return np.ascontiguousarray(array, dtype=np.uint8)


def _labels(address: Address, key: str, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Labels (N,) of an array (N,) or (N, 1)."""
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 or array.dtype.kind not in "uibU":
        raise DataError(
            f"{key} of {address} must be one label for each image, a whole number or a word, but got an array of shape "
            f"{array.shape} and type {array.dtype}; correct the array (several labels for an image are not supported)"
        )
    if array.dtype.kind == "u" and array.size and int(array.max()) <= np.iinfo(np.int64).max:
        return array.astype(np.int64)  # of both kinds numpy would make floats, in which large labels are one
    return array


def _resized(address: Address, key: str, pixels: Pixels, size: tuple[int, int]) -> Pixels:
    from PIL import Image

    try:
        covering((pixels.shape[2], pixels.shape[3]), size)
    except ValueError as error:
        raise DataError(
            f"images of {address} must have a form that can be resized, but those of {key} do not ({error}); correct "
            "the array or the size"
        ) from None
    needed = pixels.shape[0] * pixels.shape[1] * size[0] * size[1]
    require_memory(
        f"the images of {address}",
        needed,
        f"those of {key} need {needed / 1e9:.1f} GB at size {size[0]} x {size[1]}",
        "choose a smaller size",
    )
    found = np.empty((*pixels.shape[:2], *size), dtype=np.uint8)
    for i, image in enumerate(pixels):
        for channel, values in enumerate(image):
            found[i, channel] = np.asarray(resized(Image.fromarray(values), size))
    return found
