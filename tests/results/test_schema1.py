"""Runs of schema 1: directories that an earlier version wrote are opened, reported and resumed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from rksearch.results.run_dir import read_run
from rksearch.search import driver
from rksearch.search.assembly import search_agenda
from rksearch.space import parse_space
from tests.helpers.command_line import Answer
from tests.helpers.command_line import rksearch as rksearch_command
from tests.helpers.tables import kept

SCHEMA1 = Path(__file__).parent / "schema1"


def copied(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / run.name))


def test_an_absent_key_takes_the_default_of_the_version_that_wrote_it() -> None:
    history = read_run(SCHEMA1 / "showcase")
    plan = history.plan
    assert plan is not None
    assert history.damage == ()
    assert (plan.racing, plan.replicates, plan.control, plan.start, plan.imported) == (None, 0, False, (), ())
    assert (plan.sampler, plan.sampler_seed, plan.objectives) == ("tpe", 0, ("val_error_pct", "params"))
    assert (plan.search_seeds, plan.final_seeds) == (1, 2)


@pytest.mark.parametrize("run", [SCHEMA1 / "showcase", SCHEMA1 / "finished"])
def test_a_finished_run_has_nothing_left_to_do(run: Path) -> None:
    history = read_run(run)
    assert history.state == "finished"
    assert history.run is not None
    space = parse_space(history.run.space.yaml, name=history.run.space.name)
    agenda = search_agenda(space, history.run.plan)(history)
    assert agenda.next(history, {}) is None
    assert agenda.remaining(history).tasks == 0


def test_resuming_a_finished_run_starts_nothing(
    tmp_path: Path, answer: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = copied(SCHEMA1 / "finished", tmp_path)
    ledger = (run_dir / "ledger.jsonl").read_bytes()
    started: list[str] = []
    monkeypatch.setattr(driver, "run_tasks", lambda *args, **kwargs: started.append("Ray"))
    monkeypatch.setattr(driver, "begin_session", lambda *args, **kwargs: started.append("session"))
    code, _, errors = answer("resume", run_dir)
    assert (code, errors, started) == (0, "", [])
    assert (run_dir / "ledger.jsonl").read_bytes() == ledger


@pytest.mark.parametrize("name", ["finished", "interrupted"])
def test_status_and_report_read_an_old_run(tmp_path: Path, answer: Callable[..., Answer], name: str) -> None:
    run_dir = copied(SCHEMA1 / name, tmp_path)
    # The effects of that time rested on both arms together.
    tables = {file.name: file.read_text() for file in run_dir.glob("*.csv") if file.name != "effects.csv"}
    code, shown, errors = answer("status", run_dir)
    assert (code, errors) == (0, "")
    assert name in shown
    assert "damaged" not in shown
    code, shown, errors = answer("report", run_dir)
    assert (code, errors) == (0, "")
    assert "report.html" in shown
    for file, content in tables.items():
        assert kept((run_dir / file).read_text(), content), file


def test_an_old_export_is_loaded() -> None:
    import torch

    import rksearch

    network = rksearch.load(SCHEMA1 / "export")
    assert isinstance(network, torch.nn.Module)
    with torch.no_grad():
        logits = network.eval()(torch.zeros(2, 1, 8, 8))
    assert logits.shape == (2, 10)
    assert bool(torch.isfinite(logits).all())


@pytest.mark.slow
def test_an_interrupted_run_is_resumed_to_its_end(tmp_path: Path) -> None:
    run_dir = copied(SCHEMA1 / "interrupted", tmp_path)
    before = read_run(run_dir)
    paused = before.paused["RKNet-k2-m1_1-1x1_1x1@0"][1]
    assert paused.epochs
    done = rksearch_command("resume", str(run_dir), timeout_s=900)
    assert done.returncode == 0, done.stderr
    after = read_run(run_dir)
    assert after.state == "finished"
    assert after.damage == ()
    assert after.plans == before.plans
    assert {spec.arch for spec, _ in after.trials.values()} >= {"DenseNet-7-k2", "RKNet-k2-m1_1-1x1_1x1"}
    # The checkpoint was taken up: the epochs before the interruption are those that were recorded then.
    continued = after.trials["RKNet-k2-m1_1-1x1_1x1@0"][1]
    assert continued.epochs[: len(paused.epochs)] == paused.epochs
    assert after.run is not None
    space = parse_space(after.run.space.yaml, name=after.run.space.name)
    assert search_agenda(space, after.run.plan)(after).next(after, {}) is None
