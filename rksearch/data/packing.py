"""Writing of packs, in the layout of `rksearch.data.pack`. No torch."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image

from rksearch.data.address import PACKED_SIDE
from rksearch.data.collected import UNREADABLE_NOTE
from rksearch.data.dataset import Dataset
from rksearch.data.pack import END, INDEX, MAGIC, TRAILER, VERSION
from rksearch.data.pictures import Picture, PictureSource, Stored, UnreadablePicture, read_to_cover, shown_key
from rksearch.errors import DataError, PackError, unwritable
from rksearch.ordinary import force, unfinished

_AT_ONCE = 64
"""Images that each thread may have decoded before they are written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """What was written.

    Attributes:
        path: the file.
        images: number of images.
        file_bytes: size of the file.
        skipped: files that could not be read, with the reason.
    """

    path: Path
    images: int
    file_bytes: int
    skipped: tuple[str, ...]


def write_pack(
    dataset: Dataset,
    images: Stored,
    path: Path,
    *,
    side: int = PACKED_SIDE,
    threads: int = 1,
    on_image: Callable[[], None] = lambda: None,
) -> Packed:
    """Write all images of a data set to a file; images that cannot be read are left out and listed in it.

    An image whose shorter side is larger than `side` is resized (bilinear, antialiased); smaller ones stay as they are.
    The file appears when it is whole: nothing is left behind when writing fails.

    Args:
        dataset: facts about the data set.
        images: its images.
        path: the file, which is replaced where it exists; of a link, the file that it leads to.
        side: shorter side in pixels.
        threads: threads that decode.
        on_image: called after each image.

    Raises:
        PackError: the file cannot be written.
        DataError: an image has another number of channels than the data set, or a part keeps no images.
    """
    whole = Path(os.path.realpath(path))
    writing = unfinished(whole)
    try:
        with writing.open("wb") as file:
            writer = _Writer(file, side, threads, on_image)
            header = writer.write(dataset, images)
            file.flush()
            force(file.fileno())
        os.replace(writing, whole)
    except OSError as error:
        refused = PackError(
            f"the pack must be written to {path}, but that failed ({error.strerror or error}); make room or choose "
            "another place"
        )
        raise unwritable(refused, error) from error
    finally:
        with contextlib.suppress(OSError):  # it has its name
            os.unlink(writing)
    return Packed(path=path, images=writer.images, file_bytes=path.stat().st_size, skipped=tuple(header["skipped"]))


class _Writer:
    """Writes the parts of a pack one after another."""

    def __init__(self, file: BinaryIO, side: int, threads: int, on_image: Callable[[], None]) -> None:
        self._file, self._side, self._threads, self._on_image = file, side, threads, on_image
        self._parts: dict[str, dict[str, Any]] = {}
        self._skipped: list[str] = []
        self.images = 0

    def write(self, dataset: Dataset, images: Stored) -> dict[str, Any]:
        """Write everything; returns the header."""
        self._file.write(MAGIC)
        index = {part: self._pixels(dataset, part, pictures) for part, pictures in
                 (("train", images.train), ("test", images.test))}  # fmt: skip
        for part, (arrays, _) in index.items():
            for name, kind in INDEX.items():
                self._add(f"{part}.{name}", arrays[name].astype(kind).tobytes())
        if images.held_out is not None:
            kept = index["train"][1]
            self._add("held_out", np.flatnonzero(np.isin(kept, images.held_out)).astype("<i8").tobytes())
        # What could not be read is not in the pack, whose own note lists it.
        notes = tuple(note for note in dataset.notes if UNREADABLE_NOTE not in note)
        header = {
            "version": VERSION,
            "facts": replace(dataset, notes=notes).facts(),
            "side": self._side,
            "skipped": self._skipped,
            "parts": self._parts,
        }
        text = json.dumps(header).encode()
        self._file.write(text)
        self._file.write(TRAILER.pack(len(text), hashlib.sha256(text).digest(), END))
        return header

    def _add(self, name: str, content: bytes) -> None:
        self._parts[name] = {
            "offset": self._file.tell(),
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        self._file.write(content)

    def _pixels(
        self, dataset: Dataset, part: str, pictures: PictureSource
    ) -> tuple[dict[str, npt.NDArray[Any]], npt.NDArray[np.int64]]:
        """Write the pixels of a part; returns its index and the places of the images that were kept."""
        start, digest = self._file.tell(), hashlib.sha256()
        kept: list[int] = []
        rows: list[tuple[int, int, int, int]] = []
        for place, found in self._decoded(pictures, (dataset.height, dataset.width)):
            self._on_image()
            if isinstance(found, UnreadablePicture):
                self._skipped.append(found.line)
                continue
            height, width, channels = found.shape
            if channels != dataset.channels:
                raise DataError(
                    f"images of {dataset.name} must have {dataset.channels} channels, but "
                    f"{shown_key(pictures.keys[place])} has {channels}; convert or remove it"
                )
            content = found.tobytes()
            rows.append((self._file.tell(), height, width, zlib.crc32(content)))
            kept.append(place)
            digest.update(content)
            self._file.write(content)
        if not kept:
            raise DataError(
                f"a pack needs images that can be read, but {part} of {dataset.name} has none; see its files"
            )
        self._parts[f"{part}.pixels"] = {
            "offset": start,
            "bytes": self._file.tell() - start,
            "sha256": digest.hexdigest(),
        }
        self.images += len(kept)
        offsets, heights, widths, crcs = (np.array(column, dtype=np.uint64) for column in zip(*rows, strict=True))
        keys = [pictures.keys[place] for place in kept]
        places = np.array(kept, dtype=np.int64)
        arrays: dict[str, npt.NDArray[Any]] = {
            "offsets": offsets,
            "heights": heights,
            "widths": widths,
            "labels": pictures.labels[places],
            "crcs": crcs,
            "key_ends": np.cumsum([len(key) for key in keys]),
            "keys": np.frombuffer(b"".join(keys), dtype=np.uint8),
        }
        return arrays, places

    def _decoded(
        self, pictures: PictureSource, size: tuple[int, int]
    ) -> Iterator[tuple[int, Picture | UnreadablePicture]]:
        """Images that can be resized to `size`, in their order, decoded by threads a few ahead of what is written."""

        def one(place: int) -> Picture | UnreadablePicture:
            try:
                return _shrunk(read_to_cover(pictures, place, size), self._side)
            except UnreadablePicture as error:
                return error

        with ThreadPoolExecutor(self._threads) as pool:
            step = _AT_ONCE * self._threads
            for first in range(0, len(pictures), step):
                places = range(first, min(first + step, len(pictures)))
                yield from zip(places, pool.map(one, places), strict=True)


def _shrunk(picture: Picture, side: int) -> Picture:
    """An image whose shorter side is at most `side`."""
    height, width, channels = picture.shape
    if min(height, width) <= side:
        return picture
    scale = side / min(height, width)
    whole = (max(side, round(width * scale)), max(side, round(height * scale)))
    image = Image.fromarray(picture[..., 0] if channels == 1 else picture)
    pixels = np.asarray(image.resize(whole, Image.Resampling.BILINEAR))
    return pixels if pixels.ndim == 3 else pixels[..., None]
