"""Batches of images that are kept on the device: normalised, and for training shuffled, cropped and flipped.

Pixels stay uint8 and channels-last in memory. An epoch draws all its random numbers at once from one CPU generator
and is a function of that generator's state, whatever the device.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from rksearch.data.dataset import Dataset
from rksearch.errors import DataError

EVAL_BATCH_SIZE = 256

Batch = tuple[Tensor, Tensor]
"""Float images (N, C, H, W), channels-last in memory, and int64 labels (N,)."""


class DeviceImages:
    """Images and labels on a device.

    Args:
        images: pixels, uint8 (N, C, H, W).
        labels: labels, int64 (N,).
        dataset: data set; its normalisation is (pixel - mean) / std by channel.
        device: device that keeps the images and computes the batches.
    """

    def __init__(self, images: Tensor, labels: Tensor, dataset: Dataset, device: torch.device) -> None:
        _, self.channels, self.height, self.width = images.shape
        self._pixels = images.permute(0, 2, 3, 1).flatten(1).contiguous().to(device)
        self._labels = labels.to(device)
        # One value per (x, channel) of an image row: a long last dimension broadcasts much faster than one of 3.
        self._mean = torch.tensor(dataset.mean, dtype=torch.float32, device=device).repeat(self.width)
        self._std = torch.tensor(dataset.std, dtype=torch.float32, device=device).repeat(self.width)
        self.device = device

    def __len__(self) -> int:
        return len(self._labels)

    def labels(self, index: Tensor) -> Tensor:
        """Labels of the images at `index` (N,)."""
        return self._labels.index_select(0, index)

    def normalised(self, index: Tensor) -> Tensor:
        """The images at `index` (N,) as float32 (N, H, W, C), in that order of dimensions."""
        pixels = self._pixels.index_select(0, index).view(len(index), self.height, self.width * self.channels)
        return pixels.float().sub_(self._mean).div_(self._std).view(len(index), self.height, self.width, self.channels)

    def batches(self, batch_size: int = EVAL_BATCH_SIZE) -> Iterator[Batch]:
        """Batches of all images in their order, neither shuffled nor augmented."""
        for start in range(0, len(self), batch_size):
            index = torch.arange(start, min(start + batch_size, len(self)), device=self.device)
            yield self.normalised(index).permute(0, 3, 1, 2), self.labels(index)


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochDraws:
    """The random numbers of one epoch, in the order in which the images are visited.

    Attributes:
        order: a permutation of the images.
        dy, dx: corner of each crop in the padded image, from 0 to twice the padding; equal to it without a shift.
        flip: whether the crop is mirrored left to right.
    """

    order: Tensor
    dy: Tensor
    dx: Tensor
    flip: Tensor

    def to(self, device: torch.device) -> EpochDraws:
        """The same numbers on `device`."""
        order, dy, dx, flip = (t.to(device) for t in (self.order, self.dy, self.dx, self.flip))
        return EpochDraws(order=order, dy=dy, dx=dx, flip=flip)


class TrainBatches:
    """Shuffled, augmented batches of a training set; `generator` holds the state of all its randomness.

    Order of the augmentation, as in the paper: normalise, zero-pad (so the border is the mean colour), crop, flip.

    Args:
        images: the training images.
        dataset: data set; its `crop_padding` and `flip` are the augmentation.
        batch_size: images of a batch; see `batch_bounds`.
        augment: whether to crop and flip.
        seed: seed of the generator.

    Raises:
        DataError: fewer than two images.
    """

    def __init__(self, images: DeviceImages, dataset: Dataset, *, batch_size: int, augment: bool, seed: int) -> None:
        self.images = images
        self.bounds = batch_bounds(len(images), batch_size)
        self._padding = dataset.crop_padding if augment else 0
        self._flip = dataset.flip and augment
        self.generator = torch.Generator().manual_seed(_stream_seed(seed, "batches"))

    @property
    def steps_per_epoch(self) -> int:
        """Number of batches in one epoch."""
        return len(self.bounds)

    def epoch(self) -> Iterator[Batch]:
        """One pass over all images; advances the generator."""
        return self.apply(self.draw())

    def draw(self) -> EpochDraws:
        """The random numbers of the next epoch; advances the generator."""
        count = len(self.images)
        shifts = torch.randint(0, 2 * self._padding + 1, (2, count), generator=self.generator)
        flips = torch.randint(0, 2 if self._flip else 1, (count,), generator=self.generator)
        order = torch.randperm(count, generator=self.generator)
        return EpochDraws(order=order, dy=shifts[0], dx=shifts[1], flip=flips.bool())

    def apply(self, draws: EpochDraws) -> Iterator[Batch]:
        """The batches that `draws` describes."""
        there = draws.to(self.images.device)
        for start, stop in self.bounds:
            yield self.at(torch.arange(start, stop, device=self.images.device), there)

    def at(self, places: Tensor, draws: EpochDraws) -> Batch:
        """The batch of the images at `places` (B,) in the order of `draws`; all tensors are on the images' device."""
        index = draws.order.index_select(0, places)
        pixels = self.images.normalised(index)
        if self._padding or self._flip:
            dy, dx, flip = (t.index_select(0, places) for t in (draws.dy, draws.dx, draws.flip))
            pixels = _crop(pixels, dy, dx, flip, self._padding)
        return pixels.permute(0, 3, 1, 2), self.images.labels(index)


def _crop(pixels: Tensor, dy: Tensor, dx: Tensor, flip: Tensor, padding: int) -> Tensor:
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


def batch_bounds(images: int, batch_size: int) -> list[tuple[int, int]]:
    """Start and stop of each batch of an epoch.

    The last batch holds the remaining images. A single remaining image joins the batch before it, because the
    variance over one image is no estimate for a batch norm (and undefined at 1 x 1 resolution).

    Raises:
        DataError: fewer than two images.
    """
    if images < 2:
        raise DataError(f"training needs at least 2 images (batch norm), but got {images}")
    starts = list(range(0, images, batch_size))
    if len(starts) > 1 and images - starts[-1] == 1:
        starts.pop()
    return list(zip(starts, [*starts[1:], images], strict=True))


def full_batch_images(bounds: Sequence[tuple[int, int]]) -> int:
    """Number of images of an epoch in batches of the most frequent size."""
    size, count = Counter(stop - start for start, stop in bounds).most_common(1)[0]
    return size * count


def _stream_seed(seed: int, purpose: str) -> int:
    """A seed for one purpose, so that streams of the same trial seed are independent."""
    return int.from_bytes(hashlib.sha256(f"{purpose} {seed}".encode()).digest()[:8], "big") >> 1
