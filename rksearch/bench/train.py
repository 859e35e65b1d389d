"""Training throughput: a plain loop, a tuned loop and ours side by side, in short alternated turns.

The plain loop is what most people write, the tuned loop what a good engineer writes with the same library: see
`rksearch.bench.plain` and `rksearch.bench.tuned`. What ours gains over the first is mostly the known recipe; what it
gains over the second is its own.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from rksearch.arch import ArchSpec, parse
from rksearch.arch.cost import cost
from rksearch.arch.layout import layout
from rksearch.bench.contestants import Participant
from rksearch.bench.ratios import Ratio, speed_up
from rksearch.bench.roofline import Ceilings, measure_ceilings, roofline
from rksearch.bench.settings import BenchSettings, Spread, require_compiler
from rksearch.bench.turns import Turns, play
from rksearch.training.memory import footprint
from rksearch.training.throughput import ImageSource

NAMES = ("RKNet-BC-k8-m2_4_6-1x2s_1x1_1x1", "DenseNet-BC-100-k12", "ResNet-20")
"""A narrow RKNet of 19 million multiply-adds, the paper's yardstick, and the smallest ResNet for CIFAR."""

YARDSTICKS = {
    "plain": "torchvision transforms, DataLoader, float32, channels first",
    "tuned": "images resident and augmented as tensors, autocast as ours, channels last, foreach SGD",
}
"""The loops that ours is compared to; both train the network as it is usually written."""

DELIVERIES = 5
"""How often each data pipeline is measured alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """Measurements of one contestant.

    Attributes:
        images_per_s: throughput of training; `high` belongs to the shortest turn.
        times_plain: how many times faster than the plain loop; 1 for the plain loop itself.
        times_tuned: how many times faster than the tuned loop, which is compiled where this contestant is.
        prepare_s: seconds of compiling and recording before the first step, which no other figure contains.
        peak_mem_bytes: see `rksearch.bench.contestants.Prepared`.
        share_of_bound: the roofline's time of a step over the median time of a step.
        turns_s: seconds of each turn.
    """

    images_per_s: Spread
    times_plain: Ratio
    times_tuned: Ratio
    prepare_s: float
    peak_mem_bytes: int
    share_of_bound: float
    turns_s: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkBench:
    """Measurements of one network.

    Attributes:
        name: canonical name of the architecture.
        params, macs: of the network, see `rksearch.arch.cost`.
        steps: timed steps of a turn.
        sides: `plain`, `tuned`, `ours` and, if asked for, `tuned compiled` and `ours compiled`.
        predicted_mem_bytes: peak of `ours` that `rksearch.training.memory` predicts.
        pipeline_images_per_s: throughput of the data pipelines alone, of the three eager sides.
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
        RksearchError: a contestant failed.
        SpecError: a name that cannot be parsed.
    """
    specs = [parse(name) for name in names]
    require_compiler(settings)
    ceilings = measure_ceilings(settings.device, settings.precision, settings.now_s)
    found = []
    for spec in specs:
        found.append(bench_network(spec, source, settings, ceilings))
        if on_done is not None:
            on_done(found[-1])
    return {
        "settings": settings.to_json(),
        "dataset": source.data.name,
        "synthetic_images": source.synthetic,
        "yardsticks": YARDSTICKS,
        "ceilings": asdict(ceilings),
        "networks": [asdict(bench) for bench in found],
    }


def bench_network(spec: ArchSpec, source: ImageSource, settings: BenchSettings, ceilings: Ceilings) -> NetworkBench:
    """Measure one network in alternated turns."""
    played = play(_participants(spec, source, settings), rounds=settings.rounds, deliveries=DELIVERIES)
    images = settings.steps * settings.batch_size
    bound_s = roofline(layout(spec, source.data), settings.batch_size, ceilings)
    counts = cost(spec, source.data)
    sides = {name: _side(name, played, images, bound_s.bound_s * settings.steps) for name in played.turns_s}
    return NetworkBench(
        name=str(spec),
        params=counts.params,
        macs=counts.macs,
        steps=settings.steps,
        sides=sides,
        predicted_mem_bytes=footprint(spec, source.data, settings.batch_size, settings.precision).step_peak,
        pipeline_images_per_s={
            name: Spread.of([images / t for t in played.deliveries_s[name]]) for name in ("plain", "tuned", "ours")
        },
        roofline=asdict(bound_s),
        pays_from_images=_pays_from(sides),
    )


def _participants(spec: ArchSpec, source: ImageSource, settings: BenchSettings) -> dict[str, Participant]:
    """The contestants by name."""
    here = ImageSource(source.data, source.take(settings.steps * settings.batch_size), settings.seed)
    participant = partial(Participant, arch=spec, source=here, settings=settings)
    found = {"plain": participant(way="plain"), "tuned": participant(way="tuned"), "ours": participant(way="ours")}
    if settings.compiled:
        found["tuned compiled"] = participant(way="tuned", compiled=True, cold=True)
        found["ours compiled"] = participant(way="ours", compiled=True, cold=True)
    return found


def _side(name: str, played: Turns, images: int, bound_s: float) -> Side:
    """Figures of a contestant; the roofline's time of a turn is `bound_s`."""
    times = played.turns_s[name]
    tuned = "tuned compiled" if name.endswith("compiled") else "tuned"
    return Side(
        images_per_s=Spread.of([images / t for t in times]),
        times_plain=speed_up(played.turns_s["plain"], times),
        times_tuned=speed_up(played.turns_s[tuned], times),
        prepare_s=played.prepared[name].prepare_s,
        peak_mem_bytes=played.prepared[name].peak_mem_bytes,
        share_of_bound=bound_s / statistics.median(times),
        turns_s=tuple(times),
    )


def _pays_from(sides: dict[str, Side]) -> int | None:
    """Number of images from which on compiling ours pays; None where it saves nothing or was not measured."""
    if "ours compiled" not in sides:
        return None
    ours, compiled = sides["ours"], sides["ours compiled"]
    saved_s = 1 / ours.images_per_s.median - 1 / compiled.images_per_s.median
    return math.ceil((compiled.prepare_s - ours.prepare_s) / saved_s) if saved_s > 0 else None
