"""Reading the test set of a run whose search is not over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rksearch.api import final_run
from rksearch.api.launch import plan_run
from rksearch.cli.exits import EXIT_INTERRUPTED
from rksearch.cli.runs import _conclude
from rksearch.errors import RunAborted, RunError
from rksearch.results.codec import from_plain, to_plain
from rksearch.results.ledger import Ledger
from rksearch.results.records import Role, TrialResult, TrialSpec
from rksearch.search import driver
from rksearch.search.final import FinalAgenda
from rksearch.search.planning import Asked
from rksearch.search.ray.tune import do_task
from rksearch.search.run_state import RunState
from rksearch.search.tasks import Task
from rksearch.training import trial as trial_module
from rksearch.training.execution import Execution, trial_dir
from tests.helpers.command_line import TINY_SPACE, Answer
from tests.helpers.ledgers import environment_record
from tests.helpers.simulation import must, outcome, settings, work

BASELINES = ("DenseNet-10-k2", "ResNet-8")


def run_of(path: Path, *trained: str, trials: int = 3, role: Role = "baseline") -> Ledger:
    """A run of some trainings in this role that lasts."""
    (path / "tiny.yaml").write_text(TINY_SPACE)
    planned = plan_run(path / "tiny.yaml", out=path / "run", asked=Asked(trials=trials, final_seeds=1))
    plan, ledger = planned.plan, Ledger(path / "run")
    ledger.write_run(name="run", space=planned.space.summary(), plan=plan)
    ledger.write_session(environment=environment_record(), options={})
    for arch in trained:
        spec = TrialSpec(
            arch=arch,
            dataset="digits",
            recipe=plan.recipe,
            train_images=plan.train_images,
            replicate=0,
            role=role,
        )
        result = from_plain(TrialResult, outcome(Task("train", spec))["result"])
        ledger.write_trial(spec, result, wall_time_s=1.0)
    return ledger


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks are done by the simulation."""

    def done(state: RunState, *args: Any, **options: Any) -> None:
        work(state, slots=1)

    monkeypatch.setattr(trial_module, "require_finished", lambda *args: None)
    monkeypatch.setattr(driver, "begin_session", lambda *args, **options: SimpleNamespace(precision="fp32", threads=1))
    monkeypatch.setattr(driver, "run_tasks", done)


@pytest.mark.parametrize(
    ("budget", "state"), [("after 2 CPU hours", "stopped"), (None, "interrupted")], ids=["stopped", "interrupted"]
)
def test_reading_the_test_set_does_not_finish_a_search(
    tmp_path: Path, at_once: None, budget: str | None, state: str
) -> None:
    run_of(tmp_path, *BASELINES).write_end("interrupted", budget=budget)
    for _ in range(2):  # the second time, nothing is left to read
        run = final_run(tmp_path / "run")
        assert {reading.arch for reading in run.history.tests} == set(BASELINES)
        assert (run.history.state, run.history.message) == (state, budget)
        assert _conclude(run, quiet=True) == 0, "all was read"
    assert len(run.history.tests) == 2


def test_a_search_that_is_over_is_finished_after_an_interrupted_reading(tmp_path: Path, at_once: None) -> None:
    ledger = run_of(tmp_path, *BASELINES, trials=0)
    ledger.write_end("finished")
    ledger.write_session(environment=environment_record(), options={})
    ledger.write_end("interrupted")
    run = final_run(tmp_path / "run")
    assert (run.history.state, len(run.history.tests)) == ("finished", 2)


def test_an_interrupted_reading_says_so(tmp_path: Path, at_once: None, monkeypatch: pytest.MonkeyPatch) -> None:
    run_of(tmp_path, *BASELINES, trials=0).write_end("finished")
    monkeypatch.setattr(driver, "run_tasks", lambda state, *args, **options: work(state, slots=1, stop_after=1))
    run = final_run(tmp_path / "run")
    assert (run.history.state, len(run.history.tests)) == ("interrupted", 1)
    assert _conclude(run, quiet=True) == EXIT_INTERRUPTED


def test_a_run_without_a_training_has_nothing_to_read_with(tmp_path: Path) -> None:
    run_of(tmp_path).write_end("failed", "Ray must be reachable")
    with pytest.raises(RunError, match=r"read with complete trainings, but .*run has none; continue it with"):
        final_run(tmp_path / "run")
    assert Ledger(tmp_path / "run").read().state == "failed"


