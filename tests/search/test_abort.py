"""Runs that cannot go on: one line with the remedy, the reason in the ledger, and no process left behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import numpy as np
import pytest
from ray.tune.experiment import Trial
from ray.tune.search import Searcher

from rksearch.errors import DataError, LedgerError, RunAborted, RunError
from rksearch.results.codec import to_plain
from rksearch.results.history import History
from rksearch.results.ledger import Ledger
from rksearch.results.records import TrialResult
from rksearch.search import disk, driver, session_start
from rksearch.search.agenda import SearchAgenda
from rksearch.search.planning import Asked, plan_of
from rksearch.search.ray.tune import LedgerSearcher, StateCallback, do_task
from rksearch.search.reservations import Reservations
from rksearch.search.resources import Resources
from rksearch.search.run_state import RunState
from rksearch.search.tasks import Task
from rksearch.space import load_space
from rksearch.training import trial as trials
from rksearch.training.execution import Execution, trial_dir
from tests.helpers.command_line import TINY_SPACE, Answer, rksearch, rksearch_json
from tests.helpers.processes import none_left, started, wait_until
from tests.helpers.simulation import ListProposer, must, new_state, settings

ONE_TRIAL = Reservations(trial={"cpu": 1.0, "gpu": 0.0}, whole={"cpu": 2.0, "gpu": 0.0}, largest=2)
EXECUTION = Execution(work_dir="/nowhere", data_dir="/nowhere")


def searcher_of(state: RunState) -> LedgerSearcher:
    return LedgerSearcher(state, EXECUTION, ONE_TRIAL, lambda: 2)


def outcome(task: Task) -> dict[str, Any]:
    result = TrialResult(status="failed", failure="non_finite_loss", message="the loss is nan")
    return {"outcome": json.dumps({"results": [to_plain(result)] * len(task.each())})}


# -- out of Tune


def test_an_exception_in_a_hook_ends_tune_by_the_one_way_that_tune_lets_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tune calls a hook again for a trial whose end it could not process: nothing may happen then."""
    state, _ = new_state(tmp_path)
    searcher = searcher_of(state)
    refreshed: list[int] = []
    callback = StateCallback(searcher, lambda: refreshed.append(1))
    assert isinstance(searcher.suggest("a"), dict)
    callback.on_step_end(1, [])
    assert refreshed == [1]

    refused = LedgerError("the ledger must be writable, but it is not")

    def full(*args: object, **kwargs: object) -> None:
        raise refused

    monkeypatch.setattr(state.ledger, "write_trial", full)
    result = outcome(searcher.tasks["a"])
    searcher.on_trial_complete("a", result)  # what Tune would catch
    searcher.on_trial_complete("a", error=True)  # Tune's second attempt
    assert searcher.suggest("b") == Searcher.FINISHED
    assert "b" not in searcher.tasks
    with pytest.raises(LedgerError) as ended:
        callback.on_step_end(2, [])
    assert ended.value is refused
    assert refreshed == [1]


def test_an_end_that_tune_reports_twice_counts_once(tmp_path: Path) -> None:
    state, _ = new_state(tmp_path)
    searcher = searcher_of(state)
    searcher.suggest("a")
    task = searcher.tasks["a"]
    searcher.on_trial_complete("a", outcome(task))
    searcher.on_trial_complete("a", error=True)
    assert searcher.abort is None
    assert Ledger(tmp_path).read().trials[task.id][1].failure == "non_finite_loss"


def test_an_exception_while_a_task_is_chosen_or_starts_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object) -> None:
        raise ValueError("broken")

    for name in ("next", "on_start"):
        state, _ = new_state(tmp_path / name)
        searcher = searcher_of(state)
        callback = StateCallback(searcher, lambda: None)
        monkeypatch.setattr(state, name, broken)
        searcher.suggest("a")
        callback.on_trial_start(1, [], cast(Trial, SimpleNamespace(trial_id="a")))
        with pytest.raises(ValueError, match="broken"):
            callback.on_step_end(1, [])


