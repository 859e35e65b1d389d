"""A driver with a thousand trials at a time: what each event costs it, and what it keeps."""

import itertools
import os
import random
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rksearch.results.plan import RacingRule
from rksearch.results.records import Epoch
from rksearch.search.run_state import RunState
from rksearch.search.samplers.registry import make_sampler
from rksearch.search.samplers.study import RunStudy
from rksearch.search.tasks import Task
from rksearch.space import load_space
from tests.helpers.ledgers import complete, trial
from tests.helpers.simulation import RACING, new_state, outcome

SLOTS = 1000
ARCHS = [
    f"RKNet-k{k}-m1_{m}_{n}-{s}x{r}_1x1_1x1"
    for k, m, n, s, r in itertools.product(range(2, 15), (1, 2, 3, 4), (2, 3, 4, 5), (1, 2, 3, 4, 5), (1, 2, 3, 4, 5))
]


def timed(times_s: list[float], call: Callable[..., Any], *arguments: Any) -> Any:
    began = time.perf_counter()
    found = call(*arguments)
    times_s.append(time.perf_counter() - began)
    return found


def epoch(number: int) -> Epoch:
    return Epoch(
        epoch=number,
        lr=0.0,
        train_loss=0.0,
        train_error_pct=0.0,
        val_loss=0.0,
        val_error_pct=0.0,
        train_time_s=0.0,
    )


class Cluster:
    """A thousand simulated workers: tasks report epochs and end in random order."""

    def __init__(self, state: RunState) -> None:
        self.state = state
        self.random = random.Random(1)
        self.at_work: list[Task] = []
        self.ended = 0
        self.times_s: dict[str, list[float]] = {"next": [], "epoch": [], "end": []}

    def work(self, ends: int) -> None:
        stop = self.ended + ends
        while self.ended < stop:
            while len(self.at_work) < SLOTS and (task := timed(self.times_s["next"], self.state.next)):
                self.state.on_start(task)
                self.at_work.append(task)
            if not self.at_work:
                return
            for task in self.random.sample(self.at_work, min(5, len(self.at_work))):
                timed(self.times_s["epoch"], self.state.on_epoch, task, epoch(1))
            task = self.at_work.pop(self.random.randrange(len(self.at_work)))
            result = outcome(task)
            timed(self.times_s["end"], self.state.on_end, task, result)
            self.ended += 1

    def p99_ms(self, event: str, last: int) -> float:
        return 1000 * sorted(self.times_s[event][-last:])[int(0.99 * last)]


def thousand_at_work(path: Path, monkeypatch: pytest.MonkeyPatch, racing: RacingRule | None) -> Cluster:
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # the disk's time is not the driver's
    plan: dict[str, Any] = {"racing": racing, "replicates": 0, "final_seeds": 1, "trials": len(ARCHS)}
    state, _ = new_state(path, archs=ARCHS, **plan)
    return Cluster(state)


@pytest.mark.timing
@pytest.mark.parametrize(("racing", "ends", "limit_ms"), [(None, 3000, 20.0), (RACING, 1500, 100.0)])
def test_with_a_thousand_trials_at_a_time_the_driver_answers_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, racing: RacingRule | None, ends: int, limit_ms: float
) -> None:
    cluster = thousand_at_work(tmp_path, monkeypatch, racing)
    cluster.work(ends)
    assert len(cluster.state.running) >= SLOTS - 1
    found = {event: cluster.p99_ms(event, 500) for event in ("next", "end", "epoch")}
    assert found["next"] < limit_ms, found
    assert found["end"] < 20, found
    assert found["epoch"] < 1, found


@pytest.mark.timing
def test_what_the_driver_keeps_of_a_trial_is_its_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = thousand_at_work(tmp_path, monkeypatch, None)
    cluster.work(300)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        cluster.times_s = {key: [] for key in cluster.times_s}
        cluster.work(500)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (after - before) / 500 < 15_000, "bytes for each trial that has ended"


@pytest.mark.timing
def test_the_run_s_study_keeps_little_of_a_trial_and_answers_with_a_thousand_running() -> None:
    """With the study of a run in place of a list of architectures: proposals, results, and what they leave behind."""
    space = load_space("quickstart")
    objectives = ("val_error_pct", "params")
    sampler = make_sampler("random", space, objectives=objectives, trials=3000, seed=0)
    run = RunStudy(space, sampler, objectives=objectives)
    order = random.Random(1)
    taken: set[str] = set()
    at_work: list[str] = []
    times_s: list[float] = []

    def work(ends: int) -> None:
        for _ in range(ends):
            while len(at_work) < SLOTS:
                arch = timed(times_s, run.propose, taken)
                taken.add(arch)
                at_work.append(arch)
            spec = replace(trial(at_work.pop(order.randrange(SLOTS)), epochs=30), dataset="digits")
            timed(times_s, run.update, [(spec, complete(20.0, epochs=30))])

    work(300)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    work(300)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (after - before) / 300 < 12_000, "bytes for each trial that has ended"
    times_s.clear()
    work(200)
    assert sorted(times_s)[len(times_s) // 2] < 0.02
