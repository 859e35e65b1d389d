"""Augmentation of images that lie on the device: its terms, and the pixel arithmetic of each.

Images are (N, H, W, C) here, in that order of dimensions. Everything but RandAugment works on normalised float images,
whose mean colour is 0, and reads its random numbers from tensors, so that a recorded step may contain it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from rksearch.data.dataset import Dataset
from rksearch.errors import DataError

RESIDENT = "crop"
"""The augmentation of images that lie on the device; streamed images can have it too."""

RANDAUGMENT_GROUP = 32
"""Images that share their operations in an epoch, so that one call serves all; the groups are random in each epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """Terms of the augmentation beside the data set's own crop and flip; 0 and False switch a term off.

    Attributes:
        kind: `crop`; or `scale_aspect`, which images on the device do not have.
        translation: largest shift in pixels, borders mirrored, in place of the data set's crop.
        alternating_flip: whether an image is mirrored in every second epoch, instead of at random.
        cutout: side of a square of mean colour, in pixels.
        randaugment: number of operations of RandAugment.
        randaugment_magnitude: their strength, 0 to 30.
        mixup: parameter of the Beta distribution from which the share of each step is drawn.
    """

    kind: str = RESIDENT
    translation: int = 0
    alternating_flip: bool = False
    cutout: int = 0
    randaugment: int = 0
    randaugment_magnitude: int = 9
    mixup: float = 0.0


def check_augmentation(augmentation: Augmentation, dataset: Dataset, *, streamed: bool) -> None:
    """Make sure that images of `dataset`, streamed or on the device, can have the augmentation.

    Raises:
        DataError: they cannot.
    """
    (check_streamed if streamed else check_resident)(augmentation, dataset)


def check_resident(augmentation: Augmentation, dataset: Dataset) -> None:
    """Make sure that images of `dataset`, when they lie on the device, can have the augmentation.

    Raises:
        DataError: they cannot.
    """
    if augmentation.kind != RESIDENT:
        raise DataError(
            f"the recipe asks for the augmentation {augmentation.kind}, which only streamed images can have, but those "
            f"of {dataset.name} lie in memory; use a recipe with `augmentation: {RESIDENT}`"
        )
    smallest = min(dataset.height, dataset.width)
    if augmentation.translation >= smallest:
        raise DataError(
            f"images must be shifted by less than their size, but the recipe has translation "
            f"{augmentation.translation} and those of {dataset.name} have {smallest} pixels; lower it"
        )
    if augmentation.randaugment and dataset.channels not in (1, 3):
        raise DataError(
            f"RandAugment is for images of 1 or 3 channels, but those of {dataset.name} have {dataset.channels}; "
            "use a recipe with `randaugment: 0`"
        )


def check_streamed(augmentation: Augmentation, dataset: Dataset) -> None:
    """Make sure that images of `dataset`, when they are streamed, can have the augmentation.

    Raises:
        DataError: they cannot.
    """
    if augmentation.kind == RESIDENT:
        check_resident(augmentation, dataset)
        return
    if dataset.channels != 3:
        raise DataError(
            f"the augmentation {augmentation.kind} (colour jitter, lighting) is for images of 3 channels, but those of "
            f"{dataset.name} have {dataset.channels}; use a recipe with `augmentation: {RESIDENT}`"
        )
    if augmentation.translation:
        raise DataError(
            f"the augmentation {augmentation.kind} has its own crop, but the recipe has translation "
            f"{augmentation.translation} too; set one of them aside: `translation: 0` or `augmentation: {RESIDENT}`"
        )