# -- what a worker meets


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (DataError("gone"), {"abort": "gone", "exit_code": 2}),
        (LedgerError("full"), {"abort": "full", "exit_code": 1}),
        (OSError(28, "No space left on device"), {"abort": "No space left on device"}),
        (ModuleNotFoundError("No module named 'nowhere'"), {"abort": "nowhere"}),
        (KeyError("weights"), {"failure": "fault", "message": "KeyError: 'weights'"}),
        (SystemExit(3), {"failure": "fault", "message": "SystemExit: 3"}),
    ],
)
def test_whatever_escapes_in_a_worker_keeps_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: BaseException, expected: dict[str, Any]
) -> None:
    state, _ = new_state(tmp_path / "run")
    task = must(state.next())
    execution = Execution(work_dir=str(tmp_path / "work"), data_dir="")
    directory = trial_dir(tmp_path / "work", task.trial.id)
    directory.mkdir(parents=True)

    def run_trials(*args: object, **kwargs: object) -> None:
        raise raised

    monkeypatch.setattr(trials, "run_trials", run_trials)
    found = do_task(task, execution)
    for key, value in expected.items():
        assert value == found[key] or str(value) in str(found[key])
    assert (directory / "error.txt").exists() == ("failure" in expected)


def test_bad_input_that_a_worker_meets_exits_as_bad_input(tmp_path: Path) -> None:
    state, _ = new_state(tmp_path)
    with pytest.raises(RunAborted) as ended:
        state.on_end(must(state.next()), {"abort": "the images have changed", "exit_code": 2})
    assert ended.value.exit_code == 2


def test_one_fault_is_a_failed_row_once_another_training_succeeds(tmp_path: Path) -> None:
    state, _ = new_state(tmp_path)
    first, second = must(state.next()), must(state.next())
    state.on_end(first, {"failure": "fault", "message": "KeyError: 'x'"})
    assert first.id not in Ledger(tmp_path).read().trials
    failed = TrialResult(status="failed", failure="non_finite_loss", message="nan")
    state.on_end(second, {"result": to_plain(failed)})
    _, result = Ledger(tmp_path).read().trials[first.id]
    assert (result.status, result.failure, result.message) == ("failed", "error", "KeyError: 'x'")
    assert not state.running


def test_faults_on_end_stop_the_run_and_count_as_untried(tmp_path: Path) -> None:
    state, _ = new_state(tmp_path)
    for _ in range(2):
        state.on_end(must(state.next()), {"failure": "fault", "message": "KeyError: 'x'"})
    with pytest.raises(RunAborted, match=r"3 trainings all failed alike .* KeyError: 'x'; mend the cause"):
        state.on_end(must(state.next()), {"failure": "fault", "message": "KeyError: 'x'"})
    assert Ledger(tmp_path).read().trials == {}


def test_faults_of_different_causes_are_each_their_trial_s(tmp_path: Path) -> None:
    state, _ = new_state(tmp_path)
    tasks = [must(state.next()) for _ in range(3)]
    for i, task in enumerate(tasks):
        state.on_end(task, {"failure": "fault", "message": f"KeyError: {i}"})
    assert set(Ledger(tmp_path).read().trials) == {task.id for task in tasks[:2]}


