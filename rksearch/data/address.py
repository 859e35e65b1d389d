"""Names of data sets that say where their images are: `folder:pets,size=32`, `npz:cells.npz`, `torchvision:KMNIST`,
`pack:cells.rkpack`.

The form is `KIND:PLACE,option=value,...`. This module reads and writes such names; it opens no file.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from rksearch.errors import DataError, nearest
from rksearch.ordinary import expanded

KINDS = ("folder", "npz", "pack", "torchvision")
"""What may stand before the colon."""

_NAME = re.compile(rf"({'|'.join(KINDS)}):(.*?)((?:,[a-z]+=[^,]*)*)", flags=re.DOTALL)

MAX_SIDE = 4096
"""Largest side of an image, in pixels."""

PACKED_SIDE = 256
"""Shorter side of the images of a pack where none is given, in pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Wishes about one's own images; None for the default.

    Attributes:
        size: height and width to which each image is resized (shorter side first, then cropped at the centre); None to
            take them as they are.
        val: share of the training images of each class to hold out for validation.
        test: share of the images of each class to set apart as the test set, where the images have none.
        crop: zero padding before the random crop of the augmentation, in pixels.
        flip: whether a mirrored image keeps its label.
        stream: whether the images are read while they are needed; None where they would not fit in memory.
    """

    size: tuple[int, int] | None = None
    val: float | None = None
    test: float | None = None
    crop: int | None = None
    flip: bool | None = None
    stream: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """The parts of a name.

    Attributes:
        kind: one of `KINDS`.
        place: a path as the user wrote it, or the name of a class.
        options: the wishes.
    """

    kind: str
    place: str
    options: Options = Options()

    def __str__(self) -> str:
        found = [(f.name, getattr(self.options, f.name)) for f in fields(Options)]
        return f"{self.kind}:{self.place}" + "".join(f",{key}={_written(v)}" for key, v in found if v is not None)

    def path(self, base: Path) -> Path:
        """The absolute path of the place; a relative one lies beneath `base`.

        Raises:
            DataError: it lies in a home directory that is not known.
        """
        return (base / expanded(self.place, DataError)).absolute()


def is_address(name: str) -> bool:
    """Whether the name says where the images are."""
    return name.partition(":")[0] in KINDS and ":" in name


def read_address(name: str) -> Address:
    """The parts of a name; `str` is the inverse, with the options in a fixed order.

    Raises:
        DataError: it is malformed.
    """
    match = _NAME.fullmatch(name)
    if match is None or not match[2]:
        raise DataError(
            f"a data set of one's own has a name of the form KIND:PLACE, KIND one of {', '.join(KINDS)}, "
            f"but got {name!r}; write it as in folder:pets or npz:cells.npz"
        )
    kind, place, rest = match.groups()
    if not place.isprintable():
        raise DataError(f"a data set's name must be printable, but got {name!r}; rename the file or folder")
    known = {key: _READERS[key] for key in _OPTIONS[kind]}
    options: dict[str, Any] = {}
    for part in rest.split(",")[1:]:
        key, _, value = part.partition("=")
        if key not in known:
            rule = f"the options of a {kind} are {', '.join(known)}" if known else f"{kind} has no options"
            raise DataError(f"{rule}, but got {part!r} in {name!r}; correct or remove it{nearest(key, known)}")
        if key in options:
            raise DataError(f"each option may be given once, but {name!r} has {key} twice; keep one")
        options[key] = known[key](name, key, value)
    return Address(kind=kind, place=place.rstrip("/") or "/", options=Options(**options))


def _size(name: str, key: str, text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9][0-9]{0,3})(?:x([1-9][0-9]{0,3}))?", text)
    found = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 1 <= min(found) <= max(found) <= MAX_SIDE:
        raise _wrong(name, key, f"one or two numbers of pixels up to {MAX_SIDE}", text, "size=32 or size=32x48")
    return found


def _share(name: str, key: str, text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0 < found < 1:
        raise _wrong(name, key, "a share between 0 and 1", text, f"{key}=0.2")
    return found


def _pixels(name: str, key: str, text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,4}", text):
        raise _wrong(name, key, "a number of pixels", text, f"{key}=4")
    return int(text)


def _flag(name: str, key: str, text: str) -> bool:
    if text not in ("yes", "no"):
        raise _wrong(name, key, "yes or no", text, f"{key}=yes")
    return text == "yes"


def _wrong(name: str, key: str, rule: str, text: str, example: str) -> DataError:
    return DataError(f"{key} of {name!r} must be {rule}, but got {text!r}; write it as in {example}")


_READERS: dict[str, Callable[[str, str, str], Any]] = {
    "size": _size,
    "val": _share,
    "test": _share,
    "crop": _pixels,
    "flip": _flag,
    "stream": _flag,
}

_OPTIONS: dict[str, tuple[str, ...]] = {
    "folder": ("size", "val", "test", "crop", "flip", "stream"),
    "npz": ("size", "val", "test", "crop", "flip"),
    "pack": ("size", "crop"),
    "torchvision": (),
}
"""Options of each kind."""


def _written(value: object) -> str:
    if isinstance(value, tuple):
        height, width = value
        return str(height) if height == width else f"{height}x{width}"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else f"{value}"
