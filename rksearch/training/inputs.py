"""Inputs of trainings that their seeds share: data, device, compilation, and each training's part of the memory."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path

import torch

from rksearch.arch import ArchSpec, draws_random_numbers, parse
from rksearch.arch.cost import Cost, cost, executed_macs
from rksearch.arch.layout import layout
from rksearch.data.batches import EVAL_BATCH_SIZE, DeviceImages, TrainImages, batch_bounds, full_batch_images
from rksearch.data.dataset import Images, Loader
from rksearch.data.facts import Dataset, dataset
from rksearch.data.images import Split, load_data, split
from rksearch.data.pictures import PictureSource, Stored
from rksearch.data.streaming import PictureReader, StreamedImages, worker_count
from rksearch.data.views import Views
from rksearch.errors import TrialFailed
from rksearch.recipes.recipe import Recipe
from rksearch.results.records import ImageCounts, MemoryPlan, TrialResult, TrialSpec
from rksearch.training.engine.compiling import Choice, choose
from rksearch.training.engine.device import device_name, free_memory_bytes, resolve_device, resolve_precision
from rksearch.training.engine.precision import Precision
from rksearch.training.execution import Execution
from rksearch.training.memory import plan_memory
from rksearch.training.trainer import as_trial_failure, augmentation_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SharedInputs:
    """Inputs of all trainings of one architecture, whatever their seed.

    Attributes:
        arch, facts, counts: the network, the data set, and the network's cost.
        device, precision: where and how it is trained.
        images, parts: all images, in memory or to be streamed, and those that are for training and for validation.
        choice: whether the training steps are compiled.
    """

    arch: ArchSpec
    facts: Dataset
    counts: Cost
    device: torch.device
    precision: Precision
    images: Images | Stored
    parts: Split
    choice: Choice

    @classmethod
    def load(cls, spec: TrialSpec, execution: Execution) -> SharedInputs:
        """Inputs of a trial and of all that differ from it in their seed.

        Raises:
            RksearchError: a bad name, no data, no such device.
        """
        arch, facts = parse(spec.arch), dataset(spec.dataset)
        counts = cost(arch, facts)
        device = resolve_device(execution.device)
        precision = resolve_precision(execution.precision, device)
        images, parts = _images_of(spec, execution)
        bounds = batch_bounds(len(parts.train), spec.recipe.batch_size)
        choice = choose(
            execution.compile,
            layout(arch, facts),
            device,
            images=spec.recipe.epochs * full_batch_images(bounds),
            threads=execution.threads,
        )
        return cls(
            arch=arch,
            facts=facts,
            counts=counts,
            device=device,
            precision=precision,
            images=images,
            parts=parts,
            choice=choice,
        )

    def result(self, threads: int) -> TrialResult:
        """Result of a training that has not begun: counts, device and images."""
        return TrialResult(
            status="paused",
            **self.counts._asdict(),
            executed_macs=executed_macs(self.arch, self.facts),
            device=device_name(self.device),
            precision=self.precision,
            threads=threads,
            images=ImageCounts(train=len(self.parts.train), val=len(self.parts.val)),
            split=self.parts.digest[:16],
        )

    def plan(self, recipe: Recipe, available_bytes: int) -> MemoryPlan:
        """Plan of a training in this memory.

        Raises:
            TrialFailed: of kind `does_not_fit`.
        """
        test = self.images.test if isinstance(self.images, Stored) else self.images.test_images
        evaluated = max(len(self.parts.val), len(test))
        return plan_memory(
            self.arch,
            self.facts,
            recipe.cut_to(len(self.parts.train)),
            self.precision,
            available_bytes,
            eval_batch_size=min(EVAL_BATCH_SIZE, evaluated),
            eval_images=evaluated,
            images=len(self.parts.train) + len(self.parts.val),
            streamed=isinstance(self.images, Stored),
        )


class GroupInputs:
    """Inputs of trainings that run at the same time: images on the device, and an equal share of the memory for each.

    Args:
        shared: inputs of all of them.
        recipe: that of all of them.
        execution: says how much memory they may take.
        count: number of trainings; 1 where the images are streamed.
    """

    def __init__(self, shared: SharedInputs, recipe: Recipe, execution: Execution, count: int) -> None:
        self.shared, self._recipe, self._threads = shared, recipe, execution.threads
        self._reader: PictureReader | None = None
        self._bytes_of_each = _available_bytes(execution, shared.device) // count

    @cached_property
    def images(self) -> tuple[TrainImages, TrainImages | None]:
        """Images to train and to validate on, on the device or streamed to it; None where none are left to validate on.

        Raises:
            TrialFailed: there is no memory for them.
        """
        shared, images = self.shared, self.shared.images
        train: TrainImages
        val: TrainImages
        with as_trial_failure("moving the images to the device"):
            if isinstance(images, Stored):
                largest = max(stop - start for start, stop in self._bounds)
                reader = self._reader = picture_reader(
                    images.train, shared.facts, self._recipe, shared.device, self._threads
                )
                train = StreamedImages(reader, shared.parts.train, shared.facts, shared.device, batch_size=largest)
                val = StreamedImages(reader, shared.parts.val, shared.facts, shared.device)
            else:
                train, val = (
                    DeviceImages(images.train_images[part], images.train_labels[part], shared.facts, shared.device)
                    for part in (shared.parts.train, shared.parts.val)
                )
        return train, val if len(val) else None

    @property
    def _bounds(self) -> list[tuple[int, int]]:
        return batch_bounds(len(self.shared.parts.train), self._recipe.batch_size)

    def close(self) -> None:
        """End the processes that read images."""
        if self._reader is not None:
            self._reader.close()

    def plan(self, recipe: Recipe) -> MemoryPlan:
        """Plan of one training in its share of the memory; see `SharedInputs.plan`."""
        return self.shared.plan(recipe, self._bytes_of_each)


def picture_reader(
    pictures: PictureSource, facts: Dataset, recipe: Recipe, device: torch.device, threads: int
) -> PictureReader:
    """A reader of pictures as a recipe wants them, with as many workers as a training with `threads` CPUs has."""
    return PictureReader(
        pictures,
        Views(augmentation_of(recipe), facts, augment=recipe.augment),
        workers=worker_count(threads, device),
        pinned=device.type == "cuda",
    )


def largest_group(inputs: SharedInputs, specs: Sequence[TrialSpec], execution: Execution) -> int:
    """Number of seeds that may be trained as one program: with room for all, and with the numbers of each alone.

    All, or half of them, or half of these, down to one. Trainings whose images are streamed run alone: each reads its
    own.
    """
    alone = draws_random_numbers(inputs.arch) or isinstance(inputs.images, Stored)
    count = 1 if alone else len(specs)
    available_bytes = _available_bytes(execution, inputs.device)
    while count > 1:
        try:
            if not inputs.plan(specs[0].recipe, available_bytes // count).recompute:
                break
        except TrialFailed as failure:
            logger.info("%d seeds of %s do not fit together: %s", count, specs[0].arch, failure)
        count = (count + 1) // 2
    return count


def _available_bytes(execution: Execution, device: torch.device) -> int:
    if execution.memory_bytes is not None:
        return execution.memory_bytes
    return free_memory_bytes(device, share=execution.memory_share)


def images_in_epoch(spec: TrialSpec, execution: Execution) -> int:
    """Number of images that a training sees in an epoch; known at once in the process that trains.

    Raises:
        DataError: the images are missing or damaged.
    """
    if spec.train_images is not None and spec.role != "final":
        return spec.train_images
    _, parts = _images_of(spec, execution)
    return len(parts.train)


def _images_of(spec: TrialSpec, execution: Execution) -> tuple[Images | Stored, Split]:
    """Images of a training, and which of them it trains on and validates on."""
    facts = dataset(spec.dataset)
    images, parts = _loaded(facts, facts.load, execution.data_dir, execution.download, spec.train_images)
    if spec.role == "final":  # it has no validation: all images are to train on
        parts = replace(parts, train=torch.cat([parts.train, parts.val]), val=parts.val[:0])
    return images, parts


@lru_cache(maxsize=1)
def _loaded(
    facts: Dataset, load: Loader | None, data_dir: str, download: bool, train_images: int | None
) -> tuple[Images | Stored, Split]:
    """Images of a data set and their split; a worker reads and hashes them once for all its trials.

    Two data sets with equal facts are equal, so the loader belongs to the key.
    """
    images = load_data(facts, Path(data_dir), download=download)
    return images, split(facts, images, train_images)
