"""What is known about each data set before any image is loaded: shapes, classes, normalisation, sources.

Layouts, costs and spaces need these facts and no tensors, so this module imports no torch; `rksearch.data.images`
loads the images.
"""

from __future__ import annotations

from dataclasses import dataclass

from rksearch.arch.image import ImageShape
from rksearch.errors import DataError, nearest


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset(ImageShape):
    """Facts about a labelled image data set.

    Attributes:
        name: what the user types.
        mean, std: per channel, on the 0..255 scale of the stored pixels.
        crop_padding: zero padding on every side before the random crop, in pixels; 0 for no random crop.
        flip: whether a mirrored image keeps its label.
        val_fraction: share of the training images of each class that is held out for validation.
        source: where the images come from, in words.
    """

    name: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    crop_padding: int
    flip: bool
    val_fraction: float
    source: str


DATASETS: dict[str, Dataset] = {
    d.name: d
    for d in (
        Dataset(
            name="cifar10",
            channels=3,
            height=32,
            width=32,
            classes=10,
            mean=(125.3, 123.0, 113.9),
            std=(63.0, 62.1, 66.7),
            crop_padding=4,
            flip=True,
            val_fraction=0.1,
            source="CIFAR-10 (Krizhevsky 2009), 50,000 training and 10,000 test images, through torchvision",
        ),
        Dataset(
            name="cifar100",
            channels=3,
            height=32,
            width=32,
            classes=100,
            mean=(129.3, 124.1, 112.4),
            std=(68.2, 65.4, 70.4),
            crop_padding=4,
            flip=True,
            val_fraction=0.1,
            source="CIFAR-100 (Krizhevsky 2009), 50,000 training and 10,000 test images, through torchvision",
        ),
        Dataset(
            name="svhn",
            channels=3,
            height=32,
            width=32,
            classes=10,
            # As in the DenseNet paper, section 4.1: pixels divided by 255, no augmentation, 6,000 validation images.
            mean=(0.0, 0.0, 0.0),
            std=(255.0, 255.0, 255.0),
            crop_padding=0,
            flip=False,
            val_fraction=0.01,
            source="SVHN, cropped digits (Netzer et al. 2011), 73,257 + 531,131 training and 26,032 test images, "
            "through torchvision",
        ),
        Dataset(
            name="imagenet",
            channels=3,
            height=224,
            width=224,
            classes=1000,
            mean=(123.675, 116.28, 103.53),
            std=(58.395, 57.12, 57.375),
            crop_padding=0,
            flip=True,
            val_fraction=0.02,
            source="ImageNet ILSVRC 2012, 1,281,167 training images, cropped to 224 x 224; known here for building and "
            "counting only, because the images may not be redistributed",
        ),
        Dataset(
            name="digits",
            channels=1,
            height=8,
            width=8,
            classes=10,
            mean=(78.0,),
            std=(95.9,),
            crop_padding=1,
            flip=False,
            val_fraction=0.3,
            source="handwritten digits of the UCI repository (Alpaydin and Kaynak 1998), 1,797 images of 8 x 8 pixels, "
            "embedded in scikit-learn; its one set is split here into training and test",
        ),
    )
}


def dataset(name: str) -> Dataset:
    """The data set called `name`.

    Raises:
        DataError: there is none of that name.
    """
    try:
        return DATASETS[name]
    except KeyError:
        raise DataError(
            f"the data set must be one of {', '.join(DATASETS)}, but got {name!r}{nearest(name, DATASETS)}"
        ) from None
