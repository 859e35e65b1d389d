"""Training throughput: a plain loop and ours side by side in one process, in alternated rounds.

A machine that others use changes its speed from minute to minute, so a round runs every contestant once, and only the
ratios within a round are compared.
"""

from __future__ import annotations

import functools
import itertools
import logging
import math
import os
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch

from rksearch.arch import ArchSpec, parse
from rksearch.arch.cost import cost
from rksearch.arch.layout import Layout, layout
from rksearch.bench.allocation import allocated_peak, held_bytes, largest_map_bytes
from rksearch.bench.plain import PlainLoop
from rksearch.bench.roofline import Ceilings, measure_ceilings, roofline, synchronise
from rksearch.bench.usual import as_usually_written
from rksearch.data.batches import TrainBatches
from rksearch.errors import DeviceError
from rksearch.models import build
from rksearch.training.engine.compiling import Choice, missing_compiler
from rksearch.training.engine.heap import freed_memory_kept, let_go_as_usual
from rksearch.training.engine.precision import Precision
from rksearch.training.memory import footprint
from rksearch.training.throughput import LEARNING_RATE, ImageSource, Workload
from rksearch.training.trainer import Trainer, seed_everything

logger = logging.getLogger(__name__)

NAMES = ("RKNet-BC-k8-m2_4_6-1x2s_1x1_1x1", "DenseNet-BC-100-k12", "ResNet-20")
"""A narrow RKNet of 19 million multiply-adds, the paper's yardstick, and the smallest ResNet for CIFAR."""

ROUND_S = 3.0
"""Approximate duration of the plain loop in a round, where the number of steps is not given."""

MOST_STEPS = 200

MEMORY_STEPS = 2
"""Steps in which the memory is measured: the second one finds all that the first one leaves."""