def test_a_last_training_that_meets_a_fault_is_recorded_when_nothing_can_follow_it(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    plan = settings(baselines=("ResNet-8",), known=(), trials=0, final_seeds=1)
    state = RunState(ledger, lambda history: SearchAgenda(plan, ListProposer([]), history))
    task = must(state.next())
    state.on_end(task, {"failure": "fault", "message": "KeyError: 'x'"})
    assert not state.done
    assert state.next() is None
    assert state.done
    assert ledger.read().trials[task.id][1].message == "KeyError: 'x'"


# -- before Ray starts


class Refused(NamedTuple):
    """A command that must fail before Ray starts."""

    more: tuple[str, ...]
    space: str
    code: int
    says: str


REFUSED = {
    "no such device": Refused(("--device", "cuda"), "", 2, "torch sees no CUDA device"),
    "too many CPUs": Refused(("--cpus-per-trial", "4096"), "", 2, "--cpus-per-trial is 4096"),
    "storage out of reach": Refused(("--storage", "/proc/nowhere/x"), "", 1, "/proc/nowhere/x"),
}


def no_directory(path: Path, kind: str) -> Path:
    """A path at which no directory can be."""
    match kind:
        case "device":
            return Path("/dev/null")
        case "pipe":
            os.mkfifo(path)
        case "loop":
            path.symlink_to(path)
        case "nowhere":
            path.symlink_to(path.with_name("gone"))
        case "file":
            path.write_text("mine")
        case "in a file":
            path.write_text("mine")
            return path / "in" / "it"
        case "long":
            return path.with_name("x" * 300)
    return path


@pytest.fixture
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:

    def run_tasks(*args: object, **kwargs: object) -> None:
        raise AssertionError("Ray would have started")

    monkeypatch.setattr(driver, "run_tasks", run_tasks)


def space_in(directory: Path, more: str = "") -> Path:
    path = directory / "tiny.yaml"
    text = TINY_SPACE.replace("train_images: 100", more) if more.startswith("train_images") else TINY_SPACE
    path.write_text(text)
    return path


@pytest.mark.usefixtures("no_ray")
@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_what_can_be_known_before_ray_starts_is_one_line_and_the_reason_is_recorded(
    tmp_path: Path, answer: Callable[..., Answer], case: Refused
) -> None:
    run_dir = tmp_path / "run"
    code, _, errors = answer("run", "--space", space_in(tmp_path, case.space), "--out", run_dir, *case.more)
    assert code == case.code, errors
    assert case.says in errors
    assert len(errors.strip().splitlines()) == 1
    history = Ledger(run_dir).read()
    assert history.state == "failed"
    assert case.says in str(history.message)
    assert answer("status", run_dir)[1].startswith("run: failed (")


@pytest.mark.usefixtures("no_ray")
@pytest.mark.parametrize("scheme", ["", "file://"])
@pytest.mark.parametrize("kind", ["device", "pipe", "loop", "nowhere", "file", "in a file", "long"])
def test_a_storage_that_can_be_no_directory_is_bad_input(
    tmp_path: Path, answer: Callable[..., Answer], kind: str, scheme: str
) -> None:
    storage = no_directory(tmp_path / "storage", kind)
    code, _, errors = answer(
        "run", "--space", space_in(tmp_path), "--out", tmp_path / "run", "--storage", f"{scheme}{storage}"
    )
    assert code == 2, errors
    assert len(errors.strip().splitlines()) == 1
    assert "the storage must be a directory, or a path at which one can be made, but" in errors
    assert Ledger(tmp_path / "run").read().state == "failed"


def test_more_images_than_there_are_is_one_line_of_the_space_file(
    tmp_path: Path, answer: Callable[..., Answer]
) -> None:
    run_dir = tmp_path / "run"
    code, _, errors = answer("run", "--space", space_in(tmp_path, "train_images: 20_000"), "--out", run_dir)
    assert code == 2
    assert re.fullmatch(r"rksearch: \S+tiny.yaml:\d+: train_images: digits has at most [\d,]+ images .+\n", errors)
    assert not run_dir.exists()


def test_a_plan_that_never_began_gives_way_to_one_that_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Callable[..., Answer]
) -> None:

    monkeypatch.setattr(driver, "run_tasks", lambda *args, **kwargs: None)
    run_dir = tmp_path / "run"
    space = space_in(tmp_path)
    assert answer("run", "--space", space, "--out", run_dir, "--cpus-per-trial", "4096", "--epochs", "3")[0] == 2
    assert Ledger(run_dir).read().state == "failed"
    code, _, errors = answer("run", "--space", space, "--out", run_dir, "--epochs", "2")
    assert code == 130, errors  # nothing was trained
    plan = Ledger(run_dir).read().plan
    assert plan is not None
    assert plan.recipe.epochs == 2


