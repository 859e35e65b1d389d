"""Latency of inference: median and interquartile range, measured in a fresh process.

A process that has trained before has other threads, caches and allocator pools than one that only serves a network, so
every measurement starts a new one: `python -m rksearch.training.latency` reads its task as JSON from standard input and
writes JSON to standard output.
"""

from __future__ import annotations

import json
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from rksearch.arch import FAMILIES, family_of, parse
from rksearch.arch.family import Family
from rksearch.data.facts import Dataset, dataset
from rksearch.errors import RksearchError, RunError, TrialFailed, is_short_of_memory
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

FEWEST_SLOW = 5
"""Minimum where passes are so slow that `REPETITIONS` would not end in time."""

PROCESS_LIMIT_S = 900.0
"""Seconds that a measurement may take, the start of its process and all batch sizes included."""

TIMED_SHARE = 0.5
"""Share of that limit in which slow passes are repeated; warm-ups and the start of the process have the rest."""

OUT_OF_MEMORY = 3
"""Exit code of the process that measures where memory ran out."""

ASKED_TO_END = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
"""Signals by which a user or a batch system ends all processes of a run: they say nothing of a network."""


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
        RunError: the process failed for another reason than the network, or does not know the family.
        TrialFailed: the network took too long, crashed the process or (of kind `out_of_memory`) had too little memory.
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
    try:
        done = subprocess.run(  # noqa: S603 - this Python, with a module of ours
            own_python("-m", "rksearch.training.latency"),
            input=json.dumps(asked),
            env=child_environment(),
            capture_output=True,
            text=True,
            timeout=PROCESS_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise TrialFailed(
            "error",
            f"the latency of {arch} must be measured within {PROCESS_LIMIT_S:g} s, but passes of "
            f"{' and '.join(map(str, batch_sizes))} images take longer; measure a smaller network or smaller batches, "
            "give more threads, or leave latency out",
        ) from error
    if done.returncode:
        raise _failure(arch, done.returncode, done.stderr)
    return from_plain(list[Latency], json.loads(done.stdout))


def _failure(arch: str, code: int, errors: str) -> RksearchError:
    """The error for a process that ended with a code (a negative one: by that signal) and what it wrote."""
    died = f"signal {-code} ended it" if code < 0 else f"exit code {code}"
    reason = (errors.strip().splitlines()[-1:] or [died])[0] if code > 0 else died
    rule = f"the latency of {arch} must be measured in a process of its own, but that failed: {reason}"
    # The system ends a process by SIGKILL when memory runs out.
    if code in (OUT_OF_MEMORY, -signal.SIGKILL):
        return TrialFailed(
            "out_of_memory",
            f"{rule}; it needs memory beside the training's: use a smaller network, fewer trials at a time, or leave "
            "latency out",
        )
    if code < 0 and -code not in ASKED_TO_END:
        return TrialFailed("error", f"{rule}; measure another network, or leave latency out")
    failed = RunError(rule)
    failed.exit_code = 1
    return failed


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
            times_ms = _times_ms(_timer(model, images), TIMED_SHARE * PROCESS_LIMIT_S / len(asked["batch_sizes"]))
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


def _times_ms(once: Callable[[], float], slow_s: float) -> list[float]:
    """Milliseconds of each repetition, after a warm-up in which libraries choose their algorithms and clocks rise.

    Args:
        once: makes one pass.
        slow_s: seconds after which there are fewer repetitions than the usual minimum.
    """
    began = time.perf_counter()
    warm_ups = 0
    while warm_ups < WARM_UPS or time.perf_counter() - began < WARM_UP_S:
        once()
        warm_ups += 1
    fewest, most = REPETITIONS
    times_ms: list[float] = []
    began = time.perf_counter()
    while len(times_ms) < most:
        passed_s = time.perf_counter() - began
        enough = FEWEST_SLOW if passed_s >= slow_s else fewest
        if len(times_ms) >= enough and passed_s >= MEASURE_S:
            break
        times_ms.append(once())
    return times_ms


def _main() -> int:
    """Measure what standard input asks; returns the exit code."""
    try:
        print(json.dumps(to_plain(_measure(json.load(sys.stdin)))))
    except (RksearchError, RuntimeError, MemoryError, OSError, ImportError) as error:
        print(" ".join(str(error).split()) or type(error).__name__, file=sys.stderr)
        return OUT_OF_MEMORY if _is_out_of_memory(error) else 1
    return 0


def _is_out_of_memory(error: Exception) -> bool:
    if is_short_of_memory(error):
        return True  # for torch itself, it may be
    from rksearch.training.engine.device import is_out_of_memory

    return is_out_of_memory(error)


if __name__ == "__main__":
    sys.exit(_main())