def cropped(pixels: Tensor, dy: Tensor, dx: Tensor, flip: Tensor, padding: int) -> Tensor:
    """Zero-pad images (N, H, W, C), crop each at its corner and mirror where `flip` says so, in one gather."""
    count, height, width, channels = pixels.shape
    padded = F.pad(pixels, (0, 0, padding, padding, padding, padding))
    padded_height, padded_width = height + 2 * padding, width + 2 * padding
    x = torch.arange(width, device=pixels.device)
    first = torch.arange(count, device=pixels.device) * padded_height
    rows = (first + dy)[:, None] + torch.arange(height, device=pixels.device)
    columns = dx[:, None] + torch.where(flip[:, None], width - 1 - x, x)
    places = rows[:, :, None] * padded_width + columns[:, None, :]
    return padded.view(-1, channels).index_select(0, places.flatten()).view(count, height, width, channels)


def shifted(pixels: Tensor, dy: Tensor, dx: Tensor, flip: Tensor, most: int) -> Tensor:
    """Images (N, H, W, C) shifted by dy - most and dx - most, borders mirrored, then mirrored where `flip` says so.

    The same as a crop at (dy, dx) from images that are padded by their mirrored border of `most` pixels.
    """
    count, height, width, channels = pixels.shape
    x = torch.arange(width, device=pixels.device)
    rows = _mirrored(dy[:, None] - most + torch.arange(height, device=pixels.device), height)
    columns = _mirrored(dx[:, None] - most + torch.where(flip[:, None], width - 1 - x, x), width)
    first = torch.arange(count, device=pixels.device)[:, None] * height
    places = (first + rows)[:, :, None] * width + columns[:, None, :]
    return pixels.reshape(-1, channels).index_select(0, places.flatten()).view(count, height, width, channels)


def _mirrored(place: Tensor, size: int) -> Tensor:
    """Places beyond 0 and size - 1 reflected at these, which are not repeated."""
    return (size - 1) - ((size - 1) - place.abs()).abs()


def cut_out(pixels: Tensor, cy: Tensor, cx: Tensor, side: int) -> Tensor:
    """Images (N, H, W, C) with a square of zeros around (cy, cx): from side // 2 pixels before it, `side` wide."""
    _, height, width, _ = pixels.shape
    rows = torch.arange(height, device=pixels.device) - (cy - side // 2)[:, None]
    columns = torch.arange(width, device=pixels.device) - (cx - side // 2)[:, None]
    inside = ((rows >= 0) & (rows < side))[:, :, None] & ((columns >= 0) & (columns < side))[:, None, :]
    return pixels.masked_fill(inside[..., None], 0.0)


def rand_augmented(pixels: Tensor, seed: int, augmentation: Augmentation, fill: tuple[float, ...]) -> Tensor:
    """All images (N, H, W, C), uint8, after torchvision's RandAugment; a function of images and seed.

    Torchvision draws one set of operations for a batch. Random groups of images share one here: each image has the
    distribution of a call of its own, and a step, which has images of many groups, sees almost that of many calls.

    Args:
        pixels: the images; they stay as they are.
        seed: of the groups and their operations.
        augmentation: number and strength of the operations.
        fill: colour for what lies outside of the image.
    """
    from torchvision.transforms import v2

    transform = v2.RandAugment(
        augmentation.randaugment, augmentation.randaugment_magnitude, fill=[round(value) for value in fill]
    )
    changed = torch.empty_like(pixels)
    before = torch.get_rng_state()
    try:
        # Torchvision draws from torch's global generator of the CPU, whatever the device of the images.
        torch.default_generator.manual_seed(seed)
        order = torch.randperm(len(pixels)).to(pixels.device)
        for part in torch.split(order, RANDAUGMENT_GROUP):
            changed[part] = transform(pixels[part].permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    finally:
        torch.set_rng_state(before)
    return changed


def mixed(values: Tensor, share: Tensor) -> Tensor:
    """Each of `values` (N, ...) times `share`, a tensor (1,), plus the one before it times the rest; the first follows
    the last. It is the arithmetic of torchvision's `MixUp`, whose share is a number of the host, which a recorded step
    would repeat for ever.
    """
    return values * share + values.roll(1, 0) * (1 - share)
