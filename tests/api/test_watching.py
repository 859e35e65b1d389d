"""Notes on a run while it runs: what `rksearch status` shows of it, and the page that is written again."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from rksearch.api import Run
from rksearch.api.watching import REWRITE_S, NotingView
from rksearch.errors import RunError
from rksearch.report import format_status, status_json
from rksearch.results.codec import to_plain
from rksearch.results.history import History
from rksearch.results.ledger import Ledger
from rksearch.results.live import LiveProgress, LiveTask
from rksearch.results.run_dir import RunDir
from rksearch.search.agenda import SearchAgenda
from rksearch.search.run_state import RunState
from rksearch.search.session import SessionClock
from tests.helpers.command_line import Answer
from tests.helpers.ledgers import complete, environment_record, full_run, space_record
from tests.helpers.simulation import ARCHS, ListProposer, must, settings


class Lines:
    """A view that keeps what it was given."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def message(self, text: str) -> None:
        self.lines.append(text)

    def start(self, state: RunState, slots: int) -> None:
        self.lines.append(f"start {slots}")

    def forecast(self, found: object, smaller: object) -> None: ...

    def refresh(self) -> None: ...

    def close(self) -> None:
        self.lines.append("close")


class Clock:
    """Seconds that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def begun(path: Path) -> RunState:
    ledger = Ledger(path)
    plan = settings(trials=4)
    ledger.write_run(name="run", space=space_record(), plan=plan)
    ledger.write_session(environment=environment_record(), options={})
    return RunState(ledger, lambda history: SearchAgenda(plan, ListProposer(ARCHS), history))


def test_a_task_that_waits_for_a_slot_is_not_running(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path)
    with run_dir.driver():
        state = begun(tmp_path)
        first, second, third = (state.next() for _ in range(3))
        assert first is not None
        assert second is not None
        assert third is not None
        for task in (first, second):
            state.on_start(task)
        state.on_epoch(first, complete(40.0).epochs[2])
        run_dir.note_progress(SessionClock(state, 2).progress())
        found = Run(tmp_path).status()
        shown = status_json(found)
        words = format_status(found)
    assert (shown["state"], shown["running"], shown["waiting"], shown["live"]["slots"]) == ("running", 2, 1, 2)
    assert shown["running_trials"] == [first.id, second.id]
    assert shown["live"]["waiting"] == [third.id]
    epoch = complete(40.0).epochs[2]
    assert shown["live"]["running"][0] == {
        "id": first.id,
        "epoch": 3,
        "epochs": 9,
        "error_pct": epoch.val_error_pct,
        "train_loss": epoch.train_loss,
        "left_s": pytest.approx(6 * epoch.train_time_s),
    }
    assert shown["live"]["running"][1]["error_pct"] is None
    # Two baselines and a known network with three seeds each, four candidates and the front's further seeds.
    assert shown["live"]["to_come"] > 4
    assert 0 < shown["live"]["seeds_to_come"] < shown["live"]["to_come"]
    assert f"{first.id}: epoch 3 of 9, loss {epoch.train_loss:.3f}, validation error " in words
    assert f"{third.id}: waits for a slot" in words
    assert "2 running, 1 waiting, " in words
    assert shown["eta"] is None
    assert "no estimate of the time left yet" in words


def test_a_training_that_crashed_is_shown_as_failed_until_others_say_where_the_cause_lies(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path)
    with run_dir.driver():
        state = begun(tmp_path)
        crashed, working = must(state.next()), must(state.next())
        for task in (crashed, working):
            state.on_start(task)
        state.on_end(crashed, {"failure": "worker_died", "message": "the worker\x1b\ndied"})
        run_dir.note_progress(SessionClock(state, 2).progress())
        found = Run(tmp_path).status()
        shown, words = status_json(found), format_status(found)
        state.on_end(working, {"result": to_plain(complete(20.0))})
        run_dir.note_progress(SessionClock(state, 2).progress())
        later = format_status(Run(tmp_path).status())
    assert (shown["running"], shown["waiting"], shown["failed"]) == (1, 0, 0)
    assert [task["id"] for task in shown["live"]["kept_back"]] == [crashed.id]
    assert f"{crashed.id}: failed: the worker? died; it waits to see whether others fail alike\n" in words
    assert "1 running, 0 waiting, 1 kept back, " in words
    assert f"{crashed.id}: waits for a slot" not in words
    assert "0 waiting, " in later
    assert "kept back" not in later
    assert "1 failed, 0 pruned" in later


def test_a_driver_that_died_leaves_no_running_trainings(tmp_path: Path) -> None:
    state = begun(tmp_path)
    task = state.next()
    assert task is not None
    state.on_start(task)
    (tmp_path / "work").mkdir()
    RunDir(tmp_path).note_progress(SessionClock(state, 1).progress())
    run = Run(tmp_path)
    found = status_json(run.status())
    assert (found["state"], found["running"], found["live"]) == ("killed", 0, None)
    assert f"unfinished: {task.id}; `rksearch resume` continues them" in format_status(run.status())
    run.write_report()
    assert "was killed and can be resumed" in (tmp_path / "README.md").read_text()


def test_a_note_comes_back_as_it_was_and_a_damaged_one_is_none(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path)
    (tmp_path / "work").mkdir()
    note = LiveProgress(
        time="2026-01-01T00:00:00Z",
        slots=2,
        running=(LiveTask(id="ResNet-8@0", epoch=1, epochs=8, error_pct=12.5, train_loss=None, left_s=3.0),),
        waiting=("ResNet-14@0",),
        to_come=3,
        seeds_to_come=1,
        elapsed_s=10.0,
        remaining_s=20.0,
    )
    assert run_dir.progress() is None
    run_dir.note_progress(note)
    assert run_dir.progress() == note
    path = tmp_path / "work" / "progress.json"
    whole = path.read_bytes()
    for content in (b"", b"{", b"[]", b'{"time": 3}', b"[" * 10**5, whole[:-9], whole.replace(b"00Z", b"00")):
        path.write_bytes(content)
        assert run_dir.progress() is None
    run_dir.forget_progress()
    run_dir.forget_progress()
    assert not path.exists()
    assert to_plain(note)["running"][0]["train_loss"] is None


def test_the_page_is_there_after_the_first_training_and_then_written_again_not_too_often(tmp_path: Path) -> None:
    run_dir, clock, written, shown = RunDir(tmp_path), Clock(), list[History](), Lines()
    with run_dir.driver():
        state = begun(tmp_path)
        view = NotingView(shown, run_dir, write=written.append, clock=clock)
        view.start(state, 1)
        assert run_dir.progress() is not None

        def wait(seconds: float) -> None:
            clock.now += seconds
            view.refresh()
            for thread in threading.enumerate():
                if thread.name == "report":
                    thread.join()

        def train() -> None:
            task = state.next()
            assert task is not None
            state.on_start(task)
            state.on_end(task, {"result": to_plain(complete(20.0))})

        wait(1)
        assert written == [], "nothing has happened"
        train()
        wait(1)
        assert [len(history.trials) for history in written] == [1], "the first training has ended"
        train()
        wait(REWRITE_S - 1)
        assert len(written) == 1, "the last page is not old enough"
        wait(1)
        assert [len(history.trials) for history in written] == [1, 2]
        wait(REWRITE_S)
        assert len(written) == 2, "nothing has happened"
        view.close()
    assert run_dir.progress() is None
    assert shown.lines == ["start 1", "close"]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (RunError("the disk is full; make room"), "the disk is full; make room"),
        (KeyError("x"), "the report of a run under way could not be written (KeyError: 'x')"),
    ],
)
def test_a_page_that_cannot_be_written_costs_one_line_and_not_the_run(
    tmp_path: Path, error: Exception, line: str
) -> None:
    def fail(history: History) -> None:
        raise error

    shown, clock = Lines(), Clock()
    run_dir = RunDir(tmp_path)
    with run_dir.driver():
        state = begun(tmp_path)
        view = NotingView(shown, run_dir, write=fail, clock=clock)
        view.start(state, 1)
        task = state.next()
        assert task is not None
        state.on_start(task)
        for _ in range(3):
            state.on_epoch(task, complete(20.0).epochs[0])
            state.ledger.write_start(task.id)
            state.history = state.ledger.read()
            clock.now += 10 * REWRITE_S
            view.refresh()
        view.close()
    assert shown.lines == ["start 1", line, "close"]


def test_a_note_that_cannot_be_written_costs_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: RunDir, progress: LiveProgress) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RunDir, "note_progress", full)
    shown, clock = Lines(), Clock()
    view = NotingView(shown, RunDir(tmp_path), write=lambda history: None, clock=clock)
    view.start(begun(tmp_path), 1)
    for _ in range(3):
        clock.now += 100
        view.refresh()
    assert shown.lines == ["start 1", "The progress cannot be noted for `rksearch status` (No space left on device)."]


def test_watching_shows_each_change_and_ends_with_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[Callable[[], object]] = []

    with RunDir(tmp_path).driver():
        state = begun(tmp_path)
        steps = [
            lambda: None,
            lambda: state.ledger.write_start("ResNet-8@0"),
            lambda: None,
            lambda: state.ledger.write_end("finished"),
        ]
        monkeypatch.setattr("time.sleep", lambda seconds: steps.pop(0)())
        seen = [found.state for found in Run(tmp_path).watch()]
    assert seen == ["running", "running", "finished"]
    assert steps == []


def test_following_a_run_that_has_ended_shows_it_once(tmp_path: Path, answer: Callable[..., Answer]) -> None:
    full_run(tmp_path)
    code, shown, errors = answer("status", str(tmp_path), "--follow", "--json")
    assert (code, errors) == (0, "")
    (line,) = shown.splitlines()
    assert json.loads(line)["state"] == "finished"
    code, words, _ = answer("status", str(tmp_path), "--follow")
    assert code == 0
    assert words == answer("status", str(tmp_path))[1]
