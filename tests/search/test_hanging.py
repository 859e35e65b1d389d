"""Trainings that hang, take too long or outlast their session, judged with a clock of the test's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from rksearch.results.codec import to_plain
from rksearch.results.ledger import Ledger
from rksearch.results.records import Epoch, TrialResult
from rksearch.search import hanging as judgement
from rksearch.search.budget import TimeBudget
from rksearch.search.final import FinalAgenda
from rksearch.search.hanging import hanging, limit_s
from rksearch.search.ray.oversight import GRACE_S, LONGEST_GRACE_S, LOOK_S, Oversight, is_suspended
from rksearch.search.ray.traces import Death
from rksearch.search.ray.tune import LedgerSearcher, StateCallback, WorkEnds
from rksearch.search.reservations import Reservations
from rksearch.search.run_state import RunState
from rksearch.search.stopping import StopRequest
from rksearch.search.tasks import Task
from rksearch.training.execution import Execution
from rksearch.training.machine import machine_id
from rksearch.training.pulse import Beat
from tests.helpers.simulation import must, new_state, outcome, settings

ONE_TRIAL = Reservations(trial={"cpu": 1.0, "gpu": 0.0}, whole={"cpu": 2.0, "gpu": 0.0}, largest=2)
STEP = Beat(part="step", lasted_s=1.0, longest_s=0.5, pid=0, machine="another")


# -- the judgement


@pytest.mark.parametrize(
    ("lasted_s", "longest_s", "hangs"),
    [
        (119.0, 0.01, False),  # short steps: two minutes at least, for a machine has pauses of its own
        (121.0, 0.01, True),
        (290.0, 10.0, False),  # long steps: thirty times the longest
        (301.0, 10.0, True),
        (1100.0, None, False),  # the first step may include what only the first one does
        (1201.0, None, True),
    ],
)
def test_a_training_is_judged_by_its_own_steps(lasted_s: float, longest_s: float | None, hangs: bool) -> None:
    beat = replace(STEP, lasted_s=lasted_s, longest_s=longest_s)
    assert (hanging(beat, 0.0) is not None) == hangs


def test_compiling_and_downloading_may_take_longer_and_waiting_for_the_driver_for_ever() -> None:
    for part in ("prepare", "load", "latency", "validate"):
        assert hanging(replace(STEP, part=part, longest_s=None, lasted_s=3000.0), 0.0) is None
    assert hanging(replace(STEP, part="prepare", longest_s=None, lasted_s=3700.0), 0.0) is not None
    assert hanging(replace(STEP, part="report", lasted_s=1e6), 0.0) is None


def test_a_worker_without_a_sign_hangs_too() -> None:
    assert hanging(STEP, judgement.SILENT_S - 1) is None
    assert "no sign for 301 s" in str(hanging(STEP, judgement.SILENT_S + 1))
    assert hanging(replace(STEP, longest_s=100.0), judgement.SILENT_S + 1) is None, "its steps are long"
    assert hanging(None, judgement.STARTS_S - 1) is None
    assert "of its start" in str(hanging(None, judgement.STARTS_S + 1))


def test_the_reason_says_what_was_measured() -> None:
    text = hanging(replace(STEP, lasted_s=300.0), 0.0)
    assert text == "a step has lasted 300 s (the longest before took 0.5 s)"
    assert limit_s(STEP) == judgement.LEAST_S


# -- what the driver does


class Desk:
    """A driver whose clock, beats and workers are the test's."""

    def __init__(self, path: Path, *, trial_hours: float | None = None) -> None:
        self.now_s = 1000.0
        self.beats: dict[str, Beat] = {}
        self.killed: list[str] = []
        self.notes: list[str] = []
        self.state: RunState
        self.state, _ = new_state(path, clock=lambda: self.now_s)
        execution = Execution(work_dir=str(path / "work"), data_dir="")
        self.searcher = LedgerSearcher(self.state, execution, ONE_TRIAL, lambda: 2, self.notes.append)
        self.oversight = Oversight(
            self.state,
            self.searcher.tasks,
            self.end,
            self.beats.get,
            trial_hours=trial_hours,
            clock=lambda: self.now_s,
            now=lambda: self.now_s,
        )

    def end(self, trial_id: str, death: Death) -> None:
        self.killed.append(trial_id)
        self.searcher.on_death(trial_id, death)
        self.searcher.on_trial_complete(trial_id, error=True)

    def take(self, trial_id: str) -> Task:
        assert isinstance(self.searcher.suggest(trial_id), dict)
        self.searcher.on_start(trial_id)
        self.oversight.began(trial_id)
        return self.searcher.tasks[trial_id]

    def succeed(self, trial_id: str) -> None:
        found = [outcome(each)["result"] for each in self.searcher.tasks[trial_id].each()]
        self.searcher.on_trial_complete(trial_id, {"outcome": json.dumps({"results": found})})

    def pass_s(self, seconds: float, lasting: str | None = None) -> None:
        """Let time pass; the trial `lasting` stays in the same step, the others take new ones."""
        for _ in range(int(seconds / LOOK_S)):
            self.now_s += LOOK_S
            for trial_id in self.searcher.tasks:
                before = self.beats.get(trial_id, replace(STEP, lasted_s=0.0))
                lasted_s = before.lasted_s + LOOK_S if trial_id == lasting else self.now_s % 1
                self.beats[trial_id] = replace(before, lasted_s=lasted_s)
            self.oversight.look()


