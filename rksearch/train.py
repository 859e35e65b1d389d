"""The training loop: one network, one recipe, epoch by epoch; its whole state can be saved and restored exactly."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rksearch.batches import DeviceImages, TrainBatches
from rksearch.device import Precision
from rksearch.errors import RksearchError, TrialFailed
from rksearch.recipe import Recipe
from rksearch.records import Epoch


def seed_everything(seed: int) -> None:
    """Seed torch's global generators, from which weights are initialised (and dropout draws, where a network has any).

    The order of the data has a generator of its own, see `rksearch.batches`.
    """
    torch.manual_seed(seed)


@contextmanager
def as_trial_failure(doing: str) -> Iterator[None]:
    """Turn what goes wrong in the block into a `TrialFailed` of one line; errors raised on purpose go through.

    Args:
        doing: what the block does, for the message.

    Raises:
        TrialFailed: of kind `out_of_memory` when the device or the machine ran out of memory, else `error`.
    """
    try:
        yield
    except RksearchError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        if _is_out_of_memory(error):
            raise TrialFailed(
                "out_of_memory",
                f"out of memory while {doing} ({reason}); use a smaller batch or network, or fewer trials at a time",
            ) from error
        raise TrialFailed("error", f"{type(error).__name__} while {doing}: {reason or 'no message'}") from error


def _is_out_of_memory(error: Exception) -> bool:
    # torch's CPU allocator raises a plain RuntimeError.
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)


class Trainer:
    """A training under way: network, optimiser, data and the epochs behind it.

    Given the same start and precision it computes the same numbers on a CPU bit for bit, however often it is saved and
    restored in between.

    Args:
        model: maps float images (N, C, H, W) to logits (N, classes); it is moved to the device of the images.
        train: the training batches.
        val: the validation images, on the same device; None to train without a validation, whose numbers are NaN then.
        recipe: how to train.
        precision: of convolutions and matrix products, in training and validation alike.
    """

    def __init__(
        self, model: nn.Module, train: TrainBatches, val: DeviceImages | None, recipe: Recipe, precision: Precision
    ) -> None:
        self.device = train.images.device
        self.model = model.to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.precision = precision
        self.recipe = recipe
        self.epochs: list[Epoch] = []
        self._train = train
        self._val = val
        # Fused, because a loop over hundreds of small tensors costs a small net several percent of its time.
        self._optimizer = torch.optim.SGD(
            self.model.parameters(),
            lr=recipe.lr,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
            weight_decay=recipe.weight_decay,
            fused=True,
        )

    @property
    def done(self) -> bool:
        """Whether all epochs of the recipe have run."""
        return len(self.epochs) >= self.recipe.epochs

    def run_epoch(self) -> Epoch:
        """Train for one more epoch, then validate.

        Raises:
            TrialFailed: the loss is no longer finite, or memory ran out.
        """
        number = len(self.epochs) + 1
        with as_trial_failure(f"training epoch {number}"):
            started = time.perf_counter()
            train_loss, train_error_pct = self._pass(number)
            train_time_s = time.perf_counter() - started
            val_loss, val_error_pct = math.nan, math.nan
            if self._val is not None:
                val_loss, val_error_pct = evaluate(self.model, self._val, self.precision)
        steps = self._train.steps_per_epoch
        if self._val is not None and not math.isfinite(val_loss):
            raise self._diverged(val_loss, f"in the validation after epoch {number}", number * steps - 1)
        epoch = Epoch(
            epoch=number,
            lr=self.recipe.lr_at((number - 1) * steps, steps),
            train_loss=train_loss,
            train_error_pct=train_error_pct,
            val_loss=val_loss,
            val_error_pct=val_error_pct,
            train_time_s=train_time_s,
        )
        self.epochs.append(epoch)
        return epoch

    def _pass(self, number: int) -> tuple[float, float]:
        """Train over all batches of epoch `number`; mean loss and error in percent."""
        self.model.train()
        steps = self._train.steps_per_epoch
        losses = torch.zeros(steps, device=self.device)
        wrong = torch.zeros((), dtype=torch.int64, device=self.device)
        for i, (images, labels) in enumerate(self._train.epoch()):
            for group in self._optimizer.param_groups:
                group["lr"] = self.recipe.lr_at((number - 1) * steps + i, steps)
            with autocast(self.device, self.precision):
                logits = self.model(images)
            loss = F.cross_entropy(logits.float(), labels)
            self._optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self._optimizer.step()
            losses[i] = loss.detach()
            wrong += (logits.detach().argmax(1) != labels).sum()
        # The only time in the pass that the host waits for the device.
        step_losses = losses.tolist()
        for i, value in enumerate(step_losses):
            if not math.isfinite(value):
                raise self._diverged(value, f"at step {i + 1} of {steps} of epoch {number}", (number - 1) * steps + i)
        count = len(self._train.images)
        sizes = [stop - start for start, stop in self._train.bounds]
        mean_loss = math.fsum(value * size for value, size in zip(step_losses, sizes, strict=True)) / count
        return mean_loss, 100 * int(wrong) / count

    def _diverged(self, loss: float, where: str, step: int) -> TrialFailed:
        lr = self.recipe.lr_at(step, self._train.steps_per_epoch)
        return TrialFailed(
            "non_finite_loss",
            f"the loss must stay finite, but became {loss} {where} (learning rate {lr:.3g}, of recipe "
            f"{self.recipe.name} with lr {self.recipe.lr:g}); use a lower lr",
        )

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next epoch depends on: plain values and tensors, see `load_state_dict`."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "generator": self._train.generator.get_state(),
            "torch_generator": torch.get_rng_state(),
            "epochs": [asdict(epoch) for epoch in self.epochs],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`. After an exception the trainer is in no defined state.

        Raises:
            KeyError, TypeError, ValueError, RuntimeError: the state belongs to another network or was not written by
                `state_dict`.
        """
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._train.generator.set_state(state["generator"])
        torch.set_rng_state(state["torch_generator"])
        self.epochs = [Epoch(**epoch) for epoch in state["epochs"]]


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """The context in which a network of float32 weights computes in `precision`."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def evaluate(model: nn.Module, images: DeviceImages, precision: Precision) -> tuple[float, float]:
    """Mean cross-entropy and top-1 error in percent over all images, in eval mode (in which the model is left)."""
    model.eval()
    total = torch.zeros((), dtype=torch.float64, device=images.device)
    wrong = torch.zeros((), dtype=torch.int64, device=images.device)
    with torch.no_grad(), autocast(images.device, precision):
        for batch, labels in images.batches():
            logits: Tensor = model(batch).float()
            total += F.cross_entropy(logits, labels, reduction="sum").double()
            wrong += (logits.argmax(1) != labels).sum()
    return float(total) / len(images), 100 * int(wrong) / len(images)
