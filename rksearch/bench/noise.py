"""Random pixels in the shape and number of CIFAR-10's images: trainings take the same time as on the real ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rksearch.data.cifar import CIFAR10
from rksearch.data.dataset import Images

TRAIN_IMAGES, TEST_IMAGES = 50_000, 1_000


def load(data_dir: Path, download: bool) -> Images:
    """The same random images in every process."""
    import torch

    generator = torch.Generator().manual_seed(0)
    count = TRAIN_IMAGES + TEST_IMAGES
    shape = (count, CIFAR10.channels, CIFAR10.height, CIFAR10.width)
    pixels = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    labels = torch.arange(count) % CIFAR10.classes
    return Images(
        train_images=pixels[:TRAIN_IMAGES],
        train_labels=labels[:TRAIN_IMAGES],
        test_images=pixels[TRAIN_IMAGES:],
        test_labels=labels[TRAIN_IMAGES:],
    )


NOISE = replace(CIFAR10, name="cifar10-noise", source="random pixels", licence="", citation="", load=load)
