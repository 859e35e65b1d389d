"""Shape of the images that a network reads, and the number of classes that it tells apart."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

from rksearch.arch.spec import MAX_NUMBER
from rksearch.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageShape:
    """Everything that layouts, costs and networks need to know of a data set.

    Attributes:
        channels, height, width: shape of one image, (C, H, W).
        classes: number of labels.
    """

    channels: int
    height: int
    width: int
    classes: int


def image_shape(*, channels: int, size: int, classes: int) -> ImageShape:
    """Shape of square images, whatever data set they belong to.

    Raises:
        DataError: a number is not whole, below 1 or too large.
    """
    side = _whole("image_size", size)
    return ImageShape(
        channels=_whole("in_channels", channels), height=side, width=side, classes=_whole("num_classes", classes)
    )


def _whole(what: str, value: Any) -> int:
    """The number as an `int`, which other libraries' whole numbers are not.

    Raises:
        DataError: it is none from 1 to `MAX_NUMBER`.
    """
    try:
        number = 0 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = 0
    if not 1 <= number <= MAX_NUMBER:
        raise DataError(f"{what} must be a whole number from 1 to {MAX_NUMBER}, but got {_short(value)}; give one")
    return number


def _short(value: object) -> str:
    text = " ".join(repr(value).split()) if not isinstance(value, int) or abs(value) < 10**100 else "a larger one"
    return text if len(text) <= 60 else f"{text[:57]}..."
