"""What scheduling costs: a run whose trials only sleep, on real Ray, and the share of time in which slots were busy."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from rksearch.errors import RunError
from rksearch.ledger import History, Ledger
from rksearch.recipe import recipe
from rksearch.records import Epoch, Execution, TrialResult, TrialSpec
from rksearch.run_dir import RunDir
from rksearch.search.cluster import perform_all
from rksearch.search.resources import Resources
from rksearch.search.run_state import RunState
from rksearch.search.tasks import Phase, Remaining, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Overhead:
    """How busy the slots were.

    Attributes:
        slots: trials at a time.
        trials: how many there were.
        trial_s: for how long each slept, in seconds.
        span_s: seconds from the first start to the last end.
        busy_pct: sleeping time of all trials, in percent of the slots' time in that span.
        longest_gap_s: the longest time between the end of a trial and the next start of one.
    """

    slots: int
    trials: int
    trial_s: float
    span_s: float
    busy_pct: float
    longest_gap_s: float

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def sleep_run(directory: Path, *, trials: int, trial_s: float, slots: int, console: Console) -> Overhead:
    """Let Ray, started on this machine, perform trials that only sleep.

    Args:
        directory: scratch, new or empty; it is left behind with a ledger of trials that trained nothing.
        trials: how many; a multiple of the slots, so that none is idle for want of a trial.
        trial_s: for how long each sleeps, in seconds.
        slots: how many at a time; each takes an equal share of the machine's CPUs.
        console: where to show progress.

    Raises:
        RunError: the trials cannot fill the slots, or the directory is used.
    """
    if slots < 1 or trials < slots or trials % slots:
        raise RunError(f"trials must be a multiple of the slots, but got {trials} trials and {slots} slots")
    run_dir = RunDir(directory)
    if run_dir.has_ledger:
        raise RunError(f"a measurement needs a directory of its own, but {directory} holds a run; choose another one")
    run_dir.work.mkdir(parents=True, exist_ok=True)
    state = RunState(Ledger(run_dir.path), lambda history: _Sleepers(trials), None)
    # Ray counts CPUs in ten-thousandths; rounded down, so that all slots fit.
    share = math.floor(1e4 * (os.cpu_count() or 1) / slots) / 1e4
    execution = Execution(work_dir=str(run_dir.work), data_dir="")
    resources = Resources(cpus_per_trial=share, gpus_per_trial=0.0)
    perform_all(state, execution, run_dir, resources, console, work=_Sleep(trial_s))
    times = [json.loads(path.read_text()) for path in run_dir.work.glob("slept-*.json")]
    return _overhead([(t["start"], t["end"]) for t in times], slots=slots, trial_s=trial_s)


def _overhead(times: list[tuple[float, float]], *, slots: int, trial_s: float) -> Overhead:
    span_s = max(end for _, end in times) - min(start for start, _ in times)
    starts = sorted(start for start, _ in times)
    ends = sorted(end for _, end in times)
    # The first trials fill the slots; each later one takes the place of one that has ended.
    gaps = [start - end for start, end in zip(starts[slots:], ends, strict=False)]
    return Overhead(
        slots=slots,
        trials=len(times),
        trial_s=trial_s,
        span_s=span_s,
        busy_pct=100 * sum(end - start for start, end in times) / (slots * span_s),
        longest_gap_s=max(gaps, default=0.0),
    )


@dataclass(frozen=True)
class _Sleep:
    """Takes the place of a training in a worker."""

    trial_s: float

    def __call__(
        self, task: Task, execution: Execution, on_epoch: Callable[[Epoch], None] | None = None
    ) -> dict[str, Any]:
        start = time.time()
        time.sleep(self.trial_s)
        note = json.dumps({"start": start, "end": time.time()})
        (Path(execution.work_dir) / f"slept-{task.trial.replicate}.json").write_text(note)
        return {"result": TrialResult(status="paused").to_json()}


class _Sleepers:
    """So many trials of one architecture, none of which trains."""

    def __init__(self, trials: int) -> None:
        whole = recipe("short")
        self._tasks = [
            Task("train", TrialSpec(arch="ResNet-8", dataset="digits", recipe=whole, replicate=i))
            for i in range(trials)
        ]

    def next(self, history: History, running: Mapping[str, Task], phase: Phase = "search") -> Task | None:
        """The next one that has not slept yet."""
        return next((t for t in self._tasks if t.id not in history.paused and t.id not in running), None)

    def remaining(self, history: History) -> Remaining:
        """Those that have not slept yet."""
        left = sum(task.id not in history.paused for task in self._tasks)
        return Remaining(left, float(left))
