"""Data sets of the tests' own making: scikit-learn's digits, enlarged, as PNG files and as arrays."""

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
