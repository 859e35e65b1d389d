"""PCA lighting: each image's colours shifted along the principal components of the colours of ImageNet.

A. Krizhevsky, I. Sutskever, G. Hinton (2012), ImageNet classification with deep convolutional neural networks,
section 4.1: the shift of a pixel (R, G, B) is [p1, p2, p3] [a1 l1, a2 l2, a3 l3]^T, with eigenvectors p and
eigenvalues l of the covariance of ImageNet's colours, and a normal a of deviation 0.1 for each image and component.
The numbers are those of `fb.resnet.torch`, datasets/imagenet.lua, whose training the DenseNet paper follows: colours
from 0 to 1, and the values of l are used as they stand there.
"""

from __future__ import annotations

import torch
from torch import Tensor

DEVIATION = 0.1
"""Standard deviation of the normal numbers."""

EIGENVALUES = (0.2175, 0.0188, 0.0045)

EIGENVECTORS = (
    (-0.5675, 0.7192, 0.4009),
    (-0.5808, -0.0045, -0.8140),
    (-0.5836, -0.6948, 0.4203),
)
"""A row for each of red, green and blue, a column for each component."""


def lighting(count: int, std: tuple[float, ...], generator: torch.Generator) -> Tensor:
    """Shifts (count, 3) of normalised images, float32, one for each image and channel.

    Args:
        count: number of images.
        std: normalisation of each channel, on the scale of 0 to 255.
        generator: draws the normal numbers.
    """
    alpha = DEVIATION * torch.randn(count, 3, generator=generator)
    shift = (alpha * torch.tensor(EIGENVALUES)) @ torch.tensor(EIGENVECTORS).T
    return shift * 255 / torch.tensor(std, dtype=torch.float32)
