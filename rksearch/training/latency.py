"""Latency of inference: median and interquartile range, measured in a fresh process.

A process that has trained before has other threads, caches and allocator pools than one that only serves a network, so
every measurement starts a new one: `python -m rksearch.training.latency` reads its task as JSON from standard input and
writes JSON to standard output.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from rksearch.arch import FAMILIES, family_of, parse
from rksearch.arch.family import Family
from rksearch.data.facts import Dataset, dataset
from rksearch.errors import RksearchError, RunError
from rksearch.results.codec import from_plain, to_plain
from rksearch.results.processes import child_environment, own_python
from rksearch.results.records import Latency
from rksearch.training.engine.words import AUTO

BATCH_SIZES = (1, 256)

WARM_UP_S = 0.5
WARM_UPS = 3
MEASURE_S = 2.0
REPETITIONS = (20, 2000)
"""Minimum and maximum of timed repetitions; between them, as many as fit into `MEASURE_S`."""

PROCESS_LIMIT_S = 900.0


def measure_latency(
    arch: str,
    dataset_name: str,
    *,
    device: str = AUTO,
    precision: str = AUTO,
    batch_sizes: Sequence[int] = BATCH_SIZES,
    threads: int = 1,
) -> list[Latency]:
    """Time inference of a freshly initialised `arch`, one entry per batch size, in a process of its own.

    Raises:
        SpecError, DataError: a bad name.
        DeviceError: no such device or precision here.
        RunError: the process failed, for lack of memory for example, or does not know the family.
    """
    spec, data = parse(arch), dataset(dataset_name)
    require_importable([family_of(spec)])
    asked = {
        "arch": str(spec),
        "data": data.facts(),
        "device": device,
        "precision": precision,
        "batch_sizes": list(batch_sizes),
        "threads": threads,
    }
    if threads < 1 or not batch_sizes or min(batch_sizes) < 1:
        raise RunError(f"threads and batch sizes must be at least 1, but got {threads} and {list(batch_sizes)}")
    _resolve(device, precision)
    done = subprocess.run(  # noqa: S603 - this Python, with a module of ours
        own_python("-m", "rksearch.training.latency"),
        input=json.dumps(asked),
        env=child_environment(),
        capture_output=True,
        text=True,
        timeout=PROCESS_LIMIT_S,
        check=False,
    )
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise RunError(f"the latency of {arch} must be measured in a process of its own, but that failed: {reason[0]}")
    return from_plain(list[Latency], json.loads(done.stdout))


def latency_ms(found: Sequence[Latency]) -> dict[str, Latency]:
    """Measurements by batch size, as in `TrialResult.latency_ms`."""
    return {str(item.batch_size): item for item in found}


def require_importable(families: Iterable[Family]) -> None:
    """Refuse a family that only this process's program has registered: the process that measures does not know it.

    Raises:
        RunError: a family is such a one.
    """
    added = FAMILIES.added()
    unknown = [f"the family {key!r}" for key in sorted({family.key for family in families if family in added})]
    if unknown:
        raise RunError(
            "latency is measured in a process of its own, which knows what rksearch and plugins register, but "
            f"{' and '.join(unknown)} came from a program; install a plugin (an entry point of the group "
            "rksearch.plugins) that registers it, or leave latency out"
        )


def _resolve(device: str, precision: str) -> None:
    from rksearch.training.engine.device import resolve_device, resolve_precision

    resolve_precision(precision, resolve_device(device))


def _measure(asked: dict[str, Any]) -> list[Latency]:
    """Measure in this process, the fresh one."""
    import torch

    from rksearch.models import build
    from rksearch.training.engine.device import autocast, device_name, resolve_device, resolve_precision

    torch.set_num_threads(asked["threads"])
    device = resolve_device(asked["device"])
    precision = resolve_precision(asked["precision"], device)
    data = Dataset.from_facts(asked["data"])
    torch.manual_seed(0)
    model = build(parse(asked["arch"]), data).eval()
    model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    found = []
    with torch.inference_mode(), autocast(device, precision):
        for size in asked["batch_sizes"]:
            images = torch.randn(size, data.channels, data.height, data.width)
            images = images.to(device=device, memory_format=torch.channels_last)
            times_ms = _times_ms(_timer(model, images))
            low, _, high = statistics.quantiles(times_ms, n=4, method="inclusive")
            found.append(
                Latency(
                    batch_size=size,
                    median_ms=statistics.median(times_ms),
                    iqr_ms=high - low,
                    repetitions=len(times_ms),
                    device=device_name(device),
                    precision=precision,
                    threads=asked["threads"],
                )
            )
    return found


def _timer(model: Any, images: Any) -> Callable[[], float]:
    """Function that makes one pass and returns its milliseconds."""
    import torch

    def on_cpu() -> float:
        began = time.perf_counter()
        model(images)
        return 1e3 * (time.perf_counter() - began)

    def on_gpu() -> float:
        before, after = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda.synchronize(images.device)
        before.record()
        model(images)
        after.record()
        torch.cuda.synchronize(images.device)
        return float(before.elapsed_time(after))

    def on_mps() -> float:
        torch.mps.synchronize()
        began = time.perf_counter()
        model(images)
        torch.mps.synchronize()
        return 1e3 * (time.perf_counter() - began)

    return {"cuda": on_gpu, "mps": on_mps}.get(images.device.type, on_cpu)


def _times_ms(once: Callable[[], float]) -> list[float]:
    """Milliseconds of each repetition, after a warm-up in which libraries choose their algorithms and clocks rise."""
    began = time.perf_counter()
    warm_ups = 0
    while warm_ups < WARM_UPS or time.perf_counter() - began < WARM_UP_S:
        once()
        warm_ups += 1
    fewest, most = REPETITIONS
    times_ms: list[float] = []
    began = time.perf_counter()
    while len(times_ms) < fewest or (len(times_ms) < most and time.perf_counter() - began < MEASURE_S):
        times_ms.append(once())
    return times_ms


if __name__ == "__main__":
    try:
        print(json.dumps(to_plain(_measure(json.load(sys.stdin)))))
    except (RksearchError, RuntimeError, MemoryError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        sys.exit(1)
