"""Image files to pixels by Pillow: errors, modes and sizes. The one place that resizes whole images; no torch."""

from __future__ import annotations

import errno
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from rksearch.errors import DataError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""Names of image files end so, as for torchvision; other files are ignored."""

GRAY = ("1", "L", "LA", "I;16", "I;16L", "I;16B", "I;16N")
"""Pillow's modes without colour."""

UNKNOWN = ("I", "F")
"""Pillow's modes whose values have no fixed range."""

UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    ArithmeticError,  # an offset beyond 64 bits
    LookupError,
    RuntimeError,  # AVIF; NotImplementedError of DDS and BLP
    AttributeError,
    TypeError,
)
"""Errors of Pillow for files that are damaged or no images. A file's content, not its name, decides who reads it: the
last ones came from damaged files of formats that nobody has asked for."""

SHORT_OF_MEMORY = (MemoryError, SystemError)
"""Errors of Pillow where memory is short, of which some of its functions say nothing."""

ANOTHER_TIME = frozenset(errno.errorcode) - {errno.EACCES, errno.EPERM, errno.EINVAL}
"""Errors of the system after which a file may be whole: it is gone, or its disk does not answer. Invalid arguments
come from damaged files, whose offsets are absurd."""

MOST_PIXELS = 178_956_970
"""Most pixels of an image, also of one that is enlarged: those of a file above which Pillow refuses it."""


def reason(error: Exception) -> str:
    """A few words on why a file could not be read."""
    if isinstance(error, UnidentifiedImageError):
        return "no image"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__


def short_of_memory(root: Path, name: str) -> DataError:
    """The error for an image that memory does not suffice for. Another time it may, so that it is not left out."""
    error = DataError(
        f"there must be memory for each image of {root}, but for {name} there is too little; free some, or remove it"
    )
    error.exit_code = 1
    return error


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

    Raises:
        ValueError: as `covering`.
    """
    whole_height, whole_width = covering((image.height, image.width), cover or size)
    left, top = (whole_width - size[1]) // 2, (whole_height - size[0]) // 2
    # Resizing the centre alone (`box`) would round other weights, and so give other pixels.
    whole = (whole_width, whole_height)
    resampled = image if whole == image.size else image.resize(whole, Image.Resampling.BILINEAR)
    return resampled.crop((left, top, left + size[1], top + size[0]))


def covering(size: tuple[int, int], area: tuple[int, int]) -> tuple[int, int]:
    """Height and width of an image that was resized to just cover an area.

    Args:
        size: its height and width.
        area: height and width of the area.

    Raises:
        ValueError: enlarged, it would have more than `MOST_PIXELS`, as a line of a million pixels would.
    """
    scale = max(area[0] / size[0], area[1] / size[1])
    height, width = max(area[0], round(size[0] * scale)), max(area[1], round(size[1] * scale))
    if scale > 1 and height * width > MOST_PIXELS:
        raise ValueError(
            f"{size[0]:,} x {size[1]:,} pixels become {height:,} x {width:,} at size {area[0]} x {area[1]}, more than "
            f"{MOST_PIXELS:,} in all"
        )
    return height, width