@pytest.mark.usefixtures("no_ray")
def test_a_disk_without_room_for_the_checkpoints_is_known_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Callable[..., Answer]
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=100_000))
    code, _, errors = answer("run", "--space", space_in(tmp_path), "--out", tmp_path / "run")
    assert code == 1
    assert "room for the run's checkpoints" in errors
    assert "100 kB free" in errors
    assert len(errors.strip().splitlines()) == 1


def test_an_exception_that_nothing_foresaw_is_one_line_with_its_traceback_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Callable[..., Answer]
) -> None:

    def run_tasks(*args: object, **kwargs: object) -> None:
        raise EOFError("Ran out\nof input \udcff")

    monkeypatch.setattr(driver, "run_tasks", run_tasks)
    run_dir = tmp_path / "run"
    code, _, errors = answer("run", "--space", space_in(tmp_path), "--out", run_dir)
    assert code == 1
    assert len(errors.strip().splitlines()) == 1
    assert r"EOFError: Ran out of input \udcff" in errors
    assert f"rksearch resume {run_dir}" in errors
    note = (run_dir / "work" / "error.txt").read_text()
    assert "run_tasks" in note
    assert r"of input \udcff" in note
    history = Ledger(run_dir).read()
    assert history.state == "failed"
    assert r"Ran out of input \udcff" in str(history.message)


