"""Handwritten digits that are embedded in scikit-learn: small enough for tests and first steps, without a download."""

from __future__ import annotations

from pathlib import Path

from rksearch.data.dataset import Dataset, Images

TEST_FRACTION = 1 / 3
"""Share of the images of each class that make the test set: the data set has none of its own."""


def _load(data_dir: Path, download: bool) -> Images:
    """All images, from scikit-learn; directory and download are not needed."""
    import numpy as np
    import torch
    from sklearn.datasets import load_digits  # scikit-learn takes a second to import

    from rksearch.data.order import hashed_order

    bunch = load_digits()
    pixels = np.rint(bunch.images * (255 / 16)).astype(np.uint8)  # stored as 0..16
    images = torch.from_numpy(pixels).unsqueeze(1)
    labels = torch.from_numpy(bunch.target).to(torch.int64)
    test: list[int] = []
    for members in hashed_order(images.numpy(), labels.numpy(), classes=DIGITS.classes, purpose="test"):
        test += members[: round(len(members) * TEST_FRACTION)]
    is_test = torch.zeros(len(labels), dtype=torch.bool)
    is_test[test] = True
    return Images(
        train_images=images[~is_test],
        train_labels=labels[~is_test],
        test_images=images[is_test],
        test_labels=labels[is_test],
    )


DIGITS = Dataset(
    name="digits",
    channels=1,
    height=8,
    width=8,
    classes=10,
    mean=(78.0,),
    std=(95.9,),
    normalisation="mean and standard deviation over the training images",
    crop_padding=1,
    val_fraction=0.3,
    source="handwritten digits of the UCI repository (Alpaydin and Kaynak 1998), 1,797 images of 8 x 8 pixels, "
    "embedded in scikit-learn; its one set is split here into training and test",
    licence="Creative Commons Attribution 4.0",
    citation="E. Alpaydin and C. Kaynak (1998), Optical recognition of handwritten digits, UCI machine learning "
    "repository",
    most_train_images=839,
    load=_load,
)
