"""Places for trials on the machines as they are given to this process."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rksearch.results.events import SlotsCounted
from rksearch.results.ledger import Ledger
from rksearch.search import reservations
from rksearch.search.assembly import search_agenda
from rksearch.search.batch import MARGIN_S, job_cpus, job_notes, job_pauses_at_s
from rksearch.search.ordered import OrderedRunState
from rksearch.search.ray.tune import LedgerSearcher
from rksearch.search.reservations import Reservations, cpus_here, machines_of, require_here
from rksearch.search.resources import Resources, as_before
from rksearch.search.run_state import RunState
from rksearch.search.tasks import Task
from rksearch.space import load_space
from rksearch.training.execution import Execution
from tests.helpers.command_line import TINY_SPACE, command, environment, rksearch
from tests.helpers.ledgers import plan_record, space_record
from tests.helpers.simulation import new_state, outcome, settings

GPU_NODE = {"CPU": 64.0, "GPU": 8.0}


@pytest.mark.parametrize(
    ("machines", "asked", "slots"),
    [
        ([GPU_NODE], Resources(gpus_per_trial=0.15), 48),
        ([GPU_NODE], Resources(gpus_per_trial=0.3), 24),
        ([GPU_NODE], Resources(gpus_per_trial=0.15, cpus_per_trial=2), 32),
        ([{"CPU": 3.0}, {"CPU": 3.0}], Resources(cpus_per_trial=2), 2),
        ([{"CPU": 3.0}, {"CPU": 5.0}, {"CPU": 1.0}], Resources(cpus_per_trial=2), 3),
        ([{"CPU": 1.0, "GPU": 4.0}, {"CPU": 16.0, "GPU": 1.0}], Resources(gpus_per_trial=0.25), 5),
        ([{"CPU": 0.3}], Resources(cpus_per_trial=0.1), 3),
        ([{"memory": 1e9}, {"CPU": 2.0}], Resources(), 2),
    ],
)
def test_slots_are_a_sum_over_machines_and_devices(
    machines: list[Mapping[str, float]], asked: Resources, slots: int
) -> None:
    assert Reservations.on(machines, asked).slots(machines) == slots


MACHINES = st.lists(
    st.fixed_dictionaries({"CPU": st.integers(1, 40).map(float), "GPU": st.integers(0, 4).map(float)}),
    min_size=1,
    max_size=4,
)


@given(MACHINES, st.sampled_from([0.5, 1.0, 2.0, 3.0]), st.sampled_from([0.0, 0.15, 0.25, 0.3, 0.5, 1.0]))
def test_as_many_fit_as_a_search_by_hand_finds(machines: list[dict[str, float]], cpus: float, gpus: float) -> None:
    found = Reservations(trial={"cpu": cpus, "gpu": gpus}, whole={"cpu": cpus, "gpu": gpus})
    placed = 0
    for there in machines:
        cpu_left, devices = there["CPU"], [1.0] * int(there["GPU"])
        while cpu_left >= cpus - 1e-9:
            if gpus:
                free = next((i for i, left in enumerate(devices) if left >= gpus - 1e-9), None)
                if free is None:
                    break
                devices[free] -= gpus
            cpu_left -= cpus
            placed += 1
    assert found.slots(machines) == max(1, placed)


def test_memory_limits_the_trials_of_each_machine_and_one_always_fits() -> None:
    machines = [{"CPU": 8.0, "memory": 5e9}, {"CPU": 2.0, "memory": 100e9}]
    found = Reservations.on(machines, Resources(device="cpu"), memory_bytes=2 * 10**9)
    assert found.slots(machines) == 2 + 2
    assert found.of(Task("train", TRIAL))["memory"] == 2e9
    assert found.memory_share(Task("train", TRIAL)) == 1 / 2
    large = Reservations.on(machines[:1], Resources(device="cpu"), memory_bytes=10**12)
    assert large.slots(machines[:1]) == 1
    assert large.memory_share(Task("train", TRIAL)) == 1.0


def test_what_runs_at_a_time_is_limited_and_said(tmp_path: Path) -> None:
    found = Reservations.on([GPU_NODE], Resources(gpus_per_trial=0.15, max_concurrent=3))
    assert found.slots([GPU_NODE]) == 3
    assert found.text([GPU_NODE]) == (
        "Trials at a time: 3, limited by --max-concurrent 3 (1 CPU and 0.15 GPUs each; there: 64 CPUs, 8 GPUs)"
    )
    unlimited = Reservations.on([GPU_NODE], Resources(gpus_per_trial=0.15))
    assert unlimited.text([GPU_NODE]).startswith("Trials at a time: 48 (")
    state, _ = new_state(tmp_path)
    searcher = LedgerSearcher(state, Execution(work_dir="/nowhere", data_dir="/nowhere"), found, lambda: 3)
    suggested = [searcher.suggest(str(i)) for i in range(5)]
    assert [isinstance(one, dict) for one in suggested] == [True] * 3 + [False] * 2, "none waits beyond the limit"


def groups(path: Path, *, deterministic: int | None, limit: int) -> list[list[str]]:
    """The tasks of a run with seven seeds, up to four together, while never more than a number are under way."""
    plan = settings(trials=3, search_seeds=7, final_seeds=7, deterministic=deterministic)
    agenda = search_agenda(load_space("quickstart"), plan)
    state: RunState
    if deterministic:
        state = OrderedRunState(Ledger(path), agenda, window=deterministic, together=4, clock=lambda: 0.0)
    else:
        state = RunState(Ledger(path), agenda, together=4, clock=lambda: 0.0)
    reservations = Reservations.on([{"CPU": 64.0}], Resources(max_concurrent=limit))
    searcher = LedgerSearcher(state, Execution(work_dir="/nowhere", data_dir="/nowhere"), reservations, lambda: limit)
    found: list[list[str]] = []
    for number in map(str, range(200)):
        suggested = searcher.suggest(number)
        assert sum(len(task.each()) for task in searcher.tasks.values()) <= limit
        if suggested == searcher.FINISHED:
            searcher.raise_abort()
            return found
        if isinstance(suggested, dict):
            found.append([each.id for each in searcher.tasks[number].each()])
            continue
        oldest, task = next(iter(searcher.tasks.items()))
        searcher.on_start(oldest)
        results = [outcome(each)["result"] for each in task.each()]
        searcher.on_trial_complete(oldest, {"outcome": json.dumps({"results": results})})
    raise AssertionError("it does not end")


def test_seeds_that_are_trained_together_keep_to_the_limit(tmp_path: Path) -> None:
    found = groups(tmp_path / "usual", deterministic=None, limit=5)
    assert max(map(len, found)) == 4
    # In a deterministic run they are the same ones whatever the limit leaves free.
    limited, free = (groups(tmp_path / str(limit), deterministic=12, limit=limit) for limit in (5, 50))
    assert limited == free
    assert max(map(len, limited)) == 4


def test_the_limit_is_remembered() -> None:
    before = Resources(max_concurrent=2, trial_hours=0.5)
    assert as_before(Resources(), frozenset(), before.options()) == before


def test_slots_are_recorded_with_the_session(tmp_path: Path) -> None:
    from rksearch.results.environment import Environment

    ledger = Ledger(tmp_path)
    ledger.write_run(name="run", space=space_record(), plan=plan_record())
    ledger.write_session(environment=Environment(), options={})
    assert ledger.read().sessions[-1].slots is None
    ledger.write_slots(SlotsCounted(slots=48, trial={"cpu": 1.0, "gpu": 0.15}, machines=({"cpu": 64.0, "gpu": 8.0},)))
    assert ledger.read().sessions[-1].slots == 48


def test_machines_that_have_died_do_not_count() -> None:
    nodes: list[dict[str, Any]] = [{"Alive": True, "Resources": {"CPU": 1.0}}, {"Alive": False, "Resources": GPU_NODE}]
    assert machines_of(nodes) == [{"CPU": 1.0}]


# -- the CPUs of this process


@pytest.fixture
def unlimited(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("SLURM_JOB_ID", "SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE", "SLURM_JOB_END_TIME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(reservations, "cpu_quota", lambda: float("inf"))
    return monkeypatch


def test_cpus_are_those_of_the_process(unlimited: pytest.MonkeyPatch) -> None:
    mine = os.sched_getaffinity(0)
    assert cpus_here() == len(mine)
    for quota, expected in ((0.5, 1), (1.5, 1), (len(mine) + 0.5, len(mine))):
        unlimited.setattr(reservations, "cpu_quota", lambda quota=quota: quota)
        assert cpus_here() == expected
    unlimited.setattr(reservations, "cpu_quota", lambda: float("inf"))
    try:
        os.sched_setaffinity(0, {min(mine)})
        assert cpus_here() == 1
    finally:
        os.sched_setaffinity(0, mine)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2, reason="one CPU")
def test_a_run_that_is_kept_to_one_cpu_trains_one_network_at_a_time(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY_SPACE)
    one = min(os.sched_getaffinity(0))
    done = subprocess.run(
        ["taskset", "-c", str(one), *command("run", "--space", "tiny.yaml", "--device", "cpu", "--dry-run")],
        cwd=tmp_path,
        env={name: value for name, value in environment().items() if not name.startswith("SLURM_")},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^The run: about .*, 1 training at a time \(", done.stdout, re.MULTILINE), done.stdout


def test_a_batch_job_says_how_many_cpus_are_its_own(unlimited: pytest.MonkeyPatch) -> None:
    unlimited.setenv("SLURM_CPUS_ON_NODE", "1")
    assert cpus_here() == len(os.sched_getaffinity(0)), "outside of a job it means nothing"
    unlimited.setenv("SLURM_JOB_ID", "17")
    assert cpus_here() == 1
    unlimited.setenv("SLURM_CPUS_PER_TASK", "4096")
    assert cpus_here() == len(os.sched_getaffinity(0))


def test_a_session_pauses_before_its_job_ends(unlimited: pytest.MonkeyPatch) -> None:
    unlimited.setenv("SLURM_JOB_END_TIME", "2000000000")
    assert job_pauses_at_s() is None
    unlimited.setenv("SLURM_JOB_ID", "17")
    assert job_pauses_at_s() == 2_000_000_000 - MARGIN_S
    unlimited.setenv("SLURM_JOB_END_TIME", "NONE")
    assert job_pauses_at_s() is None


@pytest.mark.parametrize("value", ["99999999999999", "9" * 400, "9" * 5_000, "0", "NONE", "-1"])
def test_a_job_s_nonsense_is_ignored_and_named(unlimited: pytest.MonkeyPatch, value: str) -> None:
    names = ("SLURM_JOB_END_TIME", "SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE")
    for name in names:
        unlimited.setenv(name, value)
    assert job_notes() == [], "outside of a job it means nothing"
    unlimited.setenv("SLURM_JOB_ID", "17")
    assert (job_pauses_at_s(), job_cpus()) == (None, math.inf)
    assert [note.split()[0] for note in job_notes()] == list(names)
    assert all(f"but is {value[:40]!r}: it is ignored" in note for note in job_notes())
    unlimited.setenv("SLURM_CPUS_ON_NODE", "1")
    assert (cpus_here(), len(job_notes())) == (1, 2)


def test_more_than_this_machine_has_is_refused_before_ray_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    from rksearch.errors import RunError

    require_here(Resources(cpus_per_trial=1))
    with pytest.raises(RunError, match="give"):
        require_here(Resources(cpus_per_trial=(os.cpu_count() or 1) + 1))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    require_here(Resources(gpus_per_trial=0))
    with pytest.raises(RunError, match=r"--gpus-per-trial is 0\.5 and the largest has 0; give 0$"):
        require_here(Resources(gpus_per_trial=0.5))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    require_here(Resources(gpus_per_trial=0.5))


def _trial() -> Any:
    from rksearch.recipes.shipped import recipe
    from rksearch.results.records import TrialSpec

    return TrialSpec(arch="ResNet-8", dataset="digits", recipe=recipe("short"))


TRIAL = _trial()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_share_of_a_gpu_that_is_not_there_is_one_line_before_ray_starts(tmp_path: Path) -> None:
    done = rksearch("run", "--space", "quickstart", "--out", "run", "--gpus-per-trial", "0.5", cwd=tmp_path)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert "--gpus-per-trial" in line
    assert "0.5" in line
    assert not re.search("Measuring|Starting Ray", done.stdout), done.stdout
    assert Ledger(tmp_path / "run").read().state == "failed"