Contestant = PlainLoop | Trainer


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchSettings:
    """Settings of a measurement.

    Attributes:
        device, precision: of our side; the plain loop computes in float32.
        batch_size: images in a step.
        rounds: number of runs of every contestant.
        steps: steps of a contestant in a round; None for as many as the plain loop takes in a few seconds.
        workers: processes of the plain loop's data loader.
        compiled: whether ours is also measured compiled.
        cpu_time: whether to measure the processor time of this process instead of wall time: on a CPU that others use
            too it varies far less, and with one thread, which never waits for another, it is as honest.
        seed: of weights and random images.
    """

    device: torch.device
    precision: Precision
    batch_size: int = 64
    rounds: int = 5
    steps: int | None = None
    workers: int = 0
    compiled: bool = False
    cpu_time: bool = False
    seed: int = 0

    def now_s(self) -> float:
        """Seconds on the chosen clock, after the device has finished all its work."""
        synchronise(self.device)
        return time.process_time() if self.cpu_time else time.perf_counter()

    def workload(self, arch: ArchSpec, source: ImageSource) -> Workload:
        """Training steps of one network, to be measured."""
        return Workload(
            arch=arch,
            source=source,
            device=self.device,
            precision=self.precision,
            batch_size=self.batch_size,
            seed=self.seed,
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON, with the threads of this process."""
        return {**asdict(self), "device": str(self.device), "threads": torch.get_num_threads()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Median, lowest and highest over the rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Spread of the rounds' values."""
        return cls(median=statistics.median(values), low=min(values), high=max(values))


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """Measurements of one contestant.

    Attributes:
        images_per_s: throughput of training.
        times_plain: throughput over that of the plain loop in the same round; 1 for the plain loop itself.
        prepare_s: seconds of compiling and recording before the first step, which no other figure contains.
        peak_mem_bytes: most that weights, gradients, momenta and a training step take at a time, as torch counts it,
            without the resident images. On a GPU: of the steps before a graph is recorded, which then keeps it.
        share_of_bound: the roofline's time of a step over the median time of a step.
    """

    images_per_s: Spread
    times_plain: Spread
    prepare_s: float
    peak_mem_bytes: int
    share_of_bound: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkBench:
    """Measurements of one network.

    Attributes:
        name: canonical name of the architecture.
        params, macs: of the network, see `rksearch.arch.cost`.
        steps: steps of a contestant in a round.
        sides: `plain`, `ours` and, if asked for, `compiled`.
        predicted_mem_bytes: peak of `ours` that `rksearch.training.memory` predicts.
        pipeline_images_per_s: throughput of the data pipelines alone, `plain` and `ours`.
        roofline: bounds on a step.
        pays_from_images: number of images from which on compiling pays; None where it was not measured or never pays.
    """

    name: str
    params: int
    macs: int
    steps: int
    sides: dict[str, Side]
    predicted_mem_bytes: int
    pipeline_images_per_s: dict[str, Spread]
    roofline: dict[str, float]
    pays_from_images: int | None


def bench_train(
    names: tuple[str, ...],
    source: ImageSource,
    settings: BenchSettings,
    on_done: Callable[[NetworkBench], None] | None = None,
) -> dict[str, Any]:
    """Measure every network; plain values for JSON.

    Args:
        names: architectures.
        source: the images.
        settings: settings of the measurement.
        on_done: called with each network's figures as soon as they are known.

    Raises:
        DeviceError: `settings.compiled` where nothing can be compiled.
        SpecError: a name that cannot be parsed.
    """
    specs = [parse(name) for name in names]
    lacking = missing_compiler(settings.device) if settings.compiled else None
    if lacking:
        raise DeviceError(f"compiling was asked for, but {lacking}; install what is missing or leave compiling out")
    ceilings = measure_ceilings(settings.device, settings.precision, settings.now_s)
    found = []
    with cold_compiler():
        for spec in specs:
            found.append(bench_network(spec, source, settings, ceilings))
            if on_done is not None:
                on_done(found[-1])
    return {
        "settings": settings.to_json(),
        "dataset": source.data.name,
        "synthetic_images": source.synthetic,
        "ceilings": asdict(ceilings),
        "networks": [asdict(bench) for bench in found],
    }


@contextmanager
def cold_compiler() -> Iterator[None]:
    """Give the compiler an empty cache, so that nothing shortens compiling; it is removed afterwards."""
    before = os.environ.get("TORCHINDUCTOR_CACHE_DIR")
    with tempfile.TemporaryDirectory(prefix="rksearch-", ignore_cleanup_errors=True) as directory:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = directory
        try:
            yield
        finally:
            del os.environ["TORCHINDUCTOR_CACHE_DIR"]
            if before is not None:
                os.environ["TORCHINDUCTOR_CACHE_DIR"] = before


def bench_network(spec: ArchSpec, source: ImageSource, settings: BenchSettings, ceilings: Ceilings) -> NetworkBench:
    """Measure one network in alternated rounds."""
    net = layout(spec, source.data)
    steps = settings.steps or _plain_steps(spec, source, settings)
    images = steps * settings.batch_size
    loop = plain(spec, source, settings, images)
    workload = settings.workload(spec, source)
    contestants: dict[str, Contestant] = {"plain": loop, "ours": workload.trainer(images)}
    if settings.compiled:
        choice = Choice(compiled=True, reason="measured")
        contestants["compiled"] = workload.trainer(images, choice)
    rounds: dict[str, list[float]] = {name: [] for name in contestants}
    memory: dict[str, int] = {}
    for name, contestant in contestants.items():
        memory[name] = _peak_bytes(contestant, settings.device)
        _train(contestant)  # the first round of each chooses algorithms and fills caches
        logger.info("%s: %s is warm", spec, name)
    for _ in range(settings.rounds):
        for name, contestant in contestants.items():
            rounds[name].append(_round_s(contestant, net, settings))
    bound = roofline(net, settings.batch_size, ceilings)
    sides = {
        name: Side(
            images_per_s=Spread.of([images / t for t in rounds[name]]),
            times_plain=Spread.of([p / t for p, t in zip(rounds["plain"], rounds[name], strict=True)]),
            prepare_s=contestant.prepare_time_s if isinstance(contestant, Trainer) else 0.0,
            peak_mem_bytes=memory[name],
            share_of_bound=bound.bound_s * steps / statistics.median(rounds[name]),
        )
        for name, contestant in contestants.items()
    }
    counts = cost(spec, source.data)
    return NetworkBench(
        name=str(spec),
        params=counts.params,
        macs=counts.macs,
        steps=steps,
        sides=sides,
        predicted_mem_bytes=footprint(spec, source.data, settings.batch_size, settings.precision).step_peak,
        pipeline_images_per_s=_pipelines(loop, workload.batches(images), settings),
        roofline=asdict(bound),
        pays_from_images=_pays_from(sides),
    )


def _plain_steps(spec: ArchSpec, source: ImageSource, settings: BenchSettings) -> int:
    """Steps that the plain loop takes in `ROUND_S`, estimated from two steps."""
    loop = plain(spec, source, settings, 2 * settings.batch_size)
    loop.epoch()
    return min(MOST_STEPS, max(3, math.ceil(2 * ROUND_S / _epoch_s(loop.epoch, settings))))


def plain(spec: ArchSpec, source: ImageSource, settings: BenchSettings, images: int) -> PlainLoop:
    """The plain loop, over `images` images an epoch."""
    seed_everything(settings.seed)
    pixels, labels = source.take(images)
    model = as_usually_written(build(spec, source.data))
    return PlainLoop(
        model, pixels, labels, source.data, settings.workload(spec, source).recipe(), settings.device, settings.workers
    )


def _train(contestant: Contestant) -> None:
    """Train for one epoch."""
    if isinstance(contestant, PlainLoop):
        contestant.epoch()
    else:
        contestant.train_pass(1)


def _take_steps(contestant: Contestant, count: int) -> None:
    """Take the first `count` steps of an epoch."""
    if isinstance(contestant, PlainLoop):
        for images, labels in itertools.islice(contestant.batches(), count):
            contestant.step(images, labels, LEARNING_RATE)
    else:
        contestant.begin_epoch(1)
        contestant.take_steps(count)


def _round_s(contestant: Contestant, net: Layout, settings: BenchSettings) -> float:
    """Seconds of an epoch in the middle of a training: after a step, with caches and memory as that leaves them."""
    with ExitStack() as stack:
        if isinstance(contestant, Trainer):
            stack.enter_context(freed_memory_kept(settings.device))
        else:
            # As in a process of its own, with the defaults of the C library.
            let_go_as_usual(largest_map_bytes(net, settings.batch_size))
        _take_steps(contestant, 1)
        return _epoch_s(functools.partial(_train, contestant), settings)


def _peak_bytes(contestant: Contestant, device: torch.device) -> int:
    """Prepare a contestant and take its first steps; the most bytes that these needed."""

    def begin() -> None:
        if isinstance(contestant, Trainer):
            contestant.prepare()
        _take_steps(contestant, MEMORY_STEPS)

    if device.type == "cpu" and isinstance(contestant, Trainer):
        contestant.prepare()  # or the compiler would be counted too; on a GPU, replayed steps allocate nothing more
    return held_bytes(contestant.model, contestant.optimizer) + allocated_peak(begin, device)


def _epoch_s(epoch: Callable[[], object], settings: BenchSettings) -> float:
    start = settings.now_s()
    epoch()
    return settings.now_s() - start


def _pipelines(loop: PlainLoop, batches: TrainBatches, settings: BenchSettings) -> dict[str, Spread]:
    """Images a second that each data pipeline delivers when nothing is trained."""
    sources: dict[str, Callable[[], Iterator[Any]]] = {"plain": loop.batches, "ours": batches.epoch}
    rates: dict[str, list[float]] = {}
    for _ in range(settings.rounds):
        for name, deliver in sources.items():
            rates.setdefault(name, []).append(
                len(batches.images) / _epoch_s(functools.partial(_exhaust, deliver), settings)
            )
    return {name: Spread.of(values) for name, values in rates.items()}


def _exhaust(deliver: Callable[[], Iterator[Any]]) -> None:
    deque(deliver(), maxlen=0)


def _pays_from(sides: dict[str, Side]) -> int | None:
    """Number of images from which on compiling pays; None where it saves nothing."""
    if "compiled" not in sides:
        return None
    ours, compiled = sides["ours"], sides["compiled"]
    saved_s = 1 / ours.images_per_s.median - 1 / compiled.images_per_s.median
    return math.ceil((compiled.prepare_s - ours.prepare_s) / saved_s) if saved_s > 0 else None
