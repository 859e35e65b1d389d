"""Batches of images on the device: normalised, and for training shuffled, cropped and flipped.

Pixels stay uint8 and channels-last in memory: all of them where a data set is small, else those of a batch, see
`rksearch.data.streaming`. An epoch draws all its random numbers at once from one CPU generator
and is a function of that generator's state, whatever the device.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from rksearch.data.augmentation import (
    Augmentation,
    check_augmentation,
    cropped,
    cut_out,
    rand_augmented,
    shifted,
)
from rksearch.data.dataset import STREAMED, Dataset
from rksearch.data.lighting import lighting
from rksearch.errors import DataError

EVAL_BATCH_SIZE = 256

PLAIN = Augmentation()
"""The data set's own crop and flip alone."""

Batch = tuple[Tensor, Tensor]
"""Float images (N, C, H, W), channels-last in memory, and int64 labels (N,)."""


class TrainImages(Protocol):
    """Images that batches are made of, all on the device or streamed to it; see `DeviceImages` for each.

    Attributes:
        streamed: whether they are streamed.
    """

    streamed: ClassVar[bool]

    @property
    def unreadable(self) -> tuple[str, ...]:
        """Names and reasons of streamed images that were found to be unreadable so far."""
        ...

    channels: int
    height: int
    width: int
    device: torch.device
    may_flip: bool

    def __len__(self) -> int: ...

    def labels(self, index: Tensor) -> Tensor:
        """Labels of the images at `index` (N,)."""
        ...

    def normalised(self, index: Tensor, changed: Tensor | None = None) -> Tensor:
        """The images at `index` (N,), which are those of the batch that was fetched, as float32 (N, H, W, C)."""
        ...

    def begin(self, draws: EpochDraws, bounds: Sequence[tuple[int, int]]) -> None:
        """Start an epoch with these numbers, on the CPU, and batches."""
        ...

    def fetch(self) -> None:
        """Bring the next batch of the epoch to the device."""
        ...

    def batches(self, batch_size: int = EVAL_BATCH_SIZE) -> Iterator[Batch]:
        """Batches of all images in their order, neither shuffled nor augmented."""
        ...


