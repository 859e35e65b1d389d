"""Image files to pixels by Pillow: errors, modes and sizes. The one place that resizes whole images; no torch."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from PIL import Image, UnidentifiedImageError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""Names of image files end so, as for torchvision; other files are ignored."""

GRAY = ("1", "L", "LA", "I;16", "I;16L", "I;16B", "I;16N")
"""Pillow's modes without colour."""

UNKNOWN = ("I", "F")
"""Pillow's modes whose values have no fixed range."""

UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)
"""Errors of Pillow for files that are damaged or no images."""


def reason(error: Exception) -> str:
    """A few words on why a file could not be read."""
    if isinstance(error, UnidentifiedImageError):
        return "no image"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__


def converted(image: Image.Image, *, gray: bool | None = None) -> Image.Image:
    """An opened image in mode L or RGB: 16-bit gray scaled to 8 bits, transparency dropped.

    Args:
        image: the image.
        gray: whether to make it gray; None to make gray what is gray.

    Raises:
        ValueError: its values have no fixed range.
    """
    if image.mode in UNKNOWN:
        raise ValueError(f"its mode {image.mode} has no fixed range of values")
    if image.mode.startswith("I;16"):  # Pillow would cut 16 bits off at 255
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    wanted = image.mode in GRAY if gray is None else gray
    return image.convert("L" if wanted else "RGB")


def resized(image: Image.Image, size: tuple[int, int], cover: tuple[int, int] | None = None) -> Image.Image:
    """The centre of an image that was resized (bilinear, antialiased), its ratio of sides kept, to just cover an area.

    Args:
        image: the image.
        size: height and width of the centre that is cropped.
        cover: height and width of the area, at least `size`; None for `size` itself.
    """
    height, width = cover or size
    scale = max(height / image.height, width / image.width)
    whole = (max(width, round(image.width * scale)), max(height, round(image.height * scale)))
    left, top = (whole[0] - size[1]) // 2, (whole[1] - size[0]) // 2
    resampled = image if whole == image.size else image.resize(whole, Image.Resampling.BILINEAR)
    return resampled.crop((left, top, left + size[1], top + size[0]))
