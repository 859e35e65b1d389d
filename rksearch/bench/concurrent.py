"""Summed throughput of several trainings at a time, as a run has them on a device: in processes or as one program."""

from __future__ import annotations

import multiprocessing
import queue
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from rksearch.arch import parse
from rksearch.bench.train import Settings, Source, Spread, ours
from rksearch.errors import RksearchError
from rksearch.training.engine.compiling import EAGER
from rksearch.training.engine.heap import freed_memory_kept
from rksearch.training.seed_groups import SeedGroup

STEPS = 20
"""Steps of an epoch where none are given."""

WINDOW_S = 10.0
"""How long all trainings run beside each other in one round; whole epochs are counted."""

READY_WITHIN_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """How many trainings go on at a time: so many processes, each with so many seeds as one program."""

    processes: int = 1
    seeds: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Concurrency:
    """So many trainings at a time.

    Attributes:
        name: architecture.
        processes, seeds: how many, see `Case`.
        threads: CPU threads of each process.
        images_per_s: of all together, over the rounds.
        times_one: images_per_s over that of the first case measured.
    """

    name: str
    processes: int
    seeds: int
    threads: int
    images_per_s: Spread
    times_one: float


def bench_concurrent(
    names: Sequence[str],
    cases: Sequence[Case],
    source: Source,
    settings: Settings,
    on_done: Callable[[Concurrency], None] | None = None,
    *,
    threads: int | None = None,
) -> dict[str, Any]:
    """Measure every network in every case; plain values for JSON.

    Each process has `threads` threads; without that, those of this one are divided among them, at least one for each.

    Raises:
        RksearchError: a process died, for example because memory ran out.
        SpecError: a name that cannot be parsed.
    """
    available = torch.get_num_threads()
    found: list[Concurrency] = []
    for name in [str(parse(name)) for name in names]:
        first: float | None = None
        for case in cases:
            share = threads or max(1, available // case.processes)
            rates = _rates(name, case, share, source, settings)
            spread = Spread.of(rates)
            first = first or spread.median
            found.append(
                Concurrency(
                    name=name,
                    processes=case.processes,
                    seeds=case.seeds,
                    threads=share,
                    images_per_s=spread,
                    times_one=spread.median / first,
                )
            )
            if on_done is not None:
                on_done(found[-1])
    return {
        "settings": {**asdict(settings), "device": str(settings.device), "threads": available},
        "dataset": source.data.name,
        "synthetic_images": source.synthetic,
        "concurrent": [asdict(one) for one in found],
    }


def _rates(name: str, case: Case, threads: int, source: Source, settings: Settings) -> list[float]:
    """Images a second of all trainings together, one number for each round."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(case.processes)
    told: Any = context.Queue()
    workers = [
        context.Process(target=_work, args=(name, case.seeds, threads, source, settings, barrier, told), daemon=True)
        for _ in range(case.processes)
    ]
    for worker in workers:
        worker.start()
    try:
        reports = [_report(told, workers, settings) for _ in workers]
    finally:
        for worker in workers:
            worker.terminate()
            worker.join()
    return [sum(rates) for rates in zip(*reports, strict=True)]


def _report(told: Any, workers: Sequence[Any], settings: Settings) -> list[float]:
    """What one of the processes measured."""
    give_up = time.monotonic() + READY_WITHIN_S + 3 * WINDOW_S * settings.rounds
    while time.monotonic() < give_up:
        try:
            report: list[float] = told.get(timeout=1)
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


def _work(name: str, seeds: int, threads: int, source: Source, settings: Settings, barrier: Any, told: Any) -> None:
    """Train until the window of each round is over; tells images a second per round."""
    torch.set_num_threads(threads)
    images = (settings.steps or STEPS) * settings.batch_size
    spec = parse(name)
    trainers = [ours(spec, source, replace(settings, seed=settings.seed + i), images, EAGER) for i in range(seeds)]
    trainings = SeedGroup(trainers)
    rates = []
    with freed_memory_kept(settings.device):
        trainings.prepare()
        trainings.train_pass()
        for _ in range(settings.rounds):
            barrier.wait(READY_WITHIN_S)
            start = time.perf_counter()
            epochs = 0
            while time.perf_counter() - start < WINDOW_S:
                trainings.train_pass()
                epochs += 1
            rates.append(seeds * epochs * images / (time.perf_counter() - start))
    told.put(rates)
