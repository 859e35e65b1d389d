"""Pace of a training on this machine: the times of its steps and of its evaluation, measured on random pixels.

A few steps suffice: the time of a step does not depend on the pixels, and each step takes as long as the next. What is
measured leaves out the reading of images that are streamed, and the gain of compiled steps.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from rksearch.arch import ArchSpec
from rksearch.arch.cost import cost
from rksearch.data.batches import EVAL_BATCH_SIZE, DeviceImages
from rksearch.data.facts import Dataset
from rksearch.models import build
from rksearch.models.recompute import recompute
from rksearch.recipes.recipe import Recipe
from rksearch.results.records import ImageCounts
from rksearch.training.engine.device import free_memory_bytes, resolve_device, resolve_precision
from rksearch.training.memory import plan_memory
from rksearch.training.throughput import ImageSource
from rksearch.training.trainer import Trainer, as_trial_failure, batches_of, evaluate

ENOUGH_S = 0.1
"""Seconds of steps after which no further one is measured."""

FEWEST_STEPS = 2
"""Minimum number of measured steps, unless the first one takes longer than `LONG_S`."""

LONG_S = 2.0
"""Seconds of a first step, or evaluation, that counts itself: warming up is a small part of it."""

MOST_MACS = 10**11
"""Maximum multiply-adds of a measured forward pass on a CPU, where a part of a batch takes its share of the time."""

LEARNING_RATE = 1e-6
"""Learning rate of measured steps: random labels teach nothing, and no loss may diverge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Times of a training.

    Attributes:
        step_s: seconds of a step with a whole batch; the median.
        evaluated_image_s: seconds of an image in the evaluation.
        peak_bytes: predicted peak of memory, images included.
        recompute: whether activations are recomputed to fit in memory.
    """

    step_s: float
    evaluated_image_s: float
    peak_bytes: int
    recompute: bool

    def epoch_s(self, recipe: Recipe, images: ImageCounts) -> float:
        """Seconds of an epoch, validation included."""
        return (images.train or 0) / recipe.batch_size * self.step_s + (images.val or 0) * self.evaluated_image_s


def measure_pace(
    arch: ArchSpec,
    data: Dataset,
    recipe: Recipe,
    images: ImageCounts,
    *,
    device: str,
    precision: str,
    threads: int,
) -> Pace:
    """Train some steps and evaluate a batch; weights, random numbers and threads of this process stay as they are.

    Args:
        arch: the network.
        data: facts about the images.
        recipe: optimiser, batch size and augmentation.
        images: numbers of images, for the prediction of memory.
        device, precision: as in `rksearch.training.execution.Execution`.
        threads: CPU threads.

    Raises:
        TrialFailed: the network does not fit in memory, or cannot be built or trained.
        RksearchError: no such device or precision.
    """
    where = resolve_device(device)
    how = resolve_precision(precision, where)
    count = (images.train or 0) + (images.val or 0)
    cut = recipe.cut_to(images.train) if images.train else recipe
    plan = plan_memory(
        arch,
        data,
        cut,
        how,
        free_memory_bytes(where),
        eval_batch_size=EVAL_BATCH_SIZE,
        eval_images=images.val or 0,
        images=count,
        streamed=data.streamed,
    )
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        devices = [torch.cuda.current_device()] if where.type == "cuda" else []
        with torch.random.fork_rng(devices=devices), as_trial_failure("measuring some steps"):
            measured = _measurable(cut, data, cost(arch, data).macs if where.type == "cpu" else 0)
            batch = DeviceImages(*ImageSource(data, None, 0).take(measured.batch_size), data, where)
            model = build(arch, data)
            if plan.recompute:
                recompute(model)
            trainer = Trainer(model, batches_of(batch, data, measured, 0), None, measured, how)
            step_s = _median_s(trainer.train_pass)
            evaluated_s = _second_s(lambda: evaluate(model, batch, how, mirrored=recipe.flip_averaging))
    finally:
        torch.set_num_threads(before)
    return Pace(
        step_s=step_s * recipe.batch_size / measured.batch_size,
        evaluated_image_s=evaluated_s / measured.batch_size,
        peak_bytes=plan.predicted_peak_bytes,
        recompute=plan.recompute,
    )


def _measurable(recipe: Recipe, data: Dataset, macs: int) -> Recipe:
    """The recipe for steps that never end, with batches that `MOST_MACS` allows.

    Streamed images are augmented where they are read, which is not measured.

    Args:
        recipe: as the run states it.
        data: facts about the images.
        macs: multiply-adds of an image; 0 for no limit.
    """
    endless = replace(recipe, epochs=10**6, lr=LEARNING_RATE, warmup=0.0)
    most = max(2, MOST_MACS // macs) if macs else recipe.batch_size
    if most < recipe.batch_size:
        endless = replace(endless, batch_size=most, micro_batch_size=0)
    if not data.streamed:
        return endless
    return replace(
        endless, augment=False, augmentation="crop", translation=0, alternating_flip=False, cutout=0, randaugment=0
    )


def _median_s(step: Callable[[int], object]) -> float:
    """Median seconds of a step. The first one warms up, and counts where it alone takes long."""
    started = time.perf_counter()
    step(1)
    first_s = time.perf_counter() - started
    if first_s > LONG_S:
        return first_s
    times: list[float] = []
    while sum(times) < ENOUGH_S or len(times) < FEWEST_STEPS:
        started = time.perf_counter()
        step(len(times) + 2)
        times.append(time.perf_counter() - started)
    return sorted(times)[len(times) // 2]


def _second_s(call: Callable[[], object]) -> float:
    """Seconds of the second call; of the first, where it takes long."""
    for _ in range(2):
        started = time.perf_counter()
        call()
        taken_s = time.perf_counter() - started
        if taken_s > LONG_S:
            break
    return taken_s
