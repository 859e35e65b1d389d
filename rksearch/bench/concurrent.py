"""Summed throughput of several trainings at a time, as a run has them on a device: in processes or as one program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from rksearch.arch import parse
from rksearch.bench.settings import BenchSettings, Spread
from rksearch.training.throughput import Arrangement, ImageSource, images_per_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Concurrency:
    """Throughput of a number of trainings at a time.

    Attributes:
        name: architecture.
        processes, seeds: how many, see `rksearch.training.throughput.Arrangement`.
        threads: CPU threads of each process.
        images_per_s: of all together, over the rounds.
        times_one: images_per_s over that of the first arrangement measured.
    """

    name: str
    processes: int
    seeds: int
    threads: int
    images_per_s: Spread
    times_one: float


def bench_concurrent(
    names: Sequence[str],
    arrangements: Sequence[Arrangement],
    source: ImageSource,
    settings: BenchSettings,
    on_done: Callable[[Concurrency], None] | None = None,
) -> dict[str, Any]:
    """Measure every network in every arrangement; plain values for JSON.

    The threads of this process are divided among the processes, at least one for each.

    Raises:
        RksearchError: a process died, for example because memory ran out.
        SpecError: a name that cannot be parsed.
    """
    available = torch.get_num_threads()
    found: list[Concurrency] = []
    for spec in [parse(name) for name in names]:
        workload = settings.workload(spec, source)
        first: float | None = None
        for arrangement in arrangements:
            threads = max(1, available // arrangement.processes)
            rates = images_per_s(workload, arrangement, threads=threads, rounds=settings.rounds, steps=settings.steps)
            spread = Spread.of(rates)
            first = first or spread.median
            found.append(
                Concurrency(
                    name=str(spec),
                    processes=arrangement.processes,
                    seeds=arrangement.seeds,
                    threads=threads,
                    images_per_s=spread,
                    times_one=spread.median / first,
                )
            )
            if on_done is not None:
                on_done(found[-1])
    return {
        "settings": settings.to_json(),
        "dataset": source.data.name,
        "synthetic_images": source.synthetic,
        "concurrent": [asdict(one) for one in found],
    }