@pytest.mark.slow
def test_the_forecast_of_disk_use_bounds_what_checkpoints_take(tmp_path: Path) -> None:
    """Against the files of a real training."""
    done = rksearch("train", "ResNet-8", "--dataset", "digits", "--recipe", "short", "--epochs", "2",
                    "--train-images", "100", "--out", "work", cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    files = list((tmp_path / "work").glob("ResNet-8@0-*/trials/ResNet-8@0/*.pt"))
    assert len(files) == disk.KEPT
    from rksearch.arch import parse
    from rksearch.arch.cost import cost
    from rksearch.data.facts import dataset
    from rksearch.recipes.shipped import recipe

    predicted = disk.checkpoint_bytes(cost(parse("ResNet-8"), dataset("digits")).params, recipe("short", epochs=2))
    for file in files:
        assert 0.5 * predicted < file.stat().st_size < predicted


def test_the_forecast_counts_what_is_left(tmp_path: Path) -> None:
    space = load_space(space_in(tmp_path))
    plan = plan_of(space.definition, Asked(), members=len(space))
    need = disk.disk_need(space, plan, History())
    assert 0 < need.least < need.most
    ended = {f"{arch}@0": (SimpleNamespace(arch=arch), None) for arch in plan.baselines}
    later = disk.disk_need(space, plan, History(trials=cast(Any, ended)))
    assert later.least < need.least
    more = disk.disk_need(space, plan_of(space.definition, Asked(trials=6), members=len(space)), History())
    assert need.most < more.most
    # As many candidates as the space has, which a budget of time may stand for: no list of them is made.
    every = disk.disk_need(space, replace(plan, trials=10**12, search_seeds=10**6, replicates=10**12), History())
    assert more.most < every.most


def test_a_run_that_ends_by_time_is_not_refused_for_room(
    tmp_path: Path, answer: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "run_tasks", lambda *args, **kwargs: None)
    monkeypatch.setattr(session_start, "disk_need", lambda *args: disk.DiskNeed(least=10**18, most=10**20))
    space = space_in(tmp_path)
    code, shown, errors = answer("run", "--space", space, "--out", tmp_path / "timed", "--cpu-hours", 1)
    assert (code, errors) == (130, "")
    assert "the run stops when the disk is full" in shown
    code, _, errors = answer("run", "--space", space, "--out", tmp_path / "counted")
    assert code == 1
    assert "the disk must have room" in errors


@pytest.mark.parametrize(
    ("machines", "asked", "says"),
    [
        ([{"CPU": 1.0}, {"CPU": 1.0}], Resources(cpus_per_trial=2), "--cpus-per-trial is 2 and the largest has 1"),
        ([{"CPU": 8.0}, {"CPU": 1.0, "GPU": 1.0}], Resources(cpus_per_trial=2, gpus_per_trial=1), "none has 2 CPUs"),
        ([{"CPU": 8.0}], Resources(device="cuda"), "needs a part of a GPU"),
        ([{"CPU": 8.0, "GPU": 1.0}], Resources(device="cuda", gpus_per_trial=0), "needs a part of a GPU"),
    ],
)
def test_a_trial_fits_on_one_machine(machines: list[dict[str, float]], asked: Resources, says: str) -> None:
    with pytest.raises(RunError, match=says):
        Reservations.on(machines, asked)


# -- with real Ray


@pytest.mark.slow
@pytest.mark.ci
def test_a_ledger_that_cannot_be_written_any_more_ends_the_run_in_seconds(tmp_path: Path) -> None:
    """The exception arises inside a hook of Tune's; afterwards the run is resumed and loses nothing."""
    run_dir = tmp_path / "run"
    ledger, aside = run_dir / "ledger.jsonl", tmp_path / "aside.jsonl"
    with started("run", "--space", str(space_in(tmp_path)), "--out", str(run_dir), cwd=tmp_path) as (driver, mark):
        wait_until(lambda: ledger.exists() and len(Ledger(run_dir).read().trials) >= 1, driver)
        ledger.rename(aside)
        ledger.mkdir()
        began = time.monotonic()
        _, errors = driver.communicate(timeout=120)
        assert time.monotonic() - began < 60
        assert driver.returncode == 1
        assert len(errors.strip().splitlines()) == 1, errors
        assert "the ledger must be" in errors  # read or written, whichever comes first
        assert none_left(mark)
    ledger.rmdir()
    aside.rename(ledger)
    kept = Ledger(run_dir).read().trials
    resumed = rksearch("resume", str(run_dir), cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    after = Ledger(run_dir).read().trials
    assert all(after[key] == value for key, value in kept.items())


@pytest.mark.slow
@pytest.mark.ci
def test_images_that_are_gone_when_a_worker_wants_them_end_the_run_as_bad_input(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (80, 8, 8, 1), dtype=np.uint8)
    np.savez(tmp_path / "mine.npz", x_train=images, y_train=np.arange(80) % 2, x_test=images[:20],
             y_test=np.arange(20) % 2)  # fmt: skip
    text = TINY_SPACE.replace("dataset: digits", "dataset: npz:mine.npz").replace("train_images: 100", "")
    (tmp_path / "tiny.yaml").write_text(text)
    run_dir = tmp_path / "run"
    with started("run", "--space", "tiny.yaml", "--out", str(run_dir), cwd=tmp_path) as (driver, mark):
        ledger = run_dir / "ledger.jsonl"
        wait_until(lambda: ledger.exists() and b'"event":"session"' in ledger.read_bytes(), driver)
        (tmp_path / "mine.npz").rename(tmp_path / "moved.npz")
        _, errors = driver.communicate(timeout=240)
        assert driver.returncode == 2
        assert len(errors.strip().splitlines()) == 1, errors
        assert "mine.npz" in errors
        assert none_left(mark)
    history = Ledger(run_dir).read()
    assert history.state == "failed"
    assert not history.trials
    assert rksearch_json("status", str(run_dir), "--json")["state"] == "failed"
