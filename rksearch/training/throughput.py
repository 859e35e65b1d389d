"""Throughput of trainings that run at the same time, in processes of their own or as one program.

Trainings are real ones, on images that are repeated or random: the time of a step does not depend on the pixels.
"""

from __future__ import annotations

import multiprocessing
import queue
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from multiprocessing.process import BaseProcess
from typing import Any

import torch
from torch import Tensor

from rksearch.arch import ArchSpec
from rksearch.data.batches import DeviceImages, TrainBatches
from rksearch.data.facts import Dataset
from rksearch.errors import RksearchError
from rksearch.models import build
from rksearch.recipes.recipe import Recipe
from rksearch.training.engine.compiling import EAGER, Choice
from rksearch.training.engine.heap import freed_memory_kept
from rksearch.training.engine.precision import Precision
from rksearch.training.engine.programs import Recorder
from rksearch.training.seed_groups import SeedGroup
from rksearch.training.trainer import Trainer, seed_everything

LEARNING_RATE = 0.01

STEPS = 20
"""Steps of an epoch where none are given."""

WINDOW_S = 10.0
"""Seconds for which all trainings run in one round; whole epochs are counted."""

READY_WITHIN_S = 600.0


class ImageSource:
    """Images for a measurement: real ones, or random pixels, which take the same time.

    Args:
        data: facts about the data set.
        images: uint8 images (N, C, H, W) and labels (N,); None for random pixels.
        seed: of the random pixels.
    """

    def __init__(self, data: Dataset, images: tuple[Tensor, Tensor] | None, seed: int) -> None:
        self.data, self._images, self._seed = data, images, seed
        self.synthetic = images is None

    def take(self, count: int) -> tuple[Tensor, Tensor]:
        """uint8 images (count, C, H, W) and labels (count,); real ones are repeated where there are too few."""
        if self._images is not None:
            places = torch.arange(count) % len(self._images[1])
            return self._images[0][places], self._images[1][places]
        generator = torch.Generator().manual_seed(self._seed)
        shape = (count, self.data.channels, self.data.height, self.data.width)
        pixels = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
        return pixels, torch.randint(0, self.data.classes, (count,), generator=generator)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Training steps whose speed is measured.

    Attributes:
        arch: the network.
        source: gives the images.
        device, precision: where and how it is trained.
        batch_size: images in a step.
        seed: of the weights and of the order of the images.
    """

    arch: ArchSpec
    source: ImageSource
    device: torch.device
    precision: Precision
    batch_size: int
    seed: int = 0

    def recipe(self) -> Recipe:
        """A recipe that does not end and whose learning rate is constant."""
        return Recipe(name="bench", epochs=10**6, batch_size=self.batch_size, lr=LEARNING_RATE)

    def batches(self, images: int) -> TrainBatches:
        """Augmented batches of an epoch of `images` images."""
        train = DeviceImages(*self.source.take(images), self.source.data, self.device)
        return TrainBatches(train, self.source.data, batch_size=self.batch_size, augment=True, seed=self.seed)

    def trainer(self, images: int, choice: Choice = EAGER, record: Recorder | None = None) -> Trainer:
        """A training of `images` images an epoch, with two images to validate on.

        Args:
            images: number of images in an epoch.
            choice: whether it is compiled.
            record: see `rksearch.training.engine.programs.Programs`.
        """
        data = self.source.data
        seed_everything(self.seed)
        val = DeviceImages(*self.source.take(2), data, self.device)
        model = build(self.arch, data)
        return Trainer(model, self.batches(images), val, self.recipe(), self.precision, choice=choice, record=record)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrangement:
    """Numbers of trainings at the same time.

    Attributes:
        processes: processes that train.
        seeds: trainings in each process, as one program.
    """

    processes: int = 1
    seeds: int = 1


def images_per_s(
    workload: Workload, arrangement: Arrangement, *, threads: int, rounds: int = 1, steps: int = STEPS
) -> list[float]:
    """Images a second of all trainings together, one number for each round.

    Args:
        workload: each of the trainings, whose seeds follow the workload's.
        arrangement: how many there are.
        threads: CPU threads of each process.
        rounds: number of measurements, of `WINDOW_S` seconds each.
        steps: steps of an epoch.

    Raises:
        RksearchError: a process died, for example because memory ran out.
    """
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(arrangement.processes)
    reports: Any = context.Queue()
    workers = [
        context.Process(
            target=_work, args=(workload, arrangement.seeds, threads, rounds, steps, barrier, reports), daemon=True
        )
        for _ in range(arrangement.processes)
    ]
    for worker in workers:
        worker.start()
    try:
        rates = [_report(reports, workers, rounds) for _ in workers]
    finally:
        for worker in workers:
            worker.terminate()
            worker.join()
    return [sum(round_) for round_ in zip(*rates, strict=True)]


def _report(reports: Any, workers: Sequence[BaseProcess], rounds: int) -> list[float]:
    """Images a second per round that one of the processes measured."""
    give_up = time.monotonic() + READY_WITHIN_S + 3 * WINDOW_S * rounds
    while time.monotonic() < give_up:
        try:
            report: list[float] = reports.get(timeout=1)
        except queue.Empty:
            died = [worker.exitcode for worker in workers if worker.exitcode]
            if died:
                raise RksearchError(
                    f"every training must run to its end, but one of {len(workers)} at a time ended with exit code "
                    f"{died[0]}; see its message above, or measure fewer at a time"
                ) from None
        else:
            return report
    raise RksearchError(f"{len(workers)} trainings at a time did not end in time; measure fewer at a time")


def _work(workload: Workload, seeds: int, threads: int, rounds: int, steps: int, barrier: Any, reports: Any) -> None:
    """Train until the window of each round is over; reports images a second per round."""
    torch.set_num_threads(threads)
    images = steps * workload.batch_size
    group = SeedGroup([replace(workload, seed=workload.seed + i).trainer(images) for i in range(seeds)])
    rates = []
    with freed_memory_kept(workload.device):
        group.prepare()
        group.train_pass()
        for _ in range(rounds):
            barrier.wait(READY_WITHIN_S)
            start = time.perf_counter()
            epochs = 0
            while time.perf_counter() - start < WINDOW_S:
                group.train_pass()
                epochs += 1
            rates.append(seeds * epochs * images / (time.perf_counter() - start))
    reports.put(rates)
