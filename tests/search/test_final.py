"""Reading the test set of a run whose search is not over."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rksearch.api import final_run
from rksearch.api.launch import plan_run
from rksearch.cli.exits import EXIT_INTERRUPTED
from rksearch.cli.runs import _conclude
from rksearch.errors import RunError
from rksearch.results.codec import from_plain
from rksearch.results.ledger import Ledger
from rksearch.results.records import TrialResult, TrialSpec
from rksearch.search import driver
from rksearch.search.planning import Asked
from rksearch.search.run_state import RunState
from rksearch.search.tasks import Task
from tests.helpers.command_line import TINY_SPACE
from tests.helpers.ledgers import environment_record
from tests.helpers.simulation import outcome, work

BASELINES = ("DenseNet-10-k2", "ResNet-8")


def run_of(path: Path, *trained: str, trials: int = 3) -> Ledger:
    """A run of some trainings that lasts."""
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
            role="baseline",
        )
        result = from_plain(TrialResult, outcome(Task("train", spec))["result"])
        ledger.write_trial(spec, result, wall_time_s=1.0)
    return ledger


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks are done by the simulation."""

    def done(state: RunState, *args: Any, **options: Any) -> None:
        work(state, slots=1)

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
