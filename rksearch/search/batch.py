"""Facts that a batch system (SLURM) states about the job that a process belongs to."""

from __future__ import annotations

import math
import os

MARGIN_S = 180.0
"""Seconds before the end of a job at which its session pauses: for the last epochs, and for the records and report."""


def job_pauses_at_s() -> float | None:
    """Time (seconds since 1970) at which a session pauses because its job ends soon after; None outside of a job."""
    value = os.environ.get("SLURM_JOB_END_TIME", "")
    return float(value) - MARGIN_S if "SLURM_JOB_ID" in os.environ and value.isdecimal() else None


def job_cpus() -> float:
    """CPUs of this machine that the job may use; infinite outside of a job, or where it does not say."""
    if "SLURM_JOB_ID" in os.environ:
        for name in ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"):
            value = os.environ.get(name, "")
            if value.isdecimal() and int(value) > 0:
                return int(value)
    return math.inf
