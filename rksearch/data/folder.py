"""Images in a folder: one sub-folder per class, as torchvision's ImageFolder reads them; no torch.

pets/cats/1.png pets/dogs/1.png ...            one set: a test set and a validation set are chosen by hash
pets/train/cats/1.png pets/test/dogs/1.png ... sets of the folder's own, of which `val` and `test` may be missing
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from rksearch.data.address import Address
from rksearch.data.collected import PARTS, Collected, shown
from rksearch.data.decoding import (
    ANOTHER_TIME,
    EXTENSIONS,
    SHORT_OF_MEMORY,
    UNKNOWN,
    UNREADABLE,
    converted,
    reason,
    resized,
    short_of_memory,
)
from rksearch.errors import DataError, unreadable
from rksearch.limits import memory_bytes
from rksearch.ordinary import absence, read_ordinary

LARGEST_IMAGE_BYTES = 2**28
"""Largest image file that is read."""

PASSING = ANOTHER_TIME - {
    errno.ENOENT,
    errno.ENOTDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.EFBIG,
}
"""Errors of the system after which a file that was listed may be whole. The others are those of a link that leads to
nothing, and of `read_ordinary`: they stay, so that the file can be left out."""

OTHERS, OTHERS_PER_IMAGE = 100_000, 10
"""More files and folders than this number, and than this multiple of the images, are no folder of images."""


def require_memory(things: str, needed_bytes: int, told: str, remedy: str) -> None:
    """Make sure that what is read fits in half of the memory that this process may use.

    Args:
        things: what must fit.
        needed_bytes: memory that it takes.
        told: what takes how much, in words.
        remedy: what to do where it does not fit.

    Raises:
        DataError: it does not.
    """
    if 2 * needed_bytes > (there := memory_bytes()):
        raise DataError(
            f"{things} must fit in half of the memory that may be used ({there / 2e9:.1f} GB), but {told}; {remedy}"
        )


def signature(root: Path) -> str:
    """Digest of the names, sizes and times of all files: whether the folder is as it was, without reading them.

    Raises:
        DataError: a link leads back, or hardly any file is an image.
    """
    digest = hashlib.sha256()
    for folder, names in _walked(root):
        digest.update(os.fsencode(folder) + b"\0")
        for name in names:
            with contextlib.suppress(OSError):  # a link to nothing; reading will say so
                state = os.stat(os.path.join(folder, name))
                digest.update(os.fsencode(name) + f"\0{state.st_size}\0{state.st_mtime_ns}\0".encode())
    return digest.hexdigest()


def collect(address: Address, root: Path) -> Collected:
    """All images of a folder.

    Raises:
        DataError: there is no such folder, it holds no images or no classes, a part lacks a class, or the images differ
            in size and the address names none.
    """
    parts = layout_of(address, existing(address, root))
    names = class_names_of(address, parts)
    reader = _Reader(address=address, root=root, expected=sum(1 for home in parts.values() for _ in files(home)))
    kept = {part: list(_readable(reader, home, names)) for part, home in parts.items()}
    reader.check_sizes()
    channels = 3 if any(pixels.ndim == 3 for found in kept.values() for pixels, _ in found) else 1
    for part, labelled in kept.items():
        check_every_class(address, parts[part], root, names, [label for _, label in labelled])
    return Collected(
        parts={part: _stacked(found, channels) for part, found in kept.items()},
        class_names=tuple(shown(parts["train"] / name, parts["train"]) for name in names),
        fingerprint=reader.digest.hexdigest(),
        skipped=tuple(reader.skipped),
    )


def streams(address: Address, root: Path) -> bool:
    """Whether the images of a folder are streamed: by the user's wish, or since at their size they would not fit.

    Their memory is that of colour images, at most half of what this process may use.

    Raises:
        DataError: there is no such folder, or images without a size should be streamed.
    """
    size, wish = address.options.size, address.options.stream
    if wish and size is None:
        raise DataError(
            f"streamed images are resized, so that {address} needs a size too; add one, as in {address},size=224"
        )
    if wish is not None or size is None:
        return bool(wish)
    parts = layout_of(address, existing(address, root))
    count = sum(1 for home in parts.values() for _ in files(home))
    return 2 * count * 3 * size[0] * size[1] > memory_bytes()


def existing(address: Address, root: Path) -> Path:
    """The folder, if it is one; else a DataError."""
    if not os.path.isdir(root):
        found = "is a file" if os.path.exists(root) else absence(root)
        raise DataError(f"{address} needs a folder at {root}, which {found}; correct the path")
    return root


def files(home: Path) -> Iterator[Path]:
    """All image files beneath a folder, in the order of their names; hidden ones are ignored.

    Raises:
        DataError: a folder cannot be read, a file is a pipe or a device, a link leads back, or hardly any file is an
            image.
    """
    try:
        for folder, names in _walked(home, _raise):
            for name in names:
                if _is_image(name):
                    path = Path(folder, name)
                    if os.path.exists(path) and not os.path.isfile(path):  # reading a pipe would wait for its writer
                        raise DataError(f"images must be ordinary files, but {path} is none; remove it")
                    yield path
    except OSError as error:
        raise unreadable("a folder of images", error.filename, error) from error


def _raise(error: OSError) -> None:
    raise error


def _is_image(name: str) -> bool:
    return name.lower().endswith(EXTENSIONS) and not name.startswith(".")


def _walked(home: Path, onerror: Callable[[OSError], None] | None = None) -> Iterator[tuple[str, list[str]]]:
    """Every folder beneath one, with the names of its files; links are followed, hidden folders are ignored.

    Raises:
        DataError: a link leads to a folder above it, whose images would get another label or never end; or hardly any
            file is an image, as where the whole disk was named.
    """
    above = {str(home): _and_above(home)}
    images = others = 0
    for folder, inner, names in os.walk(home, followlinks=True, onerror=onerror):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        images += (found := sum(map(_is_image, names)))
        others += len(inner) + len(names) - found
        if others > max(OTHERS, OTHERS_PER_IMAGE * images):
            raise DataError(
                f"a folder of images must hold images for the most part, but {home} has {images:,} among the first "
                f"{images + others:,} files and folders; correct the path, or move the other files away"
            )
        here = above.pop(folder)
        for name in inner:
            path = os.path.join(folder, name)
            identity = _identity(path)
            if identity in here:
                raise DataError(
                    f"a link in a folder of images must not lead to a folder above it, but {path} leads to "
                    f"{os.path.realpath(path)}; remove the link"
                )
            above[path] = here | {identity} - {None}
        yield folder, sorted(names)


def _and_above(home: Path) -> frozenset[tuple[int, int] | None]:
    """Identities of a folder and of all above it: where it lies and, for a link, where the link lies."""
    starts = {Path(os.path.realpath(path)) for path in (home, home.parent if os.path.islink(home) else home)}
    return frozenset(_identity(path) for start in starts for path in (start, *start.parents)) - {None}


def _identity(folder: str | Path) -> tuple[int, int] | None:
    """Device and number of a folder, which all of its paths share; None where it cannot be found."""
    try:
        state = os.stat(folder)
    except OSError:
        return None
    return state.st_dev, state.st_ino


def folders(home: Path) -> list[str]:
    """Names of the folders in a folder, sorted, hidden ones ignored; a DataError where they cannot be read."""
    try:
        return sorted(path.name for path in home.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        raise unreadable("a folder of images", home, error) from error


def layout_of(address: Address, root: Path) -> dict[str, Path]:
    """The folder of each part: `train`, `val` and `test` where there is a `train`, else the folder itself."""
    inner = folders(root)
    if "train" not in inner:
        return {"train": root}
    others = [name for name in inner if name not in PARTS]
    if others:
        raise DataError(
            f"{address} has a folder train, so that beside it may only be val and test, but there is {others[0]!r}; "
            "move it away, or rename train if it is a class"
        )
    return {part: root / part for part in PARTS if part in inner}


def class_names_of(address: Address, parts: dict[str, Path]) -> tuple[str, ...]:
    """The classes, which all parts have in common."""
    names = folders(parts["train"])
    if not names:
        raise DataError(
            f"{address} must hold one folder per class, but {parts['train']} has none; "
            "put the images of each class into a folder of its name"
        )
    for part, home in parts.items():
        theirs = folders(home)
        for missing, where in ((set(names) - set(theirs), part), (set(theirs) - set(names), "train")):
            if missing:
                raise DataError(
                    f"all parts of {address} must have the same classes, but {where} lacks {min(missing)!r}; "
                    "add the folder with images, or remove the class from the other parts"
                )
    _check_apart(parts)
    return tuple(names)


def _check_apart(parts: dict[str, Path]) -> None:
    """Raise a DataError where links lead twice to one folder: its images would have two labels, or be tested on too."""
    places: dict[tuple[int, int], str] = {}
    for home in parts.values():
        for folder, _ in _walked(home):
            identity = _identity(folder)
            if identity is not None and (other := places.setdefault(identity, folder)) != folder:
                raise DataError(
                    f"images must be in a folder of images once, but {other} and {folder} are the same folder; remove "
                    "the link"
                )


def _readable(reader: _Reader, home: Path, names: tuple[str, ...]) -> Iterator[tuple[npt.NDArray[np.uint8], int]]:
    """Pixels and label of each image of a part that can be read."""
    for label, name in enumerate(names):
        for path in files(home / name):
            pixels = reader.read(path)
            if pixels is not None:
                yield pixels, label


def check_every_class(address: Address, home: Path, root: Path, names: tuple[str, ...], labels: list[int]) -> None:
    """Raise a DataError unless a part has images of each class."""
    missing = sorted(set(range(len(names))) - set(labels))
    if missing:
        where = shown(home / names[missing[0]], root)
        raise DataError(
            f"each class of {address} must have images that can be read, but {where} has none; "
            f"add some ({', '.join(EXTENSIONS)}) or remove the folder"
        )


def _stacked(
    found: list[tuple[npt.NDArray[np.uint8], int]], channels: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Images (N, C, H, W) and labels (N,) of images (H, W) or (H, W, 3)."""
    height, width = found[0][0].shape[:2]
    images = np.empty((len(found), channels, height, width), dtype=np.uint8)
    for i, (pixels, _) in enumerate(found):
        images[i] = pixels if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    return images, np.array([label for _, label in found], dtype=np.int64)


