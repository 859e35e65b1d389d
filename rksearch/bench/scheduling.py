"""Overhead of scheduling: a run on real Ray whose trials only sleep; busy share of the slots, growth of the driver.

Ray Tune keeps every trial of a run until the run ends. What a trial reported is dropped when it has ended
(`rksearch.search.ray.tune.forget`); that leaves Tune's own bookkeeping and our record of the trial, in all 10 to 13
KiB a trial with no epochs (measured over 1,000 trials with Ray 2.60; 50 KiB without dropping).
"""

from __future__ import annotations

import json
import math
import resource
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rksearch.errors import RunError
from rksearch.recipes.shipped import recipe
from rksearch.results.codec import to_plain
from rksearch.results.history import History
from rksearch.results.ledger import Ledger
from rksearch.results.records import Epoch, TrialResult, TrialSpec
from rksearch.results.run_dir import RunDir
from rksearch.search.ray.cluster import run_tasks
from rksearch.search.reservations import cpus_here
from rksearch.search.resources import Resources
from rksearch.search.run_state import RunState
from rksearch.search.tasks import Phase, Remaining, Task
from rksearch.search.view import Silent
from rksearch.training.execution import Execution
from rksearch.training.pulse import OnPart, unobserved

WARM_UP = 0.3
"""Share of the trials before the growth of the driver is measured: by then workers have started."""

FEWEST = 200
"""Minimum number of trials from which growth is measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulingOverhead:
    """Busy share of the slots, and growth of the driver.

    Attributes:
        slots: trials at a time.
        trials: number of trials.
        trial_s: seconds that each slept.
        span_s: seconds from the first start to the last end.
        busy_pct: sleeping time of all trials, in percent of the slots' time in that span.
        longest_gap_s: the longest time between the end of a trial and the next start of one.
        driver_kib_per_trial: resident memory of the driver against finished trials, the slope of a straight line after
            the first `WARM_UP` of them; None with fewer than `FEWEST` trials.
    """

    slots: int
    trials: int
    trial_s: float
    span_s: float
    busy_pct: float
    longest_gap_s: float
    driver_kib_per_trial: float | None


def sleep_run(directory: Path, *, trials: int, trial_s: float, slots: int) -> SchedulingOverhead:
    """Run trials that only sleep on a Ray of this machine.

    Args:
        directory: scratch, new or empty; it keeps a ledger of trials that trained nothing.
        trials: number of trials; a multiple of the slots, so that none is idle for lack of a trial.
        trial_s: seconds that each sleeps.
        slots: trials at a time; each takes an equal share of the machine's CPUs.

    Raises:
        RunError: the trials cannot fill the slots, or the directory is used.
    """
    if slots < 1 or trials < slots or trials % slots:
        raise RunError(f"trials must be a multiple of the slots, but got {trials} trials and {slots} slots")
    run_dir = RunDir(directory)
    if run_dir.has_ledger:
        raise RunError(f"a measurement needs a directory of its own, but {directory} holds a run; choose another one")
    run_dir.work.mkdir(parents=True, exist_ok=True)
    sleepers = _Sleepers(trials)
    state = RunState(Ledger(run_dir.path), lambda history: sleepers)
    # Ray counts CPUs in ten-thousandths; rounded down, so that all slots fit.
    share = math.floor(1e4 * cpus_here() / slots) / 1e4
    execution = Execution(work_dir=str(run_dir.work), data_dir="")
    resources = Resources(cpus_per_trial=share, gpus_per_trial=0.0)
    run_tasks(state, execution, run_dir, resources, Silent(), work=_Sleep(trial_s))
    times = [json.loads(path.read_text()) for path in run_dir.work.glob("slept-*.json")]
    growth = growth_kib(sleepers.memory_kib)
    return _overhead([(t["start"], t["end"]) for t in times], slots=slots, trial_s=trial_s, growth=growth)


def sleep_text(found: SchedulingOverhead) -> str:
    """The same for people."""
    grown = "" if found.driver_kib_per_trial is None else f"; driver: {found.driver_kib_per_trial:.1f} KiB a trial"
    return (
        f"{found.trials:,} trials on Ray that sleep {found.trial_s:g} s, {found.slots} at a time: {found.span_s:.1f} s"
        f", slots busy {found.busy_pct:.1f} %{grown}"
    )


def growth_kib(memory_kib: Mapping[int, float]) -> float | None:
    """KiB a finished trial, from resident memory at numbers of finished trials; None where these are too few."""
    last = max(memory_kib, default=0)
    if last < FEWEST - 1:
        return None
    finished = [n for n in memory_kib if n >= WARM_UP * last]
    return float(np.polyfit(finished, [memory_kib[n] for n in finished], 1)[0])


def resident_kib() -> float:
    """Resident memory of this process; where the system does not say, the most that was ever resident."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize() / 2**10
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**10


def _overhead(
    times: list[tuple[float, float]], *, slots: int, trial_s: float, growth: float | None
) -> SchedulingOverhead:
    span_s = max(end for _, end in times) - min(start for start, _ in times)
    starts = sorted(start for start, _ in times)
    ends = sorted(end for _, end in times)
    # The first trials fill the slots; each later one takes the place of one that has ended.
    gaps = [start - end for start, end in zip(starts[slots:], ends, strict=False)]
    return SchedulingOverhead(
        slots=slots,
        trials=len(times),
        trial_s=trial_s,
        span_s=span_s,
        busy_pct=100 * sum(end - start for start, end in times) / (slots * span_s),
        longest_gap_s=max(gaps, default=0.0),
        driver_kib_per_trial=growth,
    )


@dataclass(frozen=True)
class _Sleep:
    """Takes the place of a training in a worker."""

    trial_s: float

    def __call__(
        self,
        task: Task,
        execution: Execution,
        on_epoch: Callable[[TrialSpec, Epoch], None] | None = None,
        on_part: OnPart = unobserved,
    ) -> dict[str, Any]:
        start = time.time()
        time.sleep(self.trial_s)
        note = json.dumps({"start": start, "end": time.time()})
        (Path(execution.work_dir) / f"slept-{task.trial.replicate}.json").write_text(note)
        return {"results": [to_plain(TrialResult(status="paused"))]}


class _Sleepers:
    """Agenda of trials of one architecture, none of which trains.

    Attributes:
        memory_kib: the driver's resident memory when it asked for a task, by the number of finished trials.
    """

    def __init__(self, trials: int) -> None:
        whole = recipe("short")
        self._tasks = [
            Task("train", TrialSpec(arch="ResNet-8", dataset="digits", recipe=whole, replicate=i))
            for i in range(trials)
        ]
        self.memory_kib: dict[int, float] = {}

    def next(
        self, history: History, running: Mapping[str, Task], phase: Phase = "search", together: int = 1
    ) -> Task | None:
        """The next trial that has not slept yet."""
        if len(history.paused) not in self.memory_kib:
            self.memory_kib[len(history.paused)] = resident_kib()
        return next((t for t in self._tasks if t.id not in history.paused and t.id not in running), None)

    def remaining(self, history: History) -> Remaining:
        """The trials that have not slept yet."""
        left = sum(task.id not in history.paused for task in self._tasks)
        return Remaining(left, float(left))
