"""Deterministic runs: what is chosen and recorded does not depend on which training ends first, nor on kills."""

import json
import random
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rksearch.errors import RunError
from rksearch.report.facts import search
from rksearch.report.status import kept_back_lines
from rksearch.results.codec import from_plain
from rksearch.results.events import TaskStarted
from rksearch.results.ledger import Ledger
from rksearch.results.plan import Plan
from rksearch.results.records import TrialResult
from rksearch.results.run_dir import RunDir
from rksearch.search import driver
from rksearch.search.assembly import search_agenda
from rksearch.search.budget import TimeBudget
from rksearch.search.ordered import DeferredProposer, OrderedRunState
from rksearch.search.planning import Asked, plan_of
from rksearch.search.resources import Resources
from rksearch.search.run_state import RunState
from rksearch.search.session import SessionClock
from rksearch.search.tasks import Task
from rksearch.search.view import Silent
from rksearch.space import load_space, parse_space
from tests.helpers.command_line import TINY_SPACE, environment, python, rksearch
from tests.helpers.simulation import RACING, ListProposer, must, outcome
from tests.helpers.simulation import settings as plan_with

SPACE = load_space("quickstart")


def state_at(path: Path, plan: Plan, *, together: int = 1) -> RunState:
    """A session of a run over `quickstart`, as its driver begins it."""
    agenda = search_agenda(SPACE, plan)
    if plan.deterministic:
        return OrderedRunState(Ledger(path), agenda, window=plan.deterministic, together=together, clock=lambda: 0.0)
    return RunState(Ledger(path), agenda, together=together, clock=lambda: 0.0)


def work(state: RunState, *, slots: int, order: random.Random, ends: int | None = None) -> int:
    """Let the workers end their tasks in random order, up to a number of ends; returns the most that ran at a time."""
    at_work: list[Task] = []
    most = 0
    while ends != 0:
        while len(at_work) < slots and (task := state.next()) is not None:
            for each in task.each():
                state.on_start(each)
            at_work.append(task)
        most = max(most, len(at_work))
        if not at_work:
            assert state.done
            break
        ended = at_work.pop(order.randrange(len(at_work)))
        for each in ended.each():
            state.on_end(each, outcome(each))
        ends = None if ends is None else ends - 1
    return most


def play(path: Path, plan: Plan, *, slots: int, seed: int, kills: int = 0, together: int = 1) -> list[Any]:
    """A whole run, cut off without a word that many times; returns what it recorded of trials."""
    order = random.Random(seed)
    for _ in range(kills):
        work(state_at(path, plan, together=together), slots=slots, order=order, ends=order.randrange(1, 9))
    work(state_at(path, plan, together=together), slots=slots, order=order)
    return recorded(path)


def recorded(path: Path) -> list[Any]:
    """Ends and pauses of trials in their order, without times."""
    found = []
    for line in (path / "ledger.jsonl").read_text().splitlines():
        record = json.loads(line)
        if record["event"] in ("trial", "pause", "retry"):
            found.append([record["event"], record["trial"], without_times(record.get("result"))])
    return found


def without_times(value: Any) -> Any:
    """The value without seconds."""
    if isinstance(value, dict):
        return {key: without_times(v) for key, v in value.items() if not key.endswith("time_s") and key != "work_times"}
    return [without_times(v) for v in value] if isinstance(value, list) else value


PLANS = {
    "plain": plan_with(trials=9, replicates=3, sampler="random", deterministic=4),
    "racing": plan_with(
        trials=9, replicates=2, sampler="random", racing=RACING, control=True, search_seeds=2, deterministic=3
    ),
    "together": plan_with(trials=5, sampler="stratified", search_seeds=2, final_seeds=4, deterministic=5),
}


SLOW = pytest.mark.slow


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """What one worker records that is never cut off."""
    return {
        name: play(tmp_path_factory.mktemp(name), plan, slots=1, seed=0, together=3) for name, plan in PLANS.items()
    }


@pytest.mark.parametrize("name", ["racing", pytest.param("plain", marks=SLOW), pytest.param("together", marks=SLOW)])
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 10**6), slots=st.integers(1, 7), kills=st.integers(0, 4))
def test_neither_speed_nor_number_of_workers_nor_kills_change_what_is_recorded(
    tmp_path_factory: pytest.TempPathFactory,
    undisturbed: dict[str, list[Any]],
    name: str,
    seed: int,
    slots: int,
    kills: int,
) -> None:
    path = tmp_path_factory.mktemp("run")
    assert play(path, PLANS[name], slots=slots, seed=seed, kills=kills, together=3) == undisturbed[name]


def test_what_a_sampler_that_learns_proposes_does_not_depend_on_them_either(tmp_path: Path) -> None:
    plan = plan_with(trials=10, sampler="frontier", replicates=0, final_seeds=1, deterministic=3)
    first = play(tmp_path / "a", plan, slots=1, seed=0)
    assert play(tmp_path / "b", plan, slots=3, seed=1, kills=3) == first
    assert play(tmp_path / "c", replace(plan, sampler_seed=1), slots=1, seed=0) != first