class DeviceImages:
    """Images and labels on a device.

    Args:
        images: pixels, uint8 (N, C, H, W).
        labels: labels, int64 (N,).
        dataset: data set; its normalisation is (pixel - mean) / std by channel.
        device: device that keeps the images and computes the batches.
    """

    streamed: ClassVar[bool] = False
    unreadable: ClassVar[tuple[str, ...]] = ()

    def __init__(self, images: Tensor, labels: Tensor, dataset: Dataset, device: torch.device) -> None:
        _, self.channels, self.height, self.width = images.shape
        self._pixels = images.permute(0, 2, 3, 1).flatten(1).contiguous().to(device)
        self._labels = labels.to(device)
        # One value per (x, channel) of an image row: a long last dimension broadcasts much faster than one of 3.
        self._mean = torch.tensor(dataset.mean, dtype=torch.float32, device=device).repeat(self.width)
        self._std = torch.tensor(dataset.std, dtype=torch.float32, device=device).repeat(self.width)
        self.device, self.may_flip = device, dataset.flip

    def __len__(self) -> int:
        return len(self._labels)

    def labels(self, index: Tensor) -> Tensor:
        """Labels of the images at `index` (N,)."""
        return self._labels.index_select(0, index)

    @property
    def pixels(self) -> Tensor:
        """All images, uint8 (N, H * W * C)."""
        return self._pixels

    def normalised(self, index: Tensor, changed: Tensor | None = None) -> Tensor:
        """The images at `index` (N,) as float32 (N, H, W, C), in that order of dimensions.

        Args:
            index: places of the images.
            changed: pixels to read instead of the images' own, in the same form; None for their own.
        """
        source = self._pixels if changed is None else changed
        pixels = source.index_select(0, index).view(len(index), self.height, self.width * self.channels)
        return pixels.float().sub_(self._mean).div_(self._std).view(len(index), self.height, self.width, self.channels)

    def begin(self, draws: EpochDraws, bounds: Sequence[tuple[int, int]]) -> None:
        """Start an epoch: nothing to do, since all images are here."""

    def fetch(self) -> None:
        """Bring the next batch to the device: nothing to do, since all images are here."""

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
        cut_y, cut_x: centre of the square that is cut out of each image; None without cutout.
        share: weight of the image itself in each step's mixup, (steps,); None without mixup.
        seed: seed of RandAugment and of streamed views, (1,); None without them.
        light: shift of each image's channels by PCA lighting, (N, C); None without it.
    """

    order: Tensor
    dy: Tensor
    dx: Tensor
    flip: Tensor
    cut_y: Tensor | None = None
    cut_x: Tensor | None = None
    share: Tensor | None = None
    seed: Tensor | None = None
    light: Tensor | None = None

    def tensors(self) -> dict[str, Tensor]:
        """The numbers that there are, by name."""
        found = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value for name, value in found.items() if value is not None}

    def to(self, device: torch.device) -> EpochDraws:
        """The same numbers on `device`."""
        return EpochDraws(**{name: value.to(device) for name, value in self.tensors().items()})

    def copy_(self, other: EpochDraws) -> None:
        """Take over the numbers of another epoch."""
        mine, new = self.tensors(), other.tensors()
        for name, value in mine.items():
            value.copy_(new[name])


class TrainBatches:
    """Shuffled, augmented batches of a training set; `state_dict` holds the state of all its randomness.

    Order of the augmentation: RandAugment on the stored pixels; normalise, zero-pad (so the border is the mean colour)
    and crop, or shift; flip; cut out. Mixup comes last and belongs to the training step. With `scale_aspect`, which
    streamed images alone have, random views take the place of the crop, and lighting follows the normalisation.

    Args:
        images: the training images, on the device or streamed to it.
        dataset: data set; its `crop_padding` and `flip` are the usual augmentation.
        batch_size: images of a batch; see `batch_bounds`.
        augment: whether to augment at all; mixup does not depend on it.
        seed: seed of the generator.
        augmentation: further terms.

    Raises:
        DataError: fewer than two images, or the images cannot have the augmentation.
    """

    def __init__(
        self,
        images: TrainImages,
        dataset: Dataset,
        *,
        batch_size: int,
        augment: bool,
        seed: int,
        augmentation: Augmentation = PLAIN,
    ) -> None:
        if augment:
            check_augmentation(augmentation, dataset, streamed=images.streamed)
        self.images = images
        self.bounds = batch_bounds(len(images), batch_size)
        self._terms = augmentation if augment else Augmentation(mixup=augmentation.mixup)
        self._views = augment and self._terms.kind == STREAMED
        self._padding = self._terms.translation or (dataset.crop_padding if augment and not self._views else 0)
        self._flip = dataset.flip and augment
        self._mean, self._std = dataset.mean, dataset.std
        self.generator = torch.Generator().manual_seed(_stream_seed(seed, "batches"))
        self._mirrored = self._first_mirrored(seed) if self._flip and self._terms.alternating_flip else None
        self._changed = (
            torch.zeros_like(images.pixels) if isinstance(images, DeviceImages) and self._terms.randaugment else None
        )

    def _first_mirrored(self, seed: int) -> Tensor:
        """Whether each image is mirrored in the first epoch, where flips alternate."""
        generator = torch.Generator().manual_seed(_stream_seed(seed, "flips"))
        return torch.randint(0, 2, (len(self.images),), generator=generator).bool()

    @property
    def steps_per_epoch(self) -> int:
        """Number of batches in one epoch."""
        return len(self.bounds)

    def state_dict(self) -> dict[str, Tensor]:
        """State that the next epochs depend on."""
        flips = {} if self._mirrored is None else {"mirrored": self._mirrored}
        return {"generator": self.generator.get_state(), **flips}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a `state_dict`; it may hold other keys too.

        Raises:
            KeyError, RuntimeError: the state was not written by `state_dict` of batches with this augmentation.
        """
        self.generator.set_state(state["generator"])
        if self._mirrored is not None:
            self._mirrored = state["mirrored"].clone()

    def epoch(self) -> Iterator[Batch]:
        """One pass over all images, without mixup; advances the generator."""
        draws = self.draw()
        self.begin(draws)
        return self.apply(draws)

    def draw(self) -> EpochDraws:
        """The random numbers of the next epoch; advances the generator."""
        count, generator = len(self.images), self.generator
        shifts = torch.randint(0, 2 * self._padding + 1, (2, count), generator=generator)
        flips = torch.randint(0, 2 if self._flip else 1, (count,), generator=generator).bool()
        order = torch.randperm(count, generator=generator)
        if self._mirrored is not None:
            flips, self._mirrored = self._mirrored[order], ~self._mirrored
        return EpochDraws(order=order, dy=shifts[0], dx=shifts[1], flip=flips, **self._further())

    def _further(self) -> dict[str, Tensor]:
        """Random numbers of the terms that are on; without any, the generator is as if there were none."""
        count, generator, found = len(self.images), self.generator, {}
        if self._terms.cutout:
            found["cut_y"] = torch.randint(0, self.images.height, (count,), generator=generator)
            found["cut_x"] = torch.randint(0, self.images.width, (count,), generator=generator)
        if self._terms.mixup:
            found["share"] = _beta(self._terms.mixup, self.steps_per_epoch, generator)
        if self._terms.randaugment or self._views:
            found["seed"] = torch.randint(0, 2**62, (1,), generator=generator)
        if self._views:
            found["light"] = lighting(count, self._std, generator)
        return found

    def blank(self) -> EpochDraws:
        """Draws of the same shape on the images' device, all zeros: the place for those of an epoch."""
        count, device = len(self.images), self.images.device
        whole = dict.fromkeys(("order", "dy", "dx"), (count, torch.int64)) | {"flip": (count, torch.bool)}
        if self._terms.cutout:
            whole |= dict.fromkeys(("cut_y", "cut_x"), (count, torch.int64))
        if self._terms.mixup:
            whole |= {"share": (self.steps_per_epoch, torch.float32)}
        if self._terms.randaugment or self._views:
            whole |= {"seed": (1, torch.int64)}
        numbers = {key: torch.zeros(size, dtype=kind, device=device) for key, (size, kind) in whole.items()}
        if self._views:
            numbers["light"] = torch.zeros(count, self.images.channels, device=device)
        return EpochDraws(**numbers)

    def begin(self, draws: EpochDraws) -> None:
        """Start the epoch: streamed images begin to be read, and RandAugment changes those that are on the device.

        Args:
            draws: of the epoch, on the CPU.
        """
        images = self.images
        images.begin(draws, self.bounds)
        if self._changed is None or draws.seed is None or not isinstance(images, DeviceImages):
            return
        shape = (len(images), images.height, images.width, images.channels)
        found = rand_augmented(images.pixels.view(shape), int(draws.seed), self._terms, self._mean)
        self._changed.copy_(found.view(self._changed.shape))

    def apply(self, draws: EpochDraws) -> Iterator[Batch]:
        """The batches that `draws` describes, after `begin`."""
        there = draws.to(self.images.device)
        for start, stop in self.bounds:
            self.fetch()
            yield self.at(torch.arange(start, stop, device=self.images.device), there)

    def fetch(self) -> None:
        """Bring the next batch of the epoch to the device, before `at` reads it.

        Raises:
            DataError: an image cannot be read.
        """
        self.images.fetch()

    def at(self, places: Tensor, draws: EpochDraws) -> Batch:
        """The batch of the images at `places` (B,) in the order of `draws`; all tensors are on the images' device."""
        index = draws.order.index_select(0, places)
        pixels = self.images.normalised(index, self._changed)
        if draws.light is not None:
            pixels = pixels + draws.light.index_select(0, places)[:, None, None, :]
        if self._padding or self._flip:
            dy, dx, flip = (t.index_select(0, places) for t in (draws.dy, draws.dx, draws.flip))
            move = shifted if self._terms.translation else cropped
            pixels = move(pixels, dy, dx, flip, self._padding)
        if draws.cut_y is not None and draws.cut_x is not None:
            cy, cx = draws.cut_y.index_select(0, places), draws.cut_x.index_select(0, places)
            pixels = cut_out(pixels, cy, cx, self._terms.cutout)
        return pixels.permute(0, 3, 1, 2), self.images.labels(index)


def _beta(alpha: float, count: int, generator: torch.Generator) -> Tensor:
    """`count` draws from Beta(alpha, alpha), float32; torch's distributions draw from the global generator alone."""
    before = torch.get_rng_state()
    try:
        torch.default_generator.manual_seed(int(torch.randint(0, 2**62, (1,), generator=generator)))
        return torch.distributions.Beta(alpha, alpha).sample((count,)).float()
    finally:
        torch.set_rng_state(before)


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
