"""Rates at which streamed images are read, augmented and delivered, beside the rate of a training on them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle, islice

import numpy as np
import torch

from rksearch.arch import ArchSpec
from rksearch.data.augmentation import Augmentation
from rksearch.data.dataset import Dataset
from rksearch.data.pictures import Picture, PictureSource, Stored, UnreadablePicture, read_to_cover
from rksearch.data.streaming import PictureReader, Request, as_in_worker, view_seed
from rksearch.data.views import Views
from rksearch.training.engine.precision import Precision
from rksearch.training.throughput import ImageSource, Workload

WINDOW_S = 5.0
"""Seconds of each measurement."""

TRAINING_STEPS = 2
"""Steps of an epoch of the training that is measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feeding:
    """Images a second.

    Attributes:
        decode: images read (decoded, or copied from a pack), by one CPU.
        augment: images augmented after that, by one CPU.
        deliver: images that all workers together deliver, read and augmented, in batches.
        train: images that the network trains on, when they are on the device already.
        workers: number of worker processes; 0 for none beside the process itself.
    """

    decode: float
    augment: float
    deliver: float
    train: float
    workers: int

    @property
    def limit(self) -> str:
        """What limits a training with these images: `training`, or the slower of `decoding` and `augmentation`."""
        if self.deliver >= self.train:
            return "training"
        return "decoding" if self.decode <= self.augment else "augmentation"


def bench_feeding(
    arch: ArchSpec,
    dataset: Dataset,
    images: Stored,
    *,
    augmentation: Augmentation,
    batch_size: int,
    device: torch.device,
    precision: Precision,
    workers: int,
    window_s: float = WINDOW_S,
) -> Feeding:
    """Measure the rates one after another.

    Args:
        arch: the network that trains.
        dataset, images: the data set.
        augmentation: of the training images.
        batch_size: images of a batch.
        device, precision: where and how the network trains.
        workers: worker processes that read images.
        window_s: seconds of each measurement.

    Raises:
        DataError: an image cannot be read.
    """
    pictures, views = images.train, Views(augmentation, dataset, augment=True)
    # Random, so that neither the order of files nor the memory of the system flatters one kind of storage.
    order = np.random.default_rng(0).permutation(len(pictures)).tolist()
    places = cycle(order)
    with as_in_worker():
        readable = (picture for place in order if (picture := _picture(pictures, place, views.cover)) is not None)
        some = list(islice(readable, 32))
        turn = cycle(range(len(some)))
        decode = _rate(lambda: _one(_picture(pictures, next(places), views.cover)), window_s)
        augment = _rate(lambda: _one(views.train(some[next(turn)], 0)), window_s)
    reader = PictureReader(pictures, views, workers=workers, pinned=device.type == "cuda")
    try:
        coming = reader.batches(_requests(order, batch_size))
        for _ in range(max(1, 2 * workers)):  # the workers start, and fill their queues
            next(coming)
        deliver = _rate(lambda: len(next(coming).pixels), window_s)
    finally:
        reader.close()
    source = ImageSource(dataset, None, 0)
    workload = Workload(arch=arch, source=source, device=device, precision=precision, batch_size=batch_size)
    trainer = workload.trainer(TRAINING_STEPS * batch_size)
    trainer.train_pass(1)

    def epoch() -> int:
        trainer.train_pass(1)
        return TRAINING_STEPS * batch_size

    return Feeding(decode=decode, augment=augment, deliver=deliver, train=_rate(epoch, window_s), workers=workers)


def _requests(order: list[int], batch_size: int) -> Iterator[list[Request]]:
    """Requests for batches without end."""
    places = cycle(order)
    while True:
        yield [(place, view_seed(0, place)) for place in islice(places, batch_size)]


def _picture(pictures: PictureSource, place: int, area: tuple[int, int]) -> Picture | None:
    """The picture at `place`; None where it is unreadable, or too large when it covers the area."""
    try:
        return read_to_cover(pictures, place, area)
    except UnreadablePicture:
        return None


def _one(found: object) -> int:
    """One image was made."""
    return 1


def _rate(work: Callable[[], int], window_s: float) -> float:
    """Images a second of calls that each return how many images they did."""
    work()
    start, count = time.perf_counter(), 0
    while (spent := time.perf_counter() - start) < window_s:
        count += work()
    return count / spent