def checkpoint(ledger: Ledger, arch: str, work_dir: Path, storage: str | None = None) -> TrialSpec:
    """Save the end of a recorded training."""
    spec, result = ledger.read().trials[f"{arch}@0"]
    directory = trial_dir(work_dir, spec.id)
    directory.mkdir(parents=True)
    store = trial_module._checkpoints(spec, Execution(work_dir=str(work_dir), data_dir="", storage=storage), directory)
    store.save({"epochs": [1, 2], "result": to_plain(result), "model": {}})
    return spec


def test_a_run_without_its_checkpoints_is_not_trained_again_in_silence(
    tmp_path: Path, answer: Callable[..., Answer]
) -> None:
    """As a cloned run directory is, whose scratch git ignores."""
    ledger = run_of(tmp_path, *BASELINES, trials=0)
    ledger.write_end("finished")
    before = ledger.path.read_bytes()
    code, _, errors = answer("final", tmp_path / "run")
    [line] = errors.splitlines()
    assert code == 2
    first = trial_dir(tmp_path / "run" / "work", f"{BASELINES[0]}@0")
    assert f"that of {BASELINES[0]}@0 and 1 more is not on this machine in {first};" in line
    assert line.endswith("or train again with --fresh")
    checkpoint(ledger, BASELINES[0], tmp_path / "run" / "work")
    code, _, errors = answer("final", tmp_path / "run")
    assert (code, len(errors.splitlines())) == (2, 1)
    assert f"that of {BASELINES[1]}@0 is not on this machine in" in errors
    assert ledger.path.read_bytes() == before


def test_a_copy_in_the_storage_is_enough(tmp_path: Path) -> None:
    ledger = run_of(tmp_path, *BASELINES)
    storage = f"file://{tmp_path}/storage"
    specs = [checkpoint(ledger, arch, tmp_path / "elsewhere", storage) for arch in BASELINES]
    trial_module.require_finished(specs, tmp_path / "here", storage)
    with pytest.raises(RunError, match="nor in the storage; put it back"):
        trial_module.require_finished(specs, tmp_path / "here", f"file://{tmp_path}/other")
    assert not (tmp_path / "here").exists()


def test_new_trainings_need_none(tmp_path: Path, at_once: None, monkeypatch: pytest.MonkeyPatch) -> None:
    run_of(tmp_path, *BASELINES)
    asked: list[list[TrialSpec]] = []
    monkeypatch.setattr(trial_module, "require_finished", lambda specs, *places: asked.append(specs))
    final_run(tmp_path / "run", ["ResNet-8"], fresh=1)
    assert asked == [[]]


def test_a_reading_on_a_machine_without_the_checkpoint_ends_the_session_and_records_nothing(tmp_path: Path) -> None:
    ledger = run_of(tmp_path, *BASELINES)
    spec, _ = ledger.read().trials["ResNet-8@0"]
    found = do_task(Task("test", spec), Execution(work_dir=str(tmp_path / "there"), data_dir="", precision="fp32"))
    assert found["exit_code"] == 2
    assert "that of ResNet-8@0 is not on this machine in" in found["abort"]
    assert not list((tmp_path / "there").rglob("*.pt")), "nothing was trained"
    state = RunState(ledger, lambda _: FinalAgenda(settings(), ["ResNet-8"], fresh=0))
    task = must(state.next())
    with pytest.raises(RunAborted, match="put it back"):
        state.on_end(task, found)
    assert ledger.read().tests == ()


def test_a_network_of_the_control_arm_alone_is_read_with_fresh_trainings_only(
    tmp_path: Path, at_once: None, answer: Callable[..., Answer]
) -> None:
    drawn, run = "RKNet-k2-m1_1_1-1x1_1x1_1x1", tmp_path / "run"
    run_of(tmp_path, drawn, role="control").write_end("interrupted")
    code, _, error = answer("final", str(run), "--arch", drawn)
    assert (code, error.count("\n")) == (2, 1)
    assert error.endswith(f"but only the control arm has trained {drawn}; give --fresh N to train it again\n")
    code, _, error = answer("final", str(run))
    assert code == 2
    assert error.endswith(
        f"the baselines and the front, but {run} has neither yet; continue it with `rksearch resume`\n"
    )
    assert Ledger(run).read().tests == ()
    assert answer("final", str(run), "--arch", drawn, "--fresh", "2")[0] == 0
    assert [(test.arch, test.trial.count("final")) for test in Ledger(run).read().tests] == [(drawn, 1)] * 2
