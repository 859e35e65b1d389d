"""ImageNet ILSVRC 2012: known for building and counting networks only."""

from __future__ import annotations

from rksearch.data.dataset import Dataset

IMAGENET = Dataset(
    name="imagenet",
    channels=3,
    height=224,
    width=224,
    classes=1000,
    mean=(123.675, 116.28, 103.53),
    std=(58.395, 57.12, 57.375),
    normalisation="the numbers of torchvision's reference training",
    flip=True,
    val_fraction=0.02,
    source="ImageNet ILSVRC 2012, 1,281,167 training images, cropped to 224 x 224; known here for building and "
    "counting only, because the images may not be redistributed",
    licence="for non-commercial research and teaching only, by agreement with image-net.org",
    citation="O. Russakovsky et al. (2015), ImageNet large scale visual recognition challenge, International Journal "
    "of Computer Vision 115",
)
