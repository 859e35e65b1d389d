"""A training loop as most people write it, to compare ours with: torchvision, DataLoader, float32, NCHW.

It uses the networks' torch modules and nothing else of rksearch's training.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from rksearch.data.facts import Dataset
from rksearch.recipes.recipe import Recipe


class PlainLoop:
    """Training by network, optimiser and data loader of the usual kind.

    Args:
        model: maps float images (N, C, H, W) to logits (N, classes).
        pixels: uint8 (N, C, H, W).
        labels: int64 (N,).
        data: normalisation, crop and flip.
        recipe: batch size, optimiser and learning rate.
        device: where to train.
        workers: processes of the data loader; 0 loads in the training process.
    """

    def __init__(
        self,
        model: nn.Module,
        pixels: Tensor,
        labels: Tensor,
        data: Dataset,
        recipe: Recipe,
        device: torch.device,
        workers: int,
    ) -> None:
        self.device = device
        self.model = model.to(device)
        self.recipe = recipe
        self.optimizer = torch.optim.SGD(
            model.parameters(),
            lr=recipe.lr,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
            weight_decay=recipe.weight_decay,
        )
        self.criterion = nn.CrossEntropyLoss()
        self.loader = DataLoader(
            Pictures(pixels, labels, transforms(data, recipe.augment)),
            batch_size=recipe.batch_size,
            shuffle=True,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=device.type == "cuda",
        )

    def epoch(self) -> float:
        """Train on all images once; mean loss over the steps."""
        self.model.train()
        total = 0.0
        for images, labels in self.batches():
            total += self.step(images, labels, self.recipe.lr)
        return total / len(self.loader)

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """One pass over the images, on the device."""
        for images, labels in self.loader:
            yield images.to(self.device, non_blocking=True), labels.to(self.device, non_blocking=True)

    def step(self, images: Tensor, labels: Tensor, lr: float) -> float:
        """One step on a batch of float images (N, C, H, W) and labels (N,); its mean loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.zero_grad()
        logits = self.model(images)
        loss = self.criterion(logits, labels)
        loss.backward()
        self.optimizer.step()
        return float(loss.item())


class Pictures(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """uint8 images (N, C, H, W) as PIL pictures, each transformed when it is read."""

    def __init__(self, pixels: Tensor, labels: Tensor, transform: Any) -> None:
        self._pixels = np.ascontiguousarray(pixels.permute(0, 2, 3, 1).numpy())
        self._labels = labels.tolist()
        self._transform = transform

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        from PIL import Image

        pixels = self._pixels[index]
        picture = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
        return self._transform(picture), self._labels[index]


def transforms(data: Dataset, augment: bool) -> Any:
    """Crop, flip, convert to a float tensor and normalise, by torchvision."""
    from torchvision import transforms as T  # torchvision takes a second to import

    steps: list[Any] = []
    if augment and data.crop_padding:
        steps.append(T.RandomCrop((data.height, data.width), padding=data.crop_padding))
    if augment and data.flip:
        steps.append(T.RandomHorizontalFlip())
    mean, std = ([x / 255 for x in values] for values in (data.mean, data.std))
    return T.Compose([*steps, T.ToTensor(), T.Normalize(mean, std)])
