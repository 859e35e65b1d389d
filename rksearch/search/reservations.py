"""Reservations of tasks on a machine or cluster, and the number of tasks that fit at once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rksearch.errors import RunError
from rksearch.results.environment import own_cpus
from rksearch.search.resources import Resources
from rksearch.search.tasks import Task

CPU_LIMIT = Path("/sys/fs/cgroup/cpu.max")
"""CPU time of this process's control group: microseconds in a period, and the period."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservations:
    """CPUs (`cpu`) and GPUs (`gpu`) of tasks; a slot is the reservation of one usual trial.

    Attributes:
        trial: reservation of a usual trial.
        whole: reservation of a trial that shares its device with no other: a whole GPU, or all CPUs of the largest
            machine.
    """

    trial: Mapping[str, float]
    whole: Mapping[str, float]

    @classmethod
    def on(
        cls, available: Mapping[str, float], nodes: Iterable[Mapping[str, Any]], resources: Resources
    ) -> Reservations:
        """The reservations that the resources state, on the nodes that Ray lists.

        Raises:
            RunError: a trial would take more than Ray has.
        """
        gpus = resources.gpus_per_trial
        if gpus is None:
            gpus = 1.0 if has_gpu(available, resources) else 0.0
        trial = {"cpu": resources.cpus_per_trial, "gpu": gpus}
        machines = [node["Resources"] for node in nodes if node["Alive"]]
        for kind, amount in trial.items():
            _require_machine(kind, amount, most=max((there.get(kind.upper(), 0.0) for there in machines), default=0.0))
        if not any(all(there.get(kind.upper(), 0) >= amount for kind, amount in trial.items()) for there in machines):
            wanted = " and ".join(f"{amount:g} {kind.upper()}s" for kind, amount in trial.items())
            raise RunError(
                f"a trial runs on one machine of Ray's, but none has {wanted}; give less of --cpus-per-trial or "
                "--gpus-per-trial"
            )
        if resources.device == "cuda" and not gpus:
            raise RunError(
                "a trial on cuda needs a part of a GPU, but Ray has none or --gpus-per-trial is 0; use --device auto, "
                "or join a cluster with GPUs"
            )
        if gpus:
            return cls(trial=trial, whole={**trial, "gpu": max(1.0, gpus)})
        cpus = max((there.get("CPU", trial["cpu"]) for there in machines), default=trial["cpu"])
        return cls(trial=trial, whole={**trial, "cpu": cpus})

    def of(self, task: Task) -> dict[str, float]:
        """CPUs and GPUs of a task.

        Seeds that are trained together reserve the sum of their shares of a GPU, at most a whole one; on a CPU they
        take turns in the slot of one.
        """
        if task.alone:
            return dict(self.whole)
        gpu = min(len(task.each()) * self.trial["gpu"], self.whole["gpu"])
        return {**self.trial, "gpu": gpu}

    def slots_of(self, task: Task) -> int:
        """Number of slots that a task takes."""
        mine = self.of(task)
        return max(round(mine[kind] / amount) for kind, amount in self.trial.items() if amount)

    def memory_share(self, task: Task) -> float:
        """Share of the device's memory that a task may use; on a CPU the share of the largest machine."""
        mine = self.of(task)
        return min(1.0, mine["gpu"] or mine["cpu"] / self.whole["cpu"])

    def slots(self, available: Mapping[str, float]) -> int:
        """Number of usual trials that fit at once, at least one."""
        fit = [_fits(kind, amount, available.get(kind.upper(), 0)) for kind, amount in self.trial.items() if amount]
        return max(1, min(fit, default=1))


def require_cpus_here(resources: Resources) -> None:
    """Make sure that this machine has the CPUs of a trial, before Ray is started on it.

    Raises:
        RunError: it has fewer.
    """
    _require_machine("cpu", resources.cpus_per_trial, most=float(cpus_here()))


def cpus_here() -> int:
    """Number of CPUs that this process may use: those of its affinity, and no more than its control group allows."""
    return max(1, math.ceil(min(own_cpus(), _cpu_quota())))


def _cpu_quota() -> float:
    """CPUs of this process's control group (version 2); infinite where there is no limit."""
    try:
        quota, period = CPU_LIMIT.read_text(encoding="ascii").split()
        return math.inf if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf


def _require_machine(kind: str, amount: float, *, most: float) -> None:
    if amount > most:
        raise RunError(
            f"a trial runs on one machine and can have at most what the largest has, but --{kind}s-per-trial is "
            f"{amount:g} and the largest has {most:g}; give {most:g} or less"
        )


def _fits(kind: str, amount: float, there: float) -> int:
    """Number of times that an amount fits; a share of a GPU lies on one GPU, and what is left of each is lost."""
    if kind == "gpu":
        return int(there) * _times(1.0, amount)
    return _times(there, amount)


def _times(there: float, amount: float) -> int:
    # In floating point 0.3 / 0.1 is less than 3.
    return int(there / amount + 1e-6)


def has_gpu(available: Mapping[str, float], resources: Resources) -> bool:
    """Whether there is a GPU that trials may use."""
    return available.get("GPU", 0) >= 1 and resources.device != "cpu"
