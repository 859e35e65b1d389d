"""Settings of measurements of training, and how their figures spread."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch

from rksearch.arch import ArchSpec
from rksearch.bench.roofline import synchronise
from rksearch.errors import DeviceError
from rksearch.training.engine.compiling import missing_compiler
from rksearch.training.engine.precision import Precision
from rksearch.training.throughput import ImageSource, Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchSettings:
    """Settings of a measurement.

    Attributes:
        device, precision: of our side and of the tuned loop; the plain loop computes in float32.
        batch_size: images in a step.
        rounds: number of turns of every contestant.
        steps: timed steps of a turn.
        workers: processes of the plain loop's data loader.
        compiled: whether ours and the tuned loop are also measured compiled.
        cpu_time: whether to measure the processor time of this process instead of wall time: on a CPU that others use
            too it varies far less, and with one thread, which never waits for another, it is as honest.
        seed: of weights and random images.
    """

    device: torch.device
    precision: Precision
    batch_size: int = 64
    rounds: int = 60
    steps: int = 4
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


def require_compiler(settings: BenchSettings) -> None:
    """Make sure that what is to be compiled can be.

    Raises:
        DeviceError: it cannot.
    """
    lacking = missing_compiler(settings.device) if settings.compiled else None
    if lacking:
        raise DeviceError(f"compiling was asked for, but {lacking}; install what is missing or leave compiling out")


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
