"""Order of images by hash, and the split into training and validation that follows from it.

Every decision about which image goes where follows from the SHA-256 of the image's bytes, or of the key of an image
that is read only when it is needed, so it depends neither on the order of files nor on a random generator. This
module imports no torch.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Pixels: TypeAlias = npt.NDArray[np.uint8]
"""Images (N, C, H, W)."""

Keys: TypeAlias = npt.NDArray[np.object_]
"""Keys of images that are read only when they are needed: bytes objects (N,)."""

Labels: TypeAlias = npt.NDArray[np.int64]
"""Labels (N,)."""


def hashed_order(
    images: Pixels | Keys | Sequence[bytes], labels: Labels, *, classes: int, purpose: str
) -> list[list[int]]:
    """Indices of each class's images, ordered by the hash of their pixels, or of the keys that stand for them.

    `purpose` enters the hash, so that decisions for different purposes are independent. Identical images of a class
    are distinguished by their number of occurrence.
    """
    seen: Counter[tuple[int, bytes]] = Counter()
    members: list[list[tuple[bytes, int]]] = [[] for _ in range(classes)]
    for index, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        content = hashlib.sha256(image if isinstance(image, bytes) else image.tobytes()).digest()
        occurrence = seen[label, content]
        seen[label, content] += 1
        key = hashlib.sha256(f"{purpose} {occurrence} ".encode() + content).digest()
        members[label].append((key, index))
    return [[index for _, index in sorted(keyed)] for keyed in members]


def held_out_first(members: list[int], share: float) -> tuple[list[int], list[int]]:
    """The images of a class that are held out, at least one, and the others; `members` are in the order of hashes."""
    count = max(1, round(len(members) * share))
    return members[:count], members[count:]


def split_order(
    images: Pixels | Keys | Sequence[bytes],
    labels: Labels,
    *,
    classes: int,
    val_fraction: float,
    held_out: Labels | None = None,
) -> tuple[list[int], list[int]]:
    """The images to train on, in the one order whose prefixes are the training subsets, and those held out.

    In each class the images with the smallest hashes are held out, `val_fraction` of them, unless the data set itself
    holds out those at `held_out` (indices). Every prefix of the others is stratified.
    """
    given = None if held_out is None else set(held_out.tolist())
    val: list[int] = []
    ranked: list[tuple[float, int, int]] = []
    for label, members in enumerate(hashed_order(images, labels, classes=classes, purpose="val")):
        if given is None:
            out, rest = held_out_first(members, val_fraction)
        else:
            out = [index for index in members if index in given]
            rest = [index for index in members if index not in given]
        val += out
        # Spreading each class evenly over [0, 1] makes every prefix of the merged order stratified to within one image.
        ranked += [((rank + 0.5) / len(rest), label, index) for rank, index in enumerate(rest)]
    return [index for _, _, index in sorted(ranked)], val
