"""Commands on a run with a damaged record: one line that names line, record and field, and no traceback."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rksearch.results.ledger import FILE_NAME
from rksearch.results.run_dir import read_run
from rksearch.search import driver
from rksearch.search.run_state import RunState
from tests.helpers.command_line import Answer

SCHEMA1 = Path(__file__).parent / "schema1"
FINISHED = SCHEMA1 / "finished"
SPACE = SCHEMA1 / "tiny.yaml"
REMOVED = object()

MUTATIONS: tuple[tuple[str, str, object, str], ...] = (
    ("run", "space.largest", "NaN", "space.largest"),
    ("run", "space.raw_size", [None], "space.raw_size"),
    ("run", "space.yaml", REMOVED, "space"),
    ("run", "plan.trials", "14", "plan.trials"),
    ("run", "plan.trials", REMOVED, "plan.trials"),
    ("run", "plan.sampler", REMOVED, "plan.sampler"),
    ("run", "plan.recipe.lr", REMOVED, "plan.recipe.lr"),
    ("run", "plan.recipe.epochs", {}, "plan.recipe.epochs"),
    ("run", "plan.racing.keep", 1.5, "keep"),
    ("session", "environment.cpu_count", "two", "environment.cpu_count"),
    ("session", "options", [], "options"),
    ("trial", "result.params", {}, "result.params"),
    ("trial", "result.params", "12", "result.params"),
    ("trial", "result.params", 0, "result.params"),
    ("trial", "result.params", None, "result.params"),
    ("trial", "result.status", "bored", "result.status"),
    ("trial", "result.epochs.0.val_error_pct", -5, "val_error_pct"),
    ("trial", "result.epochs.0.val_error_pct", 1e308, "val_error_pct"),
    ("trial", "result.epochs.0.val_error_pct", None, "result.epochs[0].val_error_pct"),
    ("trial", "result.epochs.0.epoch", 7, "result.epochs[0].epoch"),
    ("trial", "result.epochs", "none", "result.epochs"),
    ("trial", "spec.arch", "RKNet-of-tomorrow", "trial"),
    ("trial", "spec.role", "spare", "spec.role"),
    ("trial", "spec.recipe.lr", REMOVED, "spec.recipe.lr"),
    ("trial", "wall_time_s", -1, "wall_time_s"),
    ("start", "trial", "RKNet-of-tomorrow@0", "trial"),
    ("start", "trial", "ResNet-8", "trial"),
    ("end", "state", "bored", "state"),
)
"""Event, path of a value in its first record, the new value, and the field that the message names."""


def changed(record: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """The record with another value at a path."""
    *outer, last = path.split(".")
    found: Any = record
    for key in outer:
        found = found[int(key)] if isinstance(found, list) else found[key]
    if value is REMOVED:
        del found[last]
    else:
        found[last] = value
    return record


def damage(run_dir: Path, event: str, path: str, value: object) -> tuple[int, str]:
    """Change the first record of a kind; return the number of its line, and its trial where it has one."""
    ledger = run_dir / FILE_NAME
    records = [json.loads(line) for line in ledger.read_text().splitlines()]
    number = next(i for i, record in enumerate(records) if record["event"] == event)
    records[number] = changed(records[number], path, value)
    ledger.write_text("".join(json.dumps(record) + "\n" for record in records))
    return number + 1, records[number].get("trial", "")


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FINISHED, tmp_path / "run"))


@pytest.fixture(autouse=True)
def only_the_first_task_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """No task is done."""

    def ask_only(state: RunState, *args: object, **kwargs: object) -> None:
        state.next()

    monkeypatch.setattr(driver, "run_tasks", ask_only)


@pytest.mark.parametrize(("event", "path", "value", "field"), MUTATIONS)
def test_commands_name_line_record_and_field_of_a_damaged_record(
    run_dir: Path, answer: Callable[..., Answer], event: str, path: str, value: object, field: str
) -> None:
    line, trial = damage(run_dir, event, path, value)
    where = f"line {line} ({event}{f' {trial}' if trial else ''}): "
    code, shown, errors = answer("status", run_dir)
    assert (code, errors) == (0, "")
    [described] = [text for text in shown.splitlines() if where in text]
    assert field in described
    code, shown, errors = answer("report", run_dir)
    assert (code, errors) == (0, "")
    assert f"1 damaged line skipped ({where}" in (run_dir / "README.md").read_text()
    code, shown, errors = answer("resume", run_dir)
    if event == "run":
        assert (code, shown) == (2, "")
        [message] = errors.splitlines()
        assert f"{run_dir / FILE_NAME} has none ({where}" in message
        assert field in message
    else:
        assert errors == ""
        [described] = [text for text in shown.splitlines() if where in text]
        assert field in described


@pytest.mark.parametrize("bad", [b"", b"{", b"\xff\x00", b'{"event":"run","time":"2026-01-01T00:00:00Z"}'])
def test_a_run_whose_plan_is_lost_is_started_again_by_its_command_and_keeps_its_trainings(
    run_dir: Path, answer: Callable[..., Answer], bad: bytes
) -> None:
    before = read_run(run_dir)
    ledger = run_dir / FILE_NAME
    _, _, rest = ledger.read_bytes().partition(b"\n")
    ledger.write_bytes(bad + b"\n" + rest)

    code, shown, errors = answer("resume", run_dir)
    assert (code, shown) == (2, "")
    [message] = errors.splitlines()
    assert f"with --out {run_dir}: it keeps the 14 finished trainings" in message

    code, _, errors = answer("run", "--space", SPACE, "--out", run_dir, "--epochs", 5)
    assert code == 2
    [message] = errors.splitlines()
    assert "a run continues with the recipe of its trainings" in message
    assert ledger.read_bytes() == bad + b"\n" + rest

    code, _, errors = answer("run", "--space", SPACE, "--control", "--out", run_dir)
    assert (code, errors) == (0, "")
    after = read_run(run_dir)
    assert after.trials == before.trials
    assert after.plan == before.plan
    assert after.state == "finished"
    assert answer("resume", run_dir)[0] == 0


def test_a_damaged_last_plan_leaves_the_one_before_in_force(run_dir: Path, answer: Callable[..., Answer]) -> None:
    assert answer("resume", run_dir, "--trials", 5)[0] in (0, 130)
    before = read_run(FINISHED)
    changed_plan = read_run(run_dir).plan
    assert before.plan is not None
    assert changed_plan == replace(before.plan, trials=5)
    ledger = run_dir / FILE_NAME
    lines = ledger.read_bytes().splitlines(keepends=True)
    number = max(i for i, line in enumerate(lines) if b'"event":"run"' in line)
    lines[number] = lines[number].replace(b'"trials":5', b'"trials":6')
    ledger.write_bytes(b"".join(lines))
    history = read_run(run_dir)
    assert history.plan == before.plan
    assert [(d.line, d.field) for d in history.damage] == [(number + 1, "crc")]


@pytest.mark.parametrize("lost", [b"", b"\0" * 4096, b"version https://git-lfs.github.com/spec/v1\nsize 12\n"])
def test_a_ledger_without_a_record_replaces_no_report_with_trainings(
    run_dir: Path, answer: Callable[..., Answer], lost: bytes
) -> None:
    assert answer("report", run_dir)[0] == 0
    (run_dir / FILE_NAME).write_bytes(lost)
    before = {path.name: path.read_bytes() for path in run_dir.iterdir() if path.is_file()}
    code, shown, errors = answer("report", run_dir)
    assert (code, shown) == (2, "")
    [message] = errors.splitlines()
    assert f"{run_dir / FILE_NAME} has none" in message
    assert {path.name: path.read_bytes() for path in run_dir.iterdir() if path.is_file()} == before
    # A report of nothing has nothing to lose.
    for _ in range(2):
        assert answer("report", run_dir, "--to", run_dir / "to")[0] == 0
