"""Reservations of tasks on a machine or cluster, and the number of tasks that fit at once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rksearch.errors import RunError
from rksearch.limits import cpu_quota
from rksearch.results.environment import own_cpus
from rksearch.search.batch import job_cpus
from rksearch.search.resources import Resources
from rksearch.search.tasks import Task

Machine = Mapping[str, float]
"""What one machine offers by Ray's names: `CPU`, `GPU`, and `memory` in bytes."""


def machines_of(nodes: Iterable[Mapping[str, Any]]) -> list[Machine]:
    """The machines among the nodes that Ray lists, without those that have died."""
    return [node["Resources"] for node in nodes if node["Alive"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservations:
    """CPUs (`cpu`), GPUs (`gpu`) and bytes (`memory`) of tasks; a slot is the reservation of one usual trial.

    Attributes:
        trial: reservation of a usual trial.
        whole: reservation of a trial that shares its device with no other: a whole GPU, or all CPUs of the largest
            machine.
        largest: number of usual trials that fit on the machine that holds most of them.
        limit: largest number of trials at a time, whatever fits; None without one.
    """

    trial: Mapping[str, float]
    whole: Mapping[str, float]
    largest: int = 1
    limit: int | None = None

    @classmethod
    def on(cls, machines: Iterable[Machine], resources: Resources, *, memory_bytes: int = 0) -> Reservations:
        """The reservations that the resources state, on these machines.

        Args:
            machines: see `machines_of`.
            resources: what the user gives to a trial.
            memory_bytes: memory of the machine that a usual trial takes; 0 not to reserve any.

        Raises:
            RunError: a trial would take more than a machine has.
        """
        machines = list(machines)
        gpus = resources.gpus_per_trial
        if gpus is None:
            gpus = 1.0 if has_gpu(machines, resources) else 0.0
        trial = {"cpu": resources.cpus_per_trial, "gpu": gpus}
        for kind, amount in trial.items():
            _require_machine(kind, amount, most=_most(machines, kind))
        fitting = [there for there in machines if _fit(there, trial)]
        if not fitting:
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
        if memory_bytes:
            # A trial that takes more than any machine has is tried all the same: alone on the one with most.
            trial["memory"] = min(float(memory_bytes), _most(fitting, "memory"))
        whole = {**trial, "gpu": max(1.0, gpus)} if gpus else {**trial, "cpu": _most(fitting, "cpu")}
        return cls(
            trial=trial,
            whole=whole,
            largest=max(_fit(there, trial) for there in fitting) or 1,
            limit=resources.max_concurrent,
        )

    def of(self, task: Task) -> dict[str, float]:
        """What a task reserves.

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
        """Share of the device's memory that a task may use; on a CPU the share of the machine that holds most trials.

        Trials of one machine together stay below its memory, then.
        """
        mine = self.of(task)
        return min(1.0, mine["gpu"] or self.slots_of(task) / self.largest)

    def slots(self, machines: Iterable[Machine]) -> int:
        """Number of usual trials that fit at once, at least one: a sum over machines, since each runs on one of them.

        On a machine it is the least of what its CPUs, the shares of its GPUs and its memory hold.
        """
        most = sum(_fit(there, self.trial) for there in machines)
        return max(1, most if self.limit is None else min(most, self.limit))

    def text(self, machines: Iterable[Machine]) -> str:
        """`Trials at a time: 48 (1 CPU and 0.15 GPUs each; machines: 64 CPUs, 8 GPUs)`."""
        machines = list(machines)
        each = [f"{self.trial['cpu']:g} CPU{'s' if self.trial['cpu'] != 1 else ''}"]
        if self.trial["gpu"]:
            each.append(f"{self.trial['gpu']:g} GPU{'s' if self.trial['gpu'] != 1 else ''}")
        if self.trial.get("memory"):
            each.append(f"about {self.trial['memory'] / 1e9:.1f} GB")
        there = "; ".join(_machine_text(machine) for machine in machines if _fit(machine, self.trial))
        limited = f", limited by --max-concurrent {self.limit}" if self.limit == self.slots(machines) else ""
        return f"Trials at a time: {self.slots(machines)}{limited} ({' and '.join(each)} each; there: {there})"


def _machine_text(machine: Machine) -> str:
    parts = [f"{machine.get('CPU', 0):g} CPUs"]
    if machine.get("GPU"):
        parts.append(f"{machine['GPU']:g} GPUs")
    if machine.get("memory"):
        parts.append(f"{machine['memory'] / 1e9:.1f} GB")
    return ", ".join(parts)


def require_here(resources: Resources) -> None:
    """Make sure that this machine has the CPUs and the GPUs of a trial, before Ray is started on it.

    Raises:
        RunError: it has fewer.
    """
    _require_machine("cpu", resources.cpus_per_trial, most=float(cpus_here()))
    if resources.gpus_per_trial:
        import torch  # takes seconds, which a run with a GPU has anyway

        _require_machine("gpu", resources.gpus_per_trial, most=float(torch.cuda.device_count()))


def gpus_of_a_trial_here(resources: Resources) -> float:
    """GPUs that a trial reserves on this machine; where its share is yet to be measured, a whole one."""
    if resources.gpus_per_trial is not None:
        return resources.gpus_per_trial
    if resources.device == "cpu":
        return 0.0
    import torch

    return min(1.0, float(torch.cuda.device_count()))


def cpus_here() -> int:
    """Number of CPUs that this process may use: those of its affinity, its control group and its batch job."""
    # Of a fraction nothing is given away: two trials on one and a half CPUs would wait for each other.
    return max(1, math.floor(min(own_cpus(), cpu_quota(), job_cpus())))


def _require_machine(kind: str, amount: float, *, most: float) -> None:
    if amount > most:
        raise RunError(
            f"a trial runs on one machine and can have at most what the largest has, but --{kind}s-per-trial is "
            f"{amount:g} and the largest has {most:g}; give {f'{most:g} or less' if most else 0}"
        )


def _most(machines: Iterable[Machine], kind: str) -> float:
    return max((_there(machine, kind) for machine in machines), default=0.0)


def _there(machine: Machine, kind: str) -> float:
    # Memory is the only resource whose name in Ray is not in capitals.
    return machine.get("memory" if kind == "memory" else kind.upper(), 0.0)


def _fit(machine: Machine, trial: Mapping[str, float]) -> int:
    """Number of trials that fit on a machine."""
    return min(_times(kind, amount, _there(machine, kind)) for kind, amount in trial.items() if amount)


def _times(kind: str, amount: float, there: float) -> int:
    """Number of times that an amount fits; a share of a GPU lies on one GPU, and what is left of each is lost."""
    if kind == "gpu":
        return int(there) * int(1.0 / amount + 1e-6)
    # In floating point 0.3 / 0.1 is less than 3.
    return int(there / amount + 1e-6)


def has_gpu(machines: Iterable[Machine], resources: Resources) -> bool:
    """Whether there is a GPU that trials may use."""
    return resources.device != "cpu" and any(machine.get("GPU", 0) >= 1 for machine in machines)
