"""Pack of decoded, resized images: one file that is mapped into memory; `rksearch.data.packing` writes it. No torch.

Layout of a file, all numbers little-endian
-------------------------------------------
magic     9 bytes, `rkpack 1` and a line feed
pixels    of all training images, then of all test images: uint8, (H, W, C) in C order, one after another
index     arrays, see `INDEX`, and `held_out` (int64) where the data set itself holds images out
header    JSON in UTF-8: `version`; `facts` of the data set; `side`; `skipped` files; and `parts`, which gives offset,
          length in bytes and SHA-256 of the pixels of each part (`train.pixels`, `test.pixels`) and of each array
trailer   48 bytes: length of the header (uint64), its SHA-256 (32 bytes), `rkpack 1`

A file is as it was written if trailer, header and index agree, which is checked whenever it is opened; each image has a
CRC-32, which is checked whenever it is read; `verify` compares the SHA-256 of all pixels.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from rksearch.data.address import Address
from rksearch.data.collected import skipped_notes, usual_padding
from rksearch.data.dataset import Dataset
from rksearch.data.order import Labels
from rksearch.data.pictures import Picture, Stored
from rksearch.errors import DataError, in_one_line, unreadable
from rksearch.ordinary import no_file

MAGIC = b"rkpack 1\n"
END = b"rkpack 1"
VERSION = 1
TRAILER = struct.Struct("<Q32s8s")

INDEX = {
    "offsets": "<u8",  # of the first byte of each image, from the start of the file
    "heights": "<u4",
    "widths": "<u4",
    "labels": "<i8",
    "crcs": "<u4",
    "key_ends": "<u8",  # end of each key in `keys`
    "keys": "|u1",
}
"""Arrays of each part, `train.offsets` and so on, and their types."""

PIXELS = ("train.pixels", "test.pixels")
"""Parts that hold the pixels, which are read when they are needed."""

LARGEST_HEADER_BYTES = 2**28
"""Largest header that is read."""

ODD = (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError)
"""Errors that a header gives which is whole, and was written by something else."""


@dataclass(frozen=True, kw_only=True)
class PackedPictures:
    """Images of one part of a pack, read through a memory map.

    Attributes:
        path: the file.
        part: `train` or `test`.
        channels: of each image.
        index: the arrays of the part, by name.
    """

    path: Path
    part: str
    channels: int
    index: dict[str, npt.NDArray[Any]] = field(repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.index["labels"])

    def __reduce__(self) -> tuple[Callable[..., PackedPictures], tuple[Path, str]]:
        # Another process maps the file itself.
        return _reopened, (self.path, self.part)

    @property
    def labels(self) -> Labels:
        """int64 labels (N,)."""
        return self.index["labels"].astype(np.int64)

    @cached_property
    def keys(self) -> Sequence[bytes]:
        """Keys of the images, as the data set that was packed had them."""
        text, ends = self.index["keys"].tobytes(), self.index["key_ends"].tolist()
        return tuple(text[start:end] for start, end in zip([0, *ends], ends, strict=False))

    @cached_property
    def _map(self) -> npt.NDArray[np.uint8]:
        return np.memmap(self.path, dtype=np.uint8, mode="r")

    def read(self, place: int) -> Picture:
        """Pixels (H, W, C) of the image at `place`, which cannot be written to.

        Raises:
            DataError: they are damaged, or cannot be read now.
        """
        shape = (int(self.index["heights"][place]), int(self.index["widths"][place]), self.channels)
        start = int(self.index["offsets"][place])
        try:
            pixels = self._map[start : start + shape[0] * shape[1] * shape[2]]
        except (OSError, MemoryError) as error:
            raise unreadable("a pack", self.path, error) from error
        if zlib.crc32(pixels.data) != int(self.index["crcs"][place]):
            raise _damaged(self.path, f"the checksum of image {place} of {self.part} differs")
        return np.asarray(pixels).reshape(shape)


def _reopened(path: Path, part: str) -> PackedPictures:
    images = open_pack(path).images
    found = images.train if part == "train" else images.test
    assert isinstance(found, PackedPictures)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """A pack that was opened.

    Attributes:
        path: the file.
        facts: of the data set that was packed.
        side: shorter side of the images.
        parts: place and checksum of each part, by name.
        fingerprint: SHA-256 of the header, which holds the checksums of all else.
        images: the images.
        skipped: files that could not be read when it was written.
    """

    path: Path
    facts: Dataset
    side: int
    parts: dict[str, dict[str, Any]]
    fingerprint: str
    images: Stored
    skipped: tuple[str, ...]

    def facts_at(self, address: Address) -> Dataset:
        """Facts about the data set at an address of kind `pack`, without a loader.

        Raises:
            DataError: the padding is not less than the shorter side.
        """
        height, width = address.options.size or (self.facts.height, self.facts.width)
        crop = address.options.crop
        notes = skipped_notes(self.skipped, "was skipped when it was packed", "were skipped when it was packed")
        return replace(
            self.facts,
            name=str(address),
            height=height,
            width=width,
            crop_padding=self._padding(height, width) if crop is None else crop,
            source=f"{self.facts.source}; packed, shorter side {self.side} at most",
            fingerprint=self.fingerprint,
            notes=(*self.facts.notes, *notes),
            streamed=True,
            load=None,
        )

    def _padding(self, height: int, width: int) -> int:
        """Zero padding at this size: the usual one if what was packed had that, else its share of the side."""
        packed = self.facts
        if packed.crop_padding == usual_padding(packed.height, packed.width):
            return usual_padding(height, width)
        side = min(height, width)
        # Rounded, a large share of a small side may be the whole side, of which crops could hold nothing.
        return min(side - 1, round(packed.crop_padding * side / min(packed.height, packed.width)))

    def verify(self) -> None:
        """Compare the SHA-256 of all pixels; everything else was compared when it was opened.

        Raises:
            DataError: they differ, or cannot be read now.
        """
        try:
            with self.path.open("rb") as file:
                for name in PIXELS:
                    part = self.parts[name]
                    file.seek(part["offset"])
                    digest, left = hashlib.sha256(), int(part["bytes"])
                    while left and (chunk := file.read(min(left, 2**24))):
                        digest.update(chunk)
                        left -= len(chunk)
                    if digest.hexdigest() != part["sha256"]:
                        raise _damaged(self.path, f"the SHA-256 of {name} differs")
        except (OSError, MemoryError) as error:
            raise unreadable("a pack", self.path, error) from error


def open_pack(path: Path) -> Pack:
    """A pack, whose header and index are checked.

    Raises:
        DataError: there is no such file, it cannot be read now, or it is no pack, cut or damaged.
    """
    if not os.path.isfile(path):
        raise DataError(f"a pack must be a file, but {path} {no_file(path)}; correct the path")
    state = path.stat()
    return _opened_pack(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=2)
def _opened_pack(path: Path, size: int, mtime_ns: int) -> Pack:
    try:
        with path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise DataError(f"a pack begins with {END.decode()!r}, but {path} does not; name a file by `data pack`")
            header, fingerprint = _header(path, file, size)
            parts = {name: _checked_part(name, part, size) for name, part in header["parts"].items()}
            if missing := set(PIXELS) - parts.keys():
                raise ValueError(f"it has no {min(missing)}")
            arrays = {name: _array(path, file, name, part) for name, part in parts.items() if name not in PIXELS}
        try:
            facts = Dataset.from_facts(header["facts"])
        except DataError as error:
            raise ValueError(str(error)) from None
        train, test = (
            PackedPictures(path=path, part=part, channels=facts.channels, index=_index(part, arrays))
            for part in ("train", "test")
        )
        return Pack(
            path=path,
            facts=facts,
            side=int(header["side"]),
            parts=parts,
            fingerprint=fingerprint,
            images=Stored(train=train, test=test, held_out=arrays.get("held_out")),
            skipped=tuple(map(str, header["skipped"])),
        )
    except (OSError, MemoryError) as error:
        raise unreadable("a pack", path, error) from error
    except ODD as error:
        raise _damaged(path, in_one_line(error)) from error


def _header(path: Path, file: BinaryIO, size: int) -> tuple[dict[str, Any], str]:
    """Header and its SHA-256."""
    if size < len(MAGIC) + TRAILER.size:
        raise _damaged(path, "it is cut off")
    file.seek(size - TRAILER.size)
    length, digest, end = TRAILER.unpack(file.read(TRAILER.size))
    if end != END or length > min(LARGEST_HEADER_BYTES, size - TRAILER.size - len(MAGIC)):
        raise _damaged(path, "its end is missing")
    file.seek(size - TRAILER.size - length)
    text = file.read(length)
    if hashlib.sha256(text).digest() != digest:
        raise _damaged(path, "the checksum of its header differs")
    header: dict[str, Any] = json.loads(text)
    if header["version"] != VERSION:
        raise DataError(
            f"{path} is a pack of version {header['version']}, but this rksearch reads {VERSION}; update it"
        )
    return header, hashlib.sha256(text).hexdigest()


def _checked_part(name: str, part: dict[str, Any], size: int) -> dict[str, Any]:
    """Place and checksum of a part, which lies within a file of `size` bytes; a ValueError where it does not."""
    start, length = int(part["offset"]), int(part["bytes"])
    if not 0 <= start <= start + length <= size:
        raise ValueError(f"{name} does not lie within the file")
    return {"offset": start, "bytes": length, "sha256": str(part["sha256"])}


def _array(path: Path, file: BinaryIO, name: str, part: dict[str, Any]) -> npt.NDArray[Any]:
    file.seek(part["offset"])
    content = file.read(part["bytes"])
    if hashlib.sha256(content).hexdigest() != part["sha256"]:
        raise _damaged(path, f"the SHA-256 of {name} differs")
    return np.frombuffer(content, dtype=INDEX.get(name.partition(".")[2], "<i8"))


def _index(part: str, arrays: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """Arrays of a part by their names in `INDEX`; a ValueError where they are of unequal numbers of images."""
    index = {name: arrays[f"{part}.{name}"] for name in INDEX}
    if len({len(array) for name, array in index.items() if name != "keys"}) != 1:
        raise ValueError(f"the arrays of {part} differ in length")
    return index


def _damaged(path: Path, why: str) -> DataError:
    return DataError(f"a pack must be as it was written, but {path} is damaged ({why}); pack the images again")
