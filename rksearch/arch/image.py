"""Shape of the images that a network reads, and the number of classes that it tells apart."""

from __future__ import annotations

from dataclasses import dataclass

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
        DataError: a number is below 1.
    """
    for what, value in (("in_channels", channels), ("image_size", size), ("num_classes", classes)):
        if value < 1:
            raise DataError(f"{what} must be at least 1, but got {value!r}")
    return ImageShape(channels=channels, height=size, width=size, classes=classes)
