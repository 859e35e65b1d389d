"""Training step as a function of tensors that never move.

Everything that differs from step to step (images, crops, learning rate) is read from such tensors at a position that
the step itself advances. The host only repeats the step, as a CUDA graph requires, and never waits for the device
within an epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rksearch.data.batches import EpochDraws, TrainBatches
from rksearch.recipes.recipe import Recipe
from rksearch.training.engine.device import autocast
from rksearch.training.engine.precision import Precision

Forward = Callable[[Tensor], Tensor]
"""Float images (N, C, H, W) to logits (N, classes)."""


class TrainStep:
    """Augmentation, forward, loss, backward, optimiser and metrics of one batch.

    Args:
        model: the network, on the device of the images.
        batches: the training images and their augmentation.
        recipe: momentum, Nesterov and weight decay; the learning rates of an epoch are given to `begin`.
        precision: of convolutions and matrix products.

    Attributes:
        model: as given.
        device: device of the images.
        sizes: number of images in every batch of an epoch.
        losses: mean loss of every step of the epoch, (steps,).
        wrong: number of misclassified images of the epoch so far.
    """

    def __init__(self, model: nn.Module, batches: TrainBatches, recipe: Recipe, precision: Precision) -> None:
        device, count, steps = batches.images.device, len(batches.images), batches.steps_per_epoch
        self.model, self.device, self.sizes = model, device, [stop - start for start, stop in batches.bounds]
        self._batches, self._precision = batches, precision
        # A fused optimiser reads the rate from memory: the host's number on a CPU (float64), a float32 on a GPU.
        self._rate = torch.zeros((), dtype=torch.float64 if device.type == "cpu" else torch.float32, device=device)
        # Fused, because a loop over hundreds of small tensors costs a small net several percent of its time.
        self.optimizer = torch.optim.SGD(
            model.parameters(),
            lr=recipe.lr,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
            weight_decay=recipe.weight_decay,
            fused=True,
        )
        self._read_rate()
        if recipe.momentum:
            # The optimiser would create them in its first step; a recorded step must find them in place.
            for parameter in model.parameters():
                self.optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        self._rates = torch.zeros(steps, dtype=self._rate.dtype, device=device)
        self._draws = EpochDraws(
            order=torch.zeros(count, dtype=torch.int64, device=device),
            dy=torch.zeros(count, dtype=torch.int64, device=device),
            dx=torch.zeros(count, dtype=torch.int64, device=device),
            flip=torch.zeros(count, dtype=torch.bool, device=device),
        )
        self._offsets = torch.arange(max(self.sizes), device=device)
        self._image = torch.zeros(1, dtype=torch.int64, device=device)
        self._step = torch.zeros(1, dtype=torch.int64, device=device)
        self.losses = torch.zeros(steps, device=device)
        self.wrong = torch.zeros((), dtype=torch.int64, device=device)

    def begin(self, draws: EpochDraws, rates: Sequence[float]) -> None:
        """Start an epoch with these random numbers and the learning rate of every step."""
        for mine, new in (
            (self._draws.order, draws.order),
            (self._draws.dy, draws.dy),
            (self._draws.dx, draws.dx),
            (self._draws.flip, draws.flip),
            (self._rates, torch.tensor(rates, dtype=self._rates.dtype)),
        ):
            mine.copy_(new)
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
        with autocast(self.device, self._precision):
            logits = forward(images)
        loss = F.cross_entropy(logits.float(), labels)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()  # frees their memory for the next forward pass, or an evaluation
        self.losses.index_copy_(0, self._step, loss.detach().unsqueeze(0))
        self.wrong.add_((logits.detach().argmax(1) != labels).sum())
        self._image.add_(size)
        self._step.add_(1)

    def tensors(self) -> Iterator[Tensor]:
        """Yield all tensors that a step changes and the next one reads."""
        yield from self.model.parameters()
        yield from self.model.buffers()
        for state in self.optimizer.state.values():
            yield from (value for value in state.values() if isinstance(value, Tensor))
        yield from (self._rate, self._image, self._step, self.losses, self.wrong)

    def load_optimizer(self, state: dict[str, object]) -> None:
        """Load a saved state of the optimiser, without its learning rate, which `begin` sets."""
        self.optimizer.load_state_dict(state)
        self._read_rate()

    def _read_rate(self) -> None:
        """Let the optimiser read its learning rate from the tensor that a step writes."""
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate
