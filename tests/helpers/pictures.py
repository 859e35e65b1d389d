"""Data sets of the tests' own making: scikit-learn's digits, enlarged, as files and as arrays."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from sklearn.datasets import load_digits

Pixels = npt.NDArray[np.uint8]


def enlarged(classes: int = 3, each: int = 20, side: int = 12) -> tuple[Pixels, npt.NDArray[np.int64]]:
    """Digits (N, side, side) below `classes`, equally many of each, in the order of their labels."""
    bunch = load_digits()
    chosen = np.concatenate([np.flatnonzero(bunch.target == label)[:each] for label in range(classes)])
    pixels = np.rint(bunch.images[chosen] * (255 / 16)).astype(np.uint8)
    images = [np.asarray(Image.fromarray(p).resize((side, side))) for p in pixels]
    return np.stack(images), bunch.target[chosen].astype(np.int64)


def write_folder(root: Path, images: Pixels, labels: npt.NDArray[np.int64]) -> Path:
    """One PNG file for each image (H, W) or (H, W, 3), in the folder `class<label>`."""
    for i, (pixels, label) in enumerate(zip(images, labels, strict=True)):
        home = root / f"class{label}"
        home.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(home / f"{i:04d}.png")
    return root


def digits_folder(root: Path, classes: int = 3, each: int = 20, side: int = 12) -> Path:
    """A folder of enlarged digits."""
    return write_folder(root, *enlarged(classes, each, side))


def photos_folder(root: Path, classes: int = 3, each: int = 12, side: int = 40, ending: str = "jpg") -> Path:
    """A folder of coloured digits of many sizes, the shorter side `side` or a little more, upright and lying."""
    images, labels = enlarged(classes, each, side)
    for i, (pixels, label) in enumerate(zip(images, labels, strict=True)):
        home = root / f"class{label}"
        home.mkdir(parents=True, exist_ok=True)
        tint = np.array([1.0, 0.3 + 0.2 * (i % 4), 0.2 + 0.3 * (i % 3)])
        coloured = np.rint(pixels[..., None] * tint).astype(np.uint8)
        longer, shorter = side + side // 3 + i % 7, side + i % 3
        size = (longer, shorter) if i % 2 else (shorter, longer)
        Image.fromarray(coloured).resize(size).save(home / f"{i:04d}.{ending}")
    return root