def test_without_it_the_order_of_ends_counts(tmp_path: Path) -> None:
    """The test above can fail: an ordinary run records results as they come."""
    plan = replace(PLANS["plain"], deterministic=None)
    assert play(tmp_path / "a", plan, slots=4, seed=0) != play(tmp_path / "b", plan, slots=4, seed=1)


@pytest.mark.parametrize("window", [1, 3])
def test_no_more_than_the_window_is_under_way(tmp_path: Path, window: int) -> None:
    plan = replace(PLANS["plain"], deterministic=window)
    assert work(state_at(tmp_path, plan), slots=9, order=random.Random(0)) == window


def test_a_task_waits_for_the_oldest_result_and_for_no_other(tmp_path: Path) -> None:
    state = state_at(tmp_path, replace(PLANS["plain"], deterministic=3))
    first, second, third = (must(state.next()) for _ in range(3))
    for task in (second, third):
        state.on_end(task, outcome(task))
        assert state.next() is None, "the first one's result is not there"
        assert recorded(tmp_path) == []
    state.on_end(first, outcome(first))
    assert state.next() is not None
    assert [trial for _, trial, _ in recorded(tmp_path)] == [first.id], "one result for one more task"
    assert not state.done


def test_a_result_that_is_there_before_its_turn_is_no_training_that_runs(tmp_path: Path) -> None:
    state = state_at(tmp_path, replace(PLANS["plain"], deterministic=2))
    first, second = must(state.next()), must(state.next())
    for task in (first, second):
        state.on_start(task)
    state.on_end(second, outcome(second))
    live = SessionClock(state, 2).progress()
    assert [task.id for task in live.running] == [first.id]
    assert kept_back_lines(live) == [f"{second.id}: has ended; it is recorded in its turn"]
    state.on_end(first, outcome(first))
    must(state.next())
    must(state.next())
    assert state.kept_back == {}


def test_tasks_that_were_cut_off_are_handed_out_first_as_they_were_and_in_their_order(tmp_path: Path) -> None:
    plan = PLANS["together"]
    state = state_at(tmp_path, plan, together=3)
    handed = [must(state.next()) for _ in range(2)]
    assert [len(task.each()) for task in handed] == [2, 2]
    kept = {trial: (record.trial, record.beside) for trial, record in Ledger(tmp_path).read().unfinished.items()}
    assert kept == {
        each.id: (task.trial.id, tuple(t.id for t in task.beside)) for task in handed for each in task.each()
    }
    again = state_at(tmp_path, plan, together=1)  # even if no two would be trained together now
    assert again.has_work()
    assert [must(again.next()) for _ in range(2)] == handed
    assert Ledger(tmp_path).read().unfinished.keys() == kept.keys()


def test_a_group_of_which_one_result_was_recorded_goes_on_with_the_others(tmp_path: Path) -> None:
    plan = PLANS["together"]
    state = state_at(tmp_path, plan, together=3)
    task = must(state.next())
    one, other = task.each()
    state.ledger.write_trial(one.trial, result_of(one), wall_time_s=1.0)
    assert must(state_at(tmp_path, plan, together=3).next()) == other


def result_of(task: Task) -> TrialResult:
    return from_plain(TrialResult, outcome(task)["result"])


def test_what_ends_a_run_ends_it_at_once(tmp_path: Path) -> None:
    state = state_at(tmp_path, PLANS["plain"])
    _, second = must(state.next()), must(state.next())
    with pytest.raises(Exception, match="the disk is full"):
        state.on_end(second, {"abort": "the disk is full"})


def test_a_worker_that_died_is_a_result_in_its_turn(tmp_path: Path) -> None:
    plan = replace(PLANS["plain"], deterministic=2)
    state = state_at(tmp_path, plan)
    first, second = must(state.next()), must(state.next())
    state.on_end(second, {"failure": "worker_died", "message": "its worker died"})
    state.on_end(first, outcome(first))
    third = must(state.next())
    must(state.next())
    state.on_end(third, outcome(third))  # until one succeeds, deaths may have a cause that is no network's
    state.next()
    found = Ledger(tmp_path).read().trials
    assert list(found) == [first.id, second.id, third.id]
    assert found[second.id][1].failure == "worker_died"


def test_at_the_end_of_a_batch_job_outcomes_are_left_to_the_next_session(tmp_path: Path) -> None:
    plan = replace(PLANS["plain"], deterministic=3)
    state = state_at(tmp_path, plan)
    first, second = must(state.next()), must(state.next())
    state.on_end(second, outcome(second))
    state.budget = TimeBudget(job_until_s=time.time() - 1)
    assert state.next() is None
    assert not state.done
    state.on_end(first, outcome(first))
    assert state.next() is None
    assert state.done
    assert state.is_left_to_next_job()
    assert Ledger(tmp_path).read().trials == {}
    again = state_at(tmp_path, plan)
    assert [must(again.next()).id for _ in range(2)] == [first.id, second.id]


