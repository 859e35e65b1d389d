"""Contestants of a measurement of training: a plain loop, a tuned loop and ours, each in a process of its own."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from torch import Tensor

from rksearch.arch import ArchSpec
from rksearch.bench.allocation import allocated_peak, held_bytes
from rksearch.bench.plain import PlainLoop
from rksearch.bench.settings import BenchSettings, cold_compiler
from rksearch.bench.tuned import TunedLoop
from rksearch.bench.usual import as_usually_written
from rksearch.data.batches import TrainBatches
from rksearch.models import build
from rksearch.training.engine.compiling import EAGER, Choice
from rksearch.training.engine.heap import freed_memory_kept
from rksearch.training.throughput import LEARNING_RATE, ImageSource
from rksearch.training.trainer import Trainer, seed_everything

Way = Literal["plain", "tuned", "ours"]

MEMORY_STEPS = 2
"""Steps in which the memory is measured: the second one finds all that the first one leaves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What preparing a contestant took.

    Attributes:
        prepare_s: seconds of compiling and recording; 0 in eager mode.
        peak_mem_bytes: most that weights, gradients, momenta and a training step take at a time, as torch counts it,
            without the resident images. On a GPU: of the steps before a graph is recorded, which then keeps it.
    """

    prepare_s: float
    peak_mem_bytes: int


class Contestant(Protocol):
    """A training that is measured in turns."""

    def prepare(self) -> Prepared:
        """Compile what is to be compiled and take the first steps."""

    def turn(self) -> float:
        """Seconds of an epoch in the middle of a training: after a step, with caches and memory as that leaves them."""

    def deliver(self) -> float:
        """Seconds in which the images of an epoch are delivered when nothing is trained."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Participant:
    """A contestant as a value, for its process.

    Attributes:
        way: who trains. The plain and the tuned loop train the network as it is usually written.
        arch: the network.
        source: gives the images.
        settings: settings of the measurement.
        compiled: whether the network is compiled; not for the plain loop.
        cold: whether the compiler begins with an empty cache.
    """

    way: Way
    arch: ArchSpec
    source: ImageSource
    settings: BenchSettings
    compiled: bool = False
    cold: bool = False

    @contextmanager
    def seated(self) -> Iterator[Contestant]:
        """The contestant; in the block this process computes as it does."""
        with cold_compiler() if self.cold else nullcontext():
            yield self._ours() if self.way == "ours" else _Loop(self._loop(), self.settings, compiled=self.compiled)

    @property
    def images(self) -> int:
        """Images of a turn."""
        return self.settings.steps * self.settings.batch_size

    def _loop(self) -> PlainLoop | TunedLoop:
        if self.way == "plain":
            return plain(self.arch, self.source, self.settings, self.images)
        settings = self.settings
        seed_everything(settings.seed)
        model = as_usually_written(build(self.arch, self.source.data))
        return TunedLoop(
            model,
            *self.source.take(self.images),
            self.source.data,
            settings.workload(self.arch, self.source).recipe(),
            settings.device,
            bf16=settings.precision == "bf16",
            compiled=self.compiled,
        )

    def _ours(self) -> _Ours:
        choice = Choice(compiled=True, reason="measured") if self.compiled else EAGER
        workload = self.settings.workload(self.arch, self.source)
        return _Ours(workload.trainer(self.images, choice), workload.batches(self.images), self.settings)


def plain(spec: ArchSpec, source: ImageSource, settings: BenchSettings, images: int) -> PlainLoop:
    """The plain loop, over `images` images an epoch."""
    seed_everything(settings.seed)
    pixels, labels = source.take(images)
    model = as_usually_written(build(spec, source.data))
    return PlainLoop(
        model, pixels, labels, source.data, settings.workload(spec, source).recipe(), settings.device, settings.workers
    )


class _Loop:
    """A loop that is not ours."""

    def __init__(self, loop: PlainLoop | TunedLoop, settings: BenchSettings, *, compiled: bool) -> None:
        self._loop, self._settings, self._compiled = loop, settings, compiled

    def prepare(self) -> Prepared:
        first_s = _seconds(self._steps, self._settings)  # with compiling, where that is asked for
        self._loop.optimizer.zero_grad()
        # The momenta of that step are held; its gradients are gone, and counted when they are made again.
        peak = allocated_peak(lambda: self._steps(MEMORY_STEPS), self._settings.device)
        peak += held_bytes(self._loop.model, self._loop.optimizer)
        self._loop.epoch()  # chooses algorithms and fills caches
        return Prepared(prepare_s=first_s if self._compiled else 0.0, peak_mem_bytes=peak)

    def turn(self) -> float:
        """See `Contestant.turn`.

        Workers of a data loader have the next batches of the first step's pass under way. They are read before the
        clock starts: the epoch would wait for them, and be charged with more images than it has.
        """
        left = self._steps()
        if self._settings.workers:
            _exhaust(left)
        return _seconds(self._loop.epoch, self._settings)

    def deliver(self) -> float:
        return _seconds(lambda: _exhaust(self._loop.batches()), self._settings)

    def _steps(self, count: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
        """Take the first steps of a pass; returns the rest of its batches."""
        self._loop.model.train()
        batches = self._loop.batches()
        for images, labels in itertools.islice(batches, count):
            self._loop.step(images, labels, LEARNING_RATE)
        return batches


class _Ours:
    """Our training."""

    def __init__(self, trainer: Trainer, batches: TrainBatches, settings: BenchSettings) -> None:
        self._trainer, self._batches, self._settings = trainer, batches, settings

    def prepare(self) -> Prepared:
        device = self._settings.device

        def begin() -> None:
            self._trainer.prepare()
            self._steps(MEMORY_STEPS)

        if device.type == "cpu":
            self._trainer.prepare()  # or the compiler would be counted too; on a GPU, replayed steps allocate nothing
        peak = allocated_peak(begin, device) + held_bytes(self._trainer.model, self._trainer.optimizer)
        self._trainer.train_pass(1)
        return Prepared(prepare_s=self._trainer.prepare_time_s, peak_mem_bytes=peak)

    def turn(self) -> float:
        with freed_memory_kept(self._settings.device):
            self._steps()
            return _seconds(lambda: self._trainer.train_pass(1), self._settings)

    def deliver(self) -> float:
        return _seconds(lambda: _exhaust(self._batches.epoch()), self._settings)

    def _steps(self, count: int = 1) -> None:
        self._trainer.begin_epoch(1)
        self._trainer.take_steps(count)


def _seconds(work: Callable[[], object], settings: BenchSettings) -> float:
    start = settings.now_s()
    work()
    return settings.now_s() - start


def _exhaust(batches: Iterator[tuple[Tensor, Tensor]]) -> None:
    deque[Any](batches, maxlen=0)
