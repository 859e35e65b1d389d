"""Training step as a function of tensors that never move.

Everything that differs from step to step (images, crops, learning rate) is read from such tensors at a position that
the step itself advances. The host only repeats the step, as a CUDA graph requires, and never waits for the device
within an epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from rksearch.data.augmentation import mixed
from rksearch.data.batches import EpochDraws, TrainBatches, batch_bounds
from rksearch.recipes.recipe import Recipe
from rksearch.training.engine.average import Average
from rksearch.training.engine.device import autocast
from rksearch.training.engine.optimizer import optimizer_of
from rksearch.training.engine.precision import Precision

Forward = Callable[[Tensor], Tensor]
"""Float images (N, C, H, W) to logits (N, classes)."""


class TrainStep:
    """Augmentation, forward, loss, backward, optimiser and metrics of one batch.

    Args:
        model: the network, on the device of the images.
        batches: the training images and their augmentation.
        recipe: optimiser, loss, clipping, averaging and micro-batches; the learning rates of an epoch are given to
            `begin`.
        precision: of convolutions and matrix products.

    Attributes:
        model: as given.
        device: device of the images.
        sizes: number of images in every batch of an epoch.
        losses: mean loss of every step of the epoch, (steps,).
        wrong: number of misclassified images of the epoch so far; with mixup, by the label of the larger share.
        average: moving average of the weights; None where the recipe has none.
    """

    def __init__(self, model: nn.Module, batches: TrainBatches, recipe: Recipe, precision: Precision) -> None:
        device, steps = batches.images.device, batches.steps_per_epoch
        self.model, self.device, self.sizes = model, device, [stop - start for start, stop in batches.bounds]
        self._batches, self._precision = batches, precision
        # A fused optimiser reads the rate from memory: the host's number on a CPU (float64), a float32 on a GPU.
        self._rate = torch.zeros((), dtype=torch.float64 if device.type == "cpu" else torch.float32, device=device)
        self.optimizer = optimizer_of(model, recipe)
        self._read_rate()
        self.average = Average(model, recipe.ema) if recipe.ema else None
        self._recipe, self._loss = recipe, nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
        self._rates = torch.zeros(steps, dtype=self._rate.dtype, device=device)
        self._draws = batches.blank()
        self._offsets = torch.arange(max(self.sizes), device=device)
        self._image = torch.zeros(1, dtype=torch.int64, device=device)
        self._step = torch.zeros(1, dtype=torch.int64, device=device)
        self.losses = torch.zeros(steps, device=device)
        self.wrong = torch.zeros((), dtype=torch.int64, device=device)

    def begin(self, draws: EpochDraws, rates: Sequence[float]) -> None:
        """Start an epoch with these random numbers and the learning rate of every step."""
        self._batches.begin(draws)
        self._draws.copy_(draws)
        self._rates.copy_(torch.tensor(rates, dtype=self._rates.dtype))
        self.losses.zero_()
        self.wrong.zero_()
        self.rewind()

    def rewind(self) -> None:
        """Return to the first batch of the epoch."""
        self._image.zero_()
        self._step.zero_()

    def take(self, size: int, forward: Forward) -> None:
        """Train on the next `size` images; `forward` is the model, or the model compiled."""
        self._rate.copy_(self._rates.index_select(0, self._step).squeeze(0))
        images, labels = self._batches.at(self._image + self._offsets[:size], self._draws)
        share = None
        others = labels
        if self._draws.share is not None:
            share = self._draws.share.index_select(0, self._step)
            images, others = mixed(images, share), labels.roll(1, 0)
        loss = self._backward(images, labels, others, share, forward)
        if self._recipe.clip_grad_norm:
            clip_grad_norm_(self.model.parameters(), self._recipe.clip_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()  # frees their memory for the next forward pass, or an evaluation
        if self.average is not None:
            self.average.update()
        self.losses.index_copy_(0, self._step, loss.unsqueeze(0))
        self._image.add_(size)
        self._step.add_(1)

    def _backward(
        self, images: Tensor, labels: Tensor, others: Tensor, share: Tensor | None, forward: Forward
    ) -> Tensor:
        """Sum the gradients of a batch, micro-batch by micro-batch; returns the mean loss.

        Args:
            images, labels: the batch.
            others: labels of the images that are mixed into them.
            share: weight of `labels`, (1,); None without mixup.
            forward: the model.
        """
        size, total = len(labels), None
        bounds = batch_bounds(size, self._recipe.micro_batch_size or size)
        for start, stop in bounds:
            part = (images, labels, others)
            if len(bounds) > 1:
                part = (images[start:stop], labels[start:stop], others[start:stop])
            with autocast(self.device, self._precision):
                logits = forward(part[0]).float()
            loss = self._loss(logits, part[1])
            target = part[1]
            if share is not None:
                loss = (share * loss + (1 - share) * self._loss(logits, part[2])).squeeze(0)
                target = torch.where(share >= 0.5, part[1], part[2])
            if len(bounds) > 1:
                loss = loss * ((stop - start) / size)
            loss.backward()
            self.wrong.add_((logits.detach().argmax(1) != target).sum())
            total = loss.detach() if total is None else total + loss.detach()
        assert total is not None
        return total

    def tensors(self) -> Iterator[Tensor]:
        """Yield all tensors that a step changes and the next one reads."""
        yield from self.model.parameters()
        yield from self.model.buffers()
        for state in self.optimizer.state.values():
            yield from (value for value in state.values() if isinstance(value, Tensor))
        if self.average is not None:
            yield from self.average.tensors()
        yield from (self._rate, self._image, self._step, self.losses, self.wrong)

    def load_optimizer(self, state: dict[str, object]) -> None:
        """Load a saved state of the optimiser, without its learning rate, which `begin` sets."""
        self.optimizer.load_state_dict(state)
        self._read_rate()

    def _read_rate(self) -> None:
        """Let the optimiser read its learning rate from the tensor that a step writes, and be recorded on a GPU."""
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate
            if "capturable" in group:  # AdamW; a state may come from another kind of device
                group["capturable"] = self.device.type == "cuda"