def test_a_training_that_hangs_is_resumed_once_and_then_fails_with_the_reason(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    other, task = desk.take("other"), desk.take("a")
    desk.pass_s(100, lasting="a")
    assert desk.killed == []
    desk.pass_s(30, lasting="a")
    assert desk.killed == ["a"]
    assert "resumed from its last epoch: it hangs: a step has lasted" in desk.notes[0]
    again = desk.take("b")
    assert again == task
    desk.pass_s(130, lasting="b")
    assert desk.killed == ["a", "b"]
    desk.succeed("other")
    history = Ledger(tmp_path).read()
    _, result = history.trials[task.id]
    assert (result.status, result.failure) == ("failed", "hung")
    assert "a step has lasted 122 s (the longest before took 0.5 s)" in str(result.message)
    assert history.trials[other.id][1].status == "complete"


def test_a_training_that_hangs_again_fails_although_it_has_done_epochs_in_between(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.take("other")
    for name in ("a", "b"):
        task = desk.take(name)
        epoch = Epoch(epoch=1, lr=0.1, train_loss=1, train_error_pct=50, val_loss=1, val_error_pct=50, train_time_s=1)
        desk.searcher.on_epoch(name, task.trial.id, epoch)
        desk.pass_s(130, lasting=name)
    assert desk.killed == ["a", "b"]
    desk.succeed("other")
    assert Ledger(tmp_path).read().trials[task.id][1].failure == "hung"


@pytest.mark.parametrize("seeds", [1, 2])
def test_the_only_training_that_is_left_is_tried_again_too_when_it_hangs(tmp_path: Path, seeds: int) -> None:
    desk = Desk(tmp_path)
    desk.state.together = seeds
    task = desk.take("a")
    while desk.state.has_work():
        desk.succeed("a")
        task = desk.take("a")
    assert len(task.each()) == seeds
    assert desk.searcher.suggest("none") is None, "the session waits for it"
    desk.pass_s(130, lasting="a")
    assert desk.killed == ["a"]
    assert desk.searcher.suggest("none") is not None
    desk.succeed("none")
    assert desk.searcher.suggest("none") == "FINISHED"
    assert desk.searcher.abort is None
    history = Ledger(tmp_path).read()
    assert {history.trials[each.trial.id][1].status for each in task.each()} == {"complete"}


def test_a_driver_that_was_suspended_ends_nobody(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.take("a")
    desk.pass_s(10)
    desk.now_s += 100_000  # and so were the workers: their beats are old
    desk.oversight.look()
    assert desk.killed == []
    desk.pass_s(10)
    assert desk.killed == []


def test_a_worker_that_falls_silent_is_ended(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.take("a")
    desk.pass_s(10)
    for _ in range(200):
        desk.now_s += LOOK_S
        desk.oversight.look()
    assert desk.killed == ["a"]
    assert "gave no sign" in desk.notes[0]


def test_a_limit_of_a_whole_training_counts_all_sessions_and_is_final(tmp_path: Path) -> None:
    desk = Desk(tmp_path, trial_hours=0.1)
    task = desk.take("a")
    desk.pass_s(300)
    assert desk.killed == []
    paused = TrialResult(status="paused")
    desk.searcher.on_trial_complete("a", {"outcome": json.dumps({"results": [to_plain(paused)]})})
    assert desk.state.history.wall_time_s[task.trial.id] == pytest.approx(300, abs=5)
    assert desk.take("b").trial == task.trial
    desk.pass_s(70)
    assert desk.killed == ["b"]
    _, result = Ledger(tmp_path).read().trials[task.trial.id]
    assert result.failure == "time_limit"
    assert "--trial-hours 0.1; give more, and resume with --retry-failed" in str(result.message)


def test_a_reading_of_the_test_set_may_follow_a_training_of_any_length_and_is_ended_where_it_hangs(
    tmp_path: Path,
) -> None:
    desk = Desk(tmp_path, trial_hours=0.1)
    task = desk.take("a")
    desk.pass_s(300)
    desk.succeed("a")
    assert desk.state.history.wall_time_s[task.trial.id] == pytest.approx(300, abs=5)
    desk.state.agenda = FinalAgenda(settings(), [task.trial.arch], fresh=0)
    assert desk.take("b") == Task("test", task.trial)
    desk.pass_s(100)
    assert desk.killed == []
    desk.pass_s(400, lasting="b")
    assert desk.killed == ["b"]
    assert "it hangs" in desk.notes[0]


def test_a_deadline_holds_for_a_training_that_hangs(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    task = desk.take("a")
    desk.state.budget = TimeBudget(until_s=1100.0)
    callback = StateCallback(desk.searcher, lambda: None, desk.oversight)
    desk.now_s = 1100 + GRACE_S - 1
    callback.on_step_end(1, [])
    desk.now_s += 2
    with pytest.raises(WorkEnds):
        callback.on_step_end(2, [])
    assert task.id not in Ledger(tmp_path).read().trials, "it can be resumed"


def test_long_epochs_have_a_longer_grace_but_not_where_the_job_ends(tmp_path: Path) -> None:
    epoch = Epoch(epoch=1, lr=0.1, train_loss=1, train_error_pct=50, val_loss=1, val_error_pct=50, train_time_s=600)
    for name, budget, grace_s in (
        ("until", TimeBudget(until_s=1100.0, began_s=1000.0), 1.3 * 600),
        ("job", TimeBudget(job_until_s=1100.0, began_s=1000.0), LONGEST_GRACE_S),
    ):
        desk = Desk(tmp_path / name)
        task = desk.take("a")
        desk.state.budget = budget
        desk.state.on_epoch(task, epoch)
        desk.now_s = 1100 + grace_s - 1
        assert not desk.oversight.is_over()
        desk.now_s += 2
        assert desk.oversight.is_over()
        desk.succeed("a")
        assert not desk.oversight.is_over(), "nothing is left to wait for"


def test_a_wish_to_stop_ends_the_loop(tmp_path: Path) -> None:
    desk, stop = Desk(tmp_path), StopRequest()
    callback = StateCallback(desk.searcher, lambda: None, desk.oversight, stop)
    callback.on_step_end(1, [])
    stop.asked = True
    with pytest.raises(WorkEnds):
        callback.on_step_end(2, [])


def test_a_stopped_process_is_suspended_and_not_hung() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        beat = replace(STEP, pid=child.pid, machine=machine_id())
        assert not is_suspended(beat)
        os.kill(child.pid, signal.SIGSTOP)
        wait_for(lambda: is_suspended(beat))
        assert not is_suspended(replace(beat, machine="another"))
        os.kill(child.pid, signal.SIGCONT)
        wait_for(lambda: not is_suspended(beat))
    finally:
        child.kill()
        child.wait()
    assert not is_suspended(beat)


def wait_for(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# -- deaths of workers


def test_a_worker_that_dies_is_replaced_twice_and_then_its_training_fails(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    other, task = desk.take("other"), desk.take("0")
    for i in range(3):
        if i:
            assert desk.take(str(i)) == task
        desk.end(str(i), Death(kind="worker_died", message="its worker process crashed: Segmentation fault"))
    desk.succeed("other")
    _, result = Ledger(tmp_path).read().trials[task.id]
    assert (result.failure, result.message) == ("worker_died", "its worker process crashed: Segmentation fault")
    assert other.id in Ledger(tmp_path).read().trials


def test_a_training_whose_worker_was_killed_for_memory_is_tried_once_more_alone(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    task = desk.take("a")
    killed = Death(kind="out_of_memory", message="its worker process was killed because memory ran out")
    desk.end("a", killed)
    assert Ledger(tmp_path).read().retried == {task.id: killed.message}
    again = desk.take("b")
    assert (again.trial, again.alone) == (task.trial, True)
    desk.end("b", killed)
    assert Ledger(tmp_path).read().trials[task.id][1].failure == "out_of_memory"


def test_an_exception_before_the_training_is_not_tried_again(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    for i in range(2):
        desk.take(str(i))
        desk.end(str(i), Death(kind="fault", message="ModuleNotFoundError: No module named 'rksearch'"))
    desk.take("2")
    desk.end("2", Death(kind="fault", message="ModuleNotFoundError: No module named 'rksearch'"))
    assert "3 trainings all failed alike" in str(desk.searcher.abort)
    assert "No module named 'rksearch'; mend the cause" in str(desk.searcher.abort)
    assert not Ledger(tmp_path).read().trials


def test_first_trainings_that_all_fail_alike_stop_the_run_and_later_ones_do_not(tmp_path: Path) -> None:
    """An exception while a network is trained is its own fault only if others can be trained."""
    failed = {"result": to_plain(TrialResult(status="failed", failure="error", message="ValueError: lr"))}
    state, _ = new_state(tmp_path / "first")
    for _ in range(2):
        state.on_end(must(state.next()), failed)
    from rksearch.errors import RunAborted

    with pytest.raises(RunAborted, match="3 trainings all failed alike before any succeeded"):
        state.on_end(must(state.next()), failed)
    assert not Ledger(tmp_path / "first").read().trials

    state, _ = new_state(tmp_path / "later")
    first = must(state.next())
    state.on_end(first, outcome(first))
    tasks = [must(state.next()) for _ in range(4)]
    for task in tasks:
        state.on_end(task, failed)
    assert {task.id for task in tasks} <= set(Ledger(tmp_path / "later").read().failed)


def test_networks_that_diverge_one_after_the_other_are_each_their_own_fault(tmp_path: Path) -> None:
    failed = {"result": to_plain(TrialResult(status="failed", failure="non_finite_loss", message="the loss is nan"))}
    state, _ = new_state(tmp_path)
    for _ in range(4):
        state.on_end(must(state.next()), failed)
    assert len(Ledger(tmp_path).read().failed) == 4


def test_failed_trainings_are_tried_again_when_asked(tmp_path: Path) -> None:
    state, _ = new_state(tmp_path)
    failed = {"result": to_plain(TrialResult(status="failed", failure="non_finite_loss", message="the loss is nan"))}
    task, second = must(state.next()), must(state.next())
    state.on_end(task, failed)
    state.on_end(second, outcome(second))
    assert must(state.next()).id != task.id
    ledger = Ledger(tmp_path)
    ledger.write_reopened(task.id)
    ledger.write_reopened(second.id)  # complete: it stays
    history = ledger.read()
    assert task.id not in history.trials
    assert second.id in history.trials
    state, _ = new_state(tmp_path)
    again = must(state.next())
    assert again.trial == task.trial
    state.on_end(again, outcome(again))
    history = ledger.read()
    assert history.trials[task.id][1].status == "complete"
    assert history.repeated == 0
