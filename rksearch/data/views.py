"""What a network sees of a streamed image: a random view in training, a fixed one in evaluation.

Views are uint8 pixels of the data set's size. All that follows (normalisation, lighting, flip, the zero-padded crop) is
done on the device, see `rksearch.data.batches`.

augmentation   training                                             evaluation
------------   --------                                             ----------
crop           resized to just cover the size, centre cropped       the same
scale_aspect   random area (8 to 100 %) and aspect ratio (3/4 to    resized to just cover 256/224 of the size (at 224
               4/3), resized to the size; brightness, contrast      the shorter side becomes 256), centre cropped
               and saturation changed by up to 40 %, in random
               order

Sources of `scale_aspect`: C. Szegedy et al. (2015), Going deeper with convolutions, section 6, and `fb.resnet.torch`,
datasets/imagenet.lua (RandomSizedCrop, ColorJitter, Scale 256, CenterCrop 224), as in the training of DenseNet's paper.
RandAugment comes last in training.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from rksearch.data.augmentation import Augmentation
from rksearch.data.dataset import STREAMED, Dataset, covered_size
from rksearch.data.decoding import resized
from rksearch.data.pictures import Picture

if TYPE_CHECKING:
    from torchvision.transforms import v2

JITTER = 0.4
"""Largest relative change of brightness, contrast and saturation."""


class Views:
    """Views of the images of a data set.

    Args:
        augmentation: its kind, and RandAugment; other terms are not a matter of views.
        augment: whether training images are augmented at all; else both views are the same.
        dataset: gives the size of the views, and the colour of what lies outside of a changed image.

    Attributes:
        cover: height and width of the area that an image is resized to cover, of which evaluation sees the centre.
    """

    def __init__(self, augmentation: Augmentation, dataset: Dataset, *, augment: bool) -> None:
        self._size, self._channels = (dataset.height, dataset.width), dataset.channels
        self.cover = covered_size(self._size, augmentation.kind)
        self._augment = augment
        self._first = _random_area(self._size) if augment and augmentation.kind == STREAMED else None
        self._last = _rand_augment(augmentation, dataset) if augment and augmentation.randaugment else None

    def train(self, picture: Picture, seed: int) -> Tensor:
        """The random view of an image that belongs to a seed, uint8 (H, W, C); seeds torch's generator of the CPU."""
        if not self._augment:
            return self.evaluate(picture)
        torch.default_generator.manual_seed(seed)
        pixels = self._covered(picture, self._size) if self._first is None else _planes(picture)
        for transform in (self._first, self._last):
            if transform is not None:
                pixels = transform(pixels)
        return pixels.permute(1, 2, 0)

    def blank(self) -> Tensor:
        """Zeros in the shape of a view."""
        return torch.zeros(*self._size, self._channels, dtype=torch.uint8)

    def evaluate(self, picture: Picture) -> Tensor:
        """The fixed view of an image, uint8 (H, W, C)."""
        return self._covered(picture, self.cover).permute(1, 2, 0)

    def _covered(self, picture: Picture, cover: tuple[int, int]) -> Tensor:
        image = Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture)
        pixels = np.array(resized(image, self._size, cover))
        return _planes(pixels if pixels.ndim == 3 else pixels[..., None])


def _random_area(size: tuple[int, int]) -> v2.Transform:
    from torchvision.transforms import v2  # takes a second, which trainings on images in memory need not wait

    return v2.Compose(
        [
            v2.RandomResizedCrop(size, antialias=True),
            v2.ColorJitter(brightness=JITTER, contrast=JITTER, saturation=JITTER),
        ]
    )


def _rand_augment(augmentation: Augmentation, dataset: Dataset) -> v2.Transform:
    from torchvision.transforms import v2

    return v2.RandAugment(
        augmentation.randaugment,
        augmentation.randaugment_magnitude,
        fill=[round(value) for value in dataset.mean],
    )


def _planes(picture: Picture) -> Tensor:
    """Pixels (C, H, W) of an image (H, W, C), channels-last in memory; a copy where the image cannot be written to."""
    return torch.from_numpy(picture if picture.flags.writeable else picture.copy()).permute(2, 0, 1)
