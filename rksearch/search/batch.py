"""Facts that a batch system (SLURM) states about the job that a process belongs to."""

from __future__ import annotations

import math
import os

MARGIN_S = 180.0
"""Seconds before the end of a job at which its session pauses: for the last epochs, and for the records and report."""

LATEST_S = 99_999_999_999
"""Latest time (seconds since 1970) that counts as one: in the year 5138, which every calendar function knows."""

JOB, END = "SLURM_JOB_ID", "SLURM_JOB_END_TIME"
CPUS = ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE")

_MOST = {END: LATEST_S, **dict.fromkeys(CPUS, 1_000_000)}


def job_pauses_at_s() -> float | None:
    """Time (seconds since 1970) at which a session pauses because its job ends soon after; None outside of a job."""
    end = _stated(END)
    return None if end is None else end - MARGIN_S


def job_cpus() -> float:
    """CPUs of this machine that the job may use; infinite outside of a job, or where it does not say."""
    return next((cpus for cpus in map(_stated, CPUS) if cpus is not None), math.inf)


def job_notes() -> list[str]:
    """A line for each fact of the job that is unusable and not used."""
    return [
        f"{name} must be a whole number from 1 to {most:,}, but is {os.environ[name][:40]!r}: it is ignored."
        for name, most in _MOST.items()
        if JOB in os.environ and os.environ.get(name) and _stated(name) is None
    ]


def _stated(name: str) -> int | None:
    """The number that a variable of the job holds; None outside of a job, or where it is unusable."""
    value, most = os.environ.get(name, ""), _MOST[name]
    if JOB not in os.environ or not value.isdecimal() or len(value.lstrip("0")) > len(str(most)):
        return None  # Python refuses to read thousands of digits
    return int(value) if 1 <= int(value) <= most else None
