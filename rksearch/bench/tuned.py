"""A training loop as a good engineer writes it in an afternoon, with nothing but torch: the yardstick of ours.

Images stay on the device and are cropped and flipped there by the batch; bfloat16 autocast where asked, channels last,
one call of the optimiser for all weights, the module compiled where asked. It uses nothing of rksearch's training.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import repeat

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rksearch.data.facts import Dataset
from rksearch.recipes.recipe import Recipe


class TunedLoop:
    """Training by tensors on the device.

    Args:
        model: maps float images (N, C, H, W) to logits (N, classes).
        pixels: uint8 (N, C, H, W).
        labels: int64 (N,).
        data: normalisation, crop and flip.
        recipe: batch size, optimiser and learning rate.
        device: where to train.
        bf16: whether to compute in bfloat16 by autocast.
        compiled: whether to compile the module for full batches.
    """

    def __init__(
        self,
        model: nn.Module,
        pixels: Tensor,
        labels: Tensor,
        data: Dataset,
        recipe: Recipe,
        device: torch.device,
        *,
        bf16: bool = False,
        compiled: bool = False,
    ) -> None:
        self.model = model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.compiled = torch.compile(self.model, dynamic=False) if compiled else self.model
        self.pixels, self.labels = pixels.to(device), labels.to(device)
        self.device, self.recipe, self.bf16 = device, recipe, bf16
        self.mean, self.std = (torch.tensor(x, device=device).view(-1, 1, 1) for x in (data.mean, data.std))
        self.padding = data.crop_padding if recipe.augment else 0
        self.flip = data.flip and recipe.augment
        self.optimizer = torch.optim.SGD(
            model.parameters(),
            lr=recipe.lr,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
            weight_decay=recipe.weight_decay,
            foreach=True,
        )

    def epoch(self, rates: Sequence[float] = ()) -> float:
        """Train on all images once; mean loss over the steps. The host waits for the device once, at the end.

        Args:
            rates: learning rate of each step; empty for the recipe's highest in all.
        """
        self.model.train()
        of_step = iter(rates or repeat(self.recipe.lr))
        losses = [self.step(images, labels, next(of_step)) for images, labels in self.batches()]
        return float(torch.stack(losses).mean())

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """One pass over the images, shuffled, cropped and flipped."""
        for index in torch.randperm(len(self.labels), device=self.device).split(self.recipe.batch_size):
            yield self.augmented(self.normalised(self.pixels[index])), self.labels[index]

    def normalised(self, pixels: Tensor) -> Tensor:
        """Float images of pixels (N, C, H, W)."""
        return (pixels.float() - self.mean) / self.std

    def augmented(self, images: Tensor) -> Tensor:
        """Float images (N, C, H, W), each shifted into its padding and perhaps mirrored; channels last."""
        count, _, height, width = images.shape
        dy, dx = torch.randint(2 * self.padding + 1, (2, count, 1), device=self.device)
        rows, columns = (torch.arange(size, device=self.device) for size in (height, width))
        mirrored = torch.rand(count, 1, device=self.device) < (0.5 if self.flip else 0.0)
        y, x = dy + rows, dx + torch.where(mirrored, width - 1 - columns, columns)
        padded = F.pad(images, (self.padding,) * 4)
        image = torch.arange(count, device=self.device)
        return padded[image[:, None, None], :, y[:, :, None], x[:, None, :]].permute(0, 3, 1, 2)

    def step(self, images: Tensor, labels: Tensor, lr: float) -> Tensor:
        """One step on a batch of float images (N, C, H, W) and labels (N,); its mean loss, on the device."""
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        forward = self.compiled if len(images) == self.recipe.batch_size else self.model
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            logits = forward(images)
        loss = F.cross_entropy(logits.float(), labels)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()  # or they would take memory during the next forward pass
        return loss.detach()

    @torch.no_grad()
    def error_pct(self, pixels: Tensor, labels: Tensor, batch_size: int = 512) -> float:
        """Top-1 error in percent on uint8 images (N, C, H, W) with labels (N,), all on the device."""
        self.model.eval()
        wrong = torch.zeros((), dtype=torch.int64, device=self.device)
        for images, truth in zip(pixels.split(batch_size), labels.split(batch_size), strict=True):
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
                logits = self.model(self.normalised(images).contiguous(memory_format=torch.channels_last))
            wrong += (logits.argmax(1) != truth).sum()
        return 100 * int(wrong) / len(labels)
