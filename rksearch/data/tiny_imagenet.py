"""Tiny ImageNet: 200 classes of ImageNet at 64 x 64, in the folders of its official archive."""

from __future__ import annotations

import io
import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from rksearch.data.dataset import Dataset, Images
from rksearch.errors import DataError, unreadable

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
ARCHIVE, MD5 = "tiny-imagenet-200.zip", "90528d7ca1a48142e341f4ef8d21d0de"
FOLDER = "tiny-imagenet-200"


def _load(data_dir: Path, download: bool) -> Images:
    """All images; the test images are the official validation images, since those for testing have no labels.

    An archive in the directory is read as it is; one that was unpacked there serves too, and is not verified.

    Raises:
        DataError: images are missing or damaged and must not or cannot be downloaded.
    """
    import torch

    from rksearch.data.downloads import as_served, ensure

    remote = as_served("tiny_imagenet", data_dir, "", [(URL, ARCHIVE, MD5)], url=URL, damaged=ARCHIVE)
    if not os.path.isdir(data_dir / FOLDER):
        ensure(remote, download=download)
    train_images, train_labels, test_images, test_labels = map(torch.from_numpy, _decoded(data_dir))
    return Images(
        train_images=train_images, train_labels=train_labels, test_images=test_images, test_labels=test_labels
    )


@lru_cache(maxsize=1)
def _decoded(
    data_dir: Path,
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Training images and labels, then those of the official validation; kept, since decoding takes a minute."""
    files = _Files(data_dir)
    classes = sorted(files.text("wnids.txt").split())
    if not classes:
        raise DataError(f"wnids.txt of {files.home} must list the classes, but is empty; unpack {ARCHIVE} again")
    label_of = {name: label for label, name in enumerate(classes)}
    train = [(path, label_of[name]) for name in classes for path in files.beneath(f"train/{name}/images")]
    test = []
    for line in files.text("val/val_annotations.txt").splitlines():
        fields = line.split("\t")
        if len(fields) < 2 or fields[1] not in label_of:
            raise DataError(
                f"val/val_annotations.txt of {files.home} must give an image and a known class in each line, but got "
                f"{line[:60]!r}; unpack {ARCHIVE} again"
            )
        test.append((f"val/images/{fields[0]}", label_of[fields[1]]))
    for part, found in (("train", train), ("val", test)):
        missing = set(range(len(classes))) - {label for _, label in found}
        if missing:
            raise DataError(
                f"each class of tiny_imagenet must have images, but {part} of {files.home} lacks "
                f"{classes[min(missing)]}; unpack {ARCHIVE} again"
            )
    return (*files.images(train), *files.images(test))


class _Files:
    """The files of the data set, in its unpacked folder if there is one, else in the archive."""

    def __init__(self, data_dir: Path) -> None:
        import zipfile

        folder = data_dir / FOLDER
        self.home = folder if os.path.isdir(folder) else data_dir / ARCHIVE
        self._archive = None if os.path.isdir(folder) else zipfile.ZipFile(self.home)

    def beneath(self, folder: str) -> list[str]:
        """Names of the images in a folder, sorted."""
        if self._archive is None:
            return sorted(f"{folder}/{path.name}" for path in (self.home / folder).glob("*.JPEG"))
        return [name for name in self._names() if name.rpartition("/")[0] == folder and name.endswith(".JPEG")]

    def text(self, name: str) -> str:
        """A file of text."""
        return self._bytes(name).decode("utf-8", errors="replace")

    def images(self, wanted: list[tuple[str, int]]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
        """Images (N, 3, 64, 64) and labels (N,)."""
        import numpy as np
        from PIL import Image

        from rksearch.data.decoding import UNREADABLE

        pixels = np.empty((len(wanted), 3, TINY_IMAGENET.height, TINY_IMAGENET.width), dtype=np.uint8)
        for i, (name, _) in enumerate(wanted):
            try:
                with Image.open(io.BytesIO(self._bytes(name))) as image:
                    pixels[i] = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
            except UNREADABLE as error:
                raise DataError(
                    f"{name} of {self.home} must be an image of 64 x 64 pixels, but cannot be read as one ({error}); "
                    f"unpack {ARCHIVE} again"
                ) from error
        return pixels, np.array([label for _, label in wanted], dtype=np.int64)

    def _names(self) -> list[str]:
        assert self._archive is not None
        return sorted(name.removeprefix(f"{FOLDER}/") for name in self._archive.namelist())

    def _bytes(self, name: str) -> bytes:
        try:
            if self._archive is None:
                return (self.home / name).read_bytes()
            return self._archive.read(f"{FOLDER}/{name}")
        except (OSError, KeyError) as error:
            if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
                raise unreadable("each file of tiny_imagenet", self.home / name, error) from error
            raise DataError(
                f"tiny_imagenet needs {name} in {self.home}, but it is missing or damaged; unpack {ARCHIVE} again"
            ) from error


TINY_IMAGENET = Dataset(
    name="tiny_imagenet",
    channels=3,
    height=64,
    width=64,
    classes=200,
    mean=(122.45, 114.26, 101.37),
    std=(70.63, 68.61, 71.93),
    normalisation="mean and standard deviation of each channel over the training images, as commonly published "
    "(0.4802, 0.4481, 0.3975 and 0.2770, 0.2691, 0.2821 of 255)",
    crop_padding=8,
    flip=True,
    val_fraction=0.1,
    source="Tiny ImageNet (Stanford CS231n), 100,000 training images; tested on the 10,000 official validation images, "
    "because those for testing have no labels",
    licence="that of ImageNet: for non-commercial research and teaching only",
    citation="Y. Le and X. Yang (2015), Tiny ImageNet visual recognition challenge, Stanford CS231N",
    most_train_images=90_000,
    load=_load,
)