@dataclass(kw_only=True)
class _Reader:
    """Reads images, and remembers what it met.

    Attributes:
        address, root: the folder.
        expected: number of image files.
        digest: of the names and contents of all files so far.
        sizes: sizes so far, each with the first file that has it.
        skipped: files that could not be read, with the reason.
    """

    address: Address
    root: Path
    expected: int
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)
    sizes: dict[tuple[int, int], str] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)

    def read(self, path: Path) -> npt.NDArray[np.uint8] | None:
        """Pixels (H, W) of a gray image or (H, W, 3) of a coloured one; None for a file that cannot be read.

        Raises:
            DataError: there is no memory for all images, or for this one, or its disk does not answer.
        """
        name = shown(path, self.root)
        try:
            content = read_ordinary(path, LARGEST_IMAGE_BYTES)
            self.digest.update(os.fsencode(path.relative_to(self.root)) + b"\0" + hashlib.sha256(content).digest())
            with Image.open(io.BytesIO(content)) as image:
                if image.mode in UNKNOWN:
                    raise ValueError(f"its mode {image.mode} has no fixed range of values")
                size = (image.height, image.width)
                if self.address.options.size is None and self.sizes and size not in self.sizes:
                    # Nothing can be made of mixed sizes: their range is for the message.
                    pixels = np.empty((0, 0), dtype=np.uint8)
                else:
                    pixels = _pixels(image, self.address.options.size)
                if not self.sizes:
                    self._check_memory(pixels)
                self.sizes.setdefault(size, name)
                return pixels
        except UNREADABLE as error:
            if isinstance(error, OSError) and error.errno in PASSING:
                raise unreadable(f"each image of {self.root}", name, error) from error
            self.skipped.append(f"{name} ({reason(error)})")
            return None
        except SHORT_OF_MEMORY as error:
            raise short_of_memory(self.root, name) from error

    def _check_memory(self, pixels: npt.NDArray[np.uint8]) -> None:
        """Raise a DataError where the images, all like the first, would take over half of the memory."""
        needed, (height, width) = self.expected * pixels.nbytes, pixels.shape[:2]
        require_memory(
            f"the images of {self.address}",
            needed,
            f"{self.expected:,} of {height} x {width} pixels need {needed / 1e9:.1f} GB",
            f"stream them, as in folder:PATH,size={suggested(min(height, width))},stream=yes, or choose a smaller size",
        )

    def check_sizes(self) -> None:
        """Raise a DataError where the images differ in size and nothing says what to do."""
        if self.address.options.size is None and len(self.sizes) > 1:
            (least, first), *_, (most, last) = sorted(self.sizes.items(), key=lambda item: item[0][0] * item[0][1])
            raise DataError(
                f"the images of {self.address} must have one size, but have {len(self.sizes)}, from "
                f"{least[0]} x {least[1]} ({first}) to {most[0]} x {most[1]} ({last}); add a size to the name to "
                f"resize and crop them, as in {self.address},size={suggested(min(least))}"
            )


def suggested(side: int) -> int:
    """A usual side that is not above `side`."""
    return max((usual for usual in (8, 16, 28, 32, 64, 96, 128, 224) if usual <= side), default=8)


def _pixels(image: Image.Image, size: tuple[int, int] | None) -> npt.NDArray[np.uint8]:
    """Pixels of an opened image, resized and cropped to `size` where one is given."""
    image = converted(image)
    return np.asarray(image if size is None else resized(image, size))
