"""Plan of a training in limited memory: as it is, with recomputation, or refused before anything is allocated."""

from __future__ import annotations

from rksearch.arch import ArchSpec
from rksearch.arch.image import ImageShape
from rksearch.errors import TrialFailed
from rksearch.recipes.recipe import Recipe
from rksearch.results.records import MemoryPlan
from rksearch.training.engine.precision import Precision
from rksearch.training.memory.footprint import Footprint, footprint
from rksearch.training.memory.item import FLOAT_BYTES, INDEX_BYTES

MARGIN = 1.15
"""Factor on the prediction, which is within 15 percent of what torch allocates."""

DRAWN_BYTES = 3 * INDEX_BYTES + 1 + 3 * FLOAT_BYTES
"""Bytes of the random numbers of an image in an epoch: order, crop, flip and lighting."""


def plan_memory(
    spec: ArchSpec,
    data: ImageShape,
    recipe: Recipe,
    precision: Precision,
    available_bytes: int,
    *,
    eval_batch_size: int = 0,
    eval_images: int = 0,
    images: int = 0,
    streamed: bool = False,
) -> MemoryPlan:
    """Choose the fastest way to train `spec` whose predicted peak, with a margin of 15 %, is at most `available_bytes`.

    The batch is split where the recipe says so, and never to save memory alone: the statistics of batch norms would be
    those of the parts, see `rksearch.models.recompute`.

    Args:
        spec: the network.
        data: the data set.
        recipe: decides the batch size, and what optimiser, average and augmentation hold.
        precision: precision of the feature maps.
        available_bytes: memory that the trial may take.
        eval_batch_size: images evaluated at a time; 0 leaves the evaluation out.
        eval_images: number of images of an evaluation, whose classes are kept until its end.
        images: number of images to train and validate on. They stay on the device, a byte per pixel and channel.
        streamed: whether only their labels and random numbers do, and the pixels of a batch at a time.

    Raises:
        TrialFailed: of kind `does_not_fit`: not even recomputation makes it fit.
    """
    batch = min(recipe.micro_batch_size or recipe.batch_size, recipe.batch_size)
    pixels = data.channels * data.height * data.width
    if streamed:
        resident = images * (INDEX_BYTES + DRAWN_BYTES) + (recipe.batch_size + eval_batch_size) * pixels
    else:
        resident = images * (pixels + 8) + (images * pixels if recipe.randaugment else 0)
    for recompute in (False, True):
        found = footprint(spec, data, batch, precision, recompute=recompute, eval_batch_size=eval_batch_size)
        evaluation = found.evaluation_peak + INDEX_BYTES * eval_images
        beside = resident + _beside(recipe, found, pixels)
        plan = MemoryPlan(recompute=recompute, predicted_peak_bytes=max(found.step_peak, evaluation) + beside)
        if plan.predicted_peak_bytes * MARGIN <= available_bytes:
            return plan
    raise TrialFailed(
        "does_not_fit",
        f"the predicted peak must stay below the memory at hand, but {spec} needs {_mib(plan.predicted_peak_bytes)} "
        f"(and 15 % in reserve) at batch {batch} in {precision} even when activations are recomputed, and "
        f"{_mib(available_bytes)} are there; use a smaller batch, micro_batch_size or network, or fewer trials at a "
        "time",
    )


def _beside(recipe: Recipe, found: Footprint, pixels: int) -> int:
    """Bytes that terms of the recipe hold beside those of a plain training with batches of the same size."""
    held = found.momentum if recipe.optimizer == "adamw" else 0  # its second moment
    if recipe.ema:
        held += found.weights
    if 0 < recipe.micro_batch_size < recipe.batch_size:
        # The gradients of the earlier parts, and the whole batch.
        held += found.gradients + (recipe.batch_size - recipe.micro_batch_size) * (FLOAT_BYTES * pixels + INDEX_BYTES)
    return held


def _mib(count: int) -> str:
    return f"{count / 2**20:,.0f} MiB"