def test_a_proposer_is_made_for_the_first_proposal_and_knows_what_was_said_before() -> None:
    made: list[ListProposer] = []

    def make() -> ListProposer:
        made.append(ListProposer(["a", "b"]))
        return made[-1]

    deferred = DeferredProposer(make)
    deferred.started(iter(["c"]), "baseline")
    deferred.update([])
    assert made == []
    assert deferred.propose({"a"}) == "b"
    deferred.started(["d"], "known")
    assert len(made) == 1
    assert made[0].begun == {"c": "baseline", "d": "known"}


@pytest.mark.parametrize(
    ("plan", "resources", "reason"),
    [
        ({}, Resources(cpu_hours=1.0), "a budget of time would end it; leave --until, --cpu-hours"),
        ({}, Resources(until_s=time.time() + 60), "a budget of time would end it"),
        ({}, Resources(trial_hours=1.0), "a limit of a training's time would end it; leave --trial-hours out"),
        ({"objectives": ("val_error_pct", "latency_ms")}, Resources(), "latency_ms is measured; leave that objective"),
    ],
)
def test_nothing_in_it_may_depend_on_time(
    tmp_path: Path, plan: dict[str, Any], resources: Resources, reason: str
) -> None:
    space = parse_space(TINY_SPACE, name="tiny")
    asked = plan_of(space.definition, Asked(deterministic=2, **plan), members=len(space))
    with pytest.raises(RunError, match=rf"\(--deterministic 2\) must not depend on time, but {reason}"):
        driver.start(space, asked, RunDir(tmp_path / "run"), resources, Silent())


def test_records_of_tasks_are_checked_as_others_are(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.write_task(TaskStarted(trial="ResNet-8@0", beside=("nonsense",)))
    ledger.write_task(TaskStarted(trial="ResNet-8@0", until=3, alone=True, beside=("ResNet-8@1",)))
    history = ledger.read()
    assert [damage.field for damage in history.damage] == ["beside[0]"]
    assert list(history.unfinished) == ["ResNet-8@0", "ResNet-8@1"]
    assert history.unfinished["ResNet-8@1"].until == 3


DELAYED = """
import os, random, sys, time
from rksearch.search.ray.cluster import RAY_ENVIRONMENT
os.environ.update(RAY_ENVIRONMENT)
from rksearch.search.ray import tune
from rksearch.cli import main

seed, *arguments = sys.argv[1:]

def delayed(task, *more):
    from rksearch.search.ray.tune import do_task
    time.sleep(random.Random(f"{seed} {task.id}").uniform(0, 3))
    return do_task(task, *more)

tune.do_task = delayed
sys.argv = ["rksearch", *arguments]
main()
"""
"""The command line, whose workers wait for a random time before each task."""


@pytest.mark.slow
def test_the_command_writes_the_same_ledger_whatever_is_delayed_or_killed(tmp_path: Path) -> None:
    space = tmp_path / "tiny.yaml"
    space.write_text(TINY_SPACE.replace("epochs: 2", "epochs: 1").replace("final: 2", "final: 1"))
    options = ("run", "--space", str(space), "--trials", "5", "--deterministic", "3")

    straight = rksearch(*options, "--out", str(tmp_path / "a"), cwd=tmp_path)
    assert straight.returncode == 0, straight.stderr
    plan = Ledger(tmp_path / "a").read().plan
    assert plan is not None
    assert plan.deterministic == 3

    run_dir = tmp_path / "b"
    again = (*options, "--out", str(run_dir))
    first = subprocess.Popen(
        [sys.executable, "-c", DELAYED, "1", *again],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 200
        while not (run_dir / "ledger.jsonl").exists() or len(recorded(run_dir)) < 2:
            assert time.monotonic() < deadline, "two trials should have ended"
            assert first.poll() is None
            time.sleep(0.05)
    finally:
        first.kill()
        first.wait()
    done = python("-c", DELAYED, "2", *again, cwd=tmp_path, timeout_s=400)
    assert done.returncode == 0, done.stderr
    assert recorded(run_dir) == recorded(tmp_path / "a")
    assert Ledger(run_dir).read().started == Ledger(tmp_path / "a").read().started


def test_the_option_alone_has_a_default_and_wants_a_positive_number(tmp_path: Path) -> None:
    done = rksearch("run", "--space", "quickstart", "--deterministic", "0", cwd=tmp_path)
    assert done.returncode == 2
    assert "--deterministic" in done.stderr


def test_the_report_says_so() -> None:
    assert search(PLANS["racing"]).endswith("; deterministic, 3 trainings under way")
    assert "deterministic" not in search(plan_with())
