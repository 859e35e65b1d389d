"""Execution of a trial: where it runs and with what resources.

Imports no torch: the driver, which starts no training itself, writes and sends these values.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rksearch.results.files import file_name
from rksearch.training.engine.words import AUTO


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """Where and with what resources a trial runs. Changes its speed and, by rounding alone, its numbers.

    Attributes:
        work_dir: absolute path of the directory that holds one directory per trial (checkpoints, logs).
        data_dir: where data sets lie or are downloaded to.
        device: `auto` (CUDA where there is one), `cpu` or `cuda`.
        precision: `auto` (bf16 autocast where the device computes it natively), `fp32` or `bf16`. NVIDIA GPUs from
            Ampere on compute the convolutions of `fp32` in TF32, by torch's default.
        threads: CPU threads of this trial.
        compile: `auto` (where that is expected to save more time than it costs, see
            `rksearch.training.engine.compiling`), `on` or `off`. A resumed trial stays as it began.
        download: whether a missing data set may be downloaded.
        latency: whether to measure the time of inference, before the last epoch.
        deadline_s: time (seconds since 1970) after which no further epoch begins; None for no end.
        memory_bytes: most memory that the trial (or those that are trained as one program) may take; None for its
            share, as far as that is free at its start.
        memory_share: share of the device's memory, GPU or machine, that the trials beside it leave.
        fingerprint: SHA-256 of the images, for a data set of the user's own: a training that began with others is
            refused. None not to compare.
        storage: URI or absolute path of the directory in which checkpoints are mirrored; None to keep them in
            `work_dir` alone.
    """

    work_dir: str
    data_dir: str
    device: str = AUTO
    precision: str = AUTO
    threads: int = 1
    compile: str = AUTO
    download: bool = True
    latency: bool = False
    deadline_s: float | None = None
    memory_bytes: int | None = None
    memory_share: float = 1.0
    storage: str | None = None
    fingerprint: str | None = None


def trial_dir(work_dir: Path, trial_id: str) -> Path:
    """Directory of a trial's checkpoints, notes and errors."""
    return _trials(work_dir) / file_name(trial_id)


def trial_dirs(work_dir: Path) -> list[Path]:
    """Directories of all trials that have begun."""
    try:
        return list(_trials(work_dir).iterdir())
    except OSError:  # none has, or the first to begin will say what is wrong
        return []


def _trials(work_dir: Path) -> Path:
    return work_dir / "trials"
