"""What a run remembers holds wherever it is resumed, and nothing of the user's is overwritten."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from rksearch.api import PlannedRun, Run, plan_run
from rksearch.errors import RunError, TakenError
from rksearch.models import export as exporting
from rksearch.results.environment import Environment
from rksearch.results.events import Option
from rksearch.results.ledger import Ledger
from rksearch.results.own_files import DERIVED, REPORT, last_line
from rksearch.results.records import Latency
from rksearch.results.run_dir import Places, RunDir, claim_free, require_own
from rksearch.search import driver
from rksearch.search.launch import Launch
from rksearch.search.resources import Resources, as_before
from rksearch.search.view import Silent
from rksearch.training.execution import trial_dir
from tests.helpers.command_line import TINY_SPACE, Answer, rksearch
from tests.helpers.documents import ROOT
from tests.helpers.ledgers import begin, complete, failed, plan_record, pruned, space_record, trial
from tests.helpers.processes import under_way


@pytest.fixture
def reported(tmp_path: Path) -> Path:
    """A run with two trainings, not yet reported."""
    run_dir = tmp_path / "run"
    ledger = Ledger(run_dir)
    ledger.write_run(name="tiny", space=space_record(), plan=plan_record())
    ledger.write_session(environment=Environment(), options={})
    for arch in ("ResNet-8", "RKNet-BC-k8-m2_4_6-1x2_1x2_1x1"):
        ledger.write_trial(trial(arch), complete(20.0), wall_time_s=1.0)
    ledger.write_end("finished")
    return run_dir


class Saying(Silent):
    """A view that keeps the messages."""

    def __init__(self, said: list[str]) -> None:
        self._said = said

    def message(self, text: str) -> None:
        self._said.append(text)


def launch_of(run_dir: Path, *, chosen: frozenset[str] | None, **asked: object) -> Launch:
    launch = Launch(RunDir(run_dir), Resources(**asked), Silent())  # type: ignore[arg-type]
    launch.chosen = chosen
    return launch


# -- where data sets are looked for


def test_a_directory_given_now_comes_first_and_is_not_looked_past(tmp_path: Path) -> None:
    (tmp_path / "before").mkdir()
    run = RunDir(tmp_path / "run")
    run.work.mkdir(parents=True)
    run.note_places(Places(directory=tmp_path, data_dir=tmp_path / "before"))
    launch = launch_of(run.path, chosen=frozenset({"data_dir"}), data_dir=tmp_path / "now")
    assert launch.places(tmp_path).data_dir == tmp_path / "now"


def test_a_relative_directory_means_what_it_meant_when_it_was_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a" / "mydata").mkdir(parents=True)
    (tmp_path / "b").mkdir()
    run = RunDir(tmp_path / "a" / "run")
    run.work.mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a")
    begun = launch_of(run.path, chosen=None, data_dir=Path("mydata")).places(tmp_path)
    run.note_places(begun)
    monkeypatch.chdir(tmp_path / "b")
    resumed = launch_of(run.path, chosen=frozenset(), data_dir=Path("mydata"))
    assert resumed.places(tmp_path).data_dir == tmp_path / "a" / "mydata"


def test_a_directory_that_this_user_may_not_reach_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted, stat = tmp_path / "home" / "data", os.stat
    run = RunDir(tmp_path / "run")
    (run.path / "mydata").mkdir(parents=True)
    run.work.mkdir()
    run.note_places(Places(directory=tmp_path, data_dir=noted))

    def refuse(path: object, **options: bool) -> os.stat_result:
        if path == noted:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return stat(path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "stat", refuse)
    resumed = launch_of(run.path, chosen=frozenset(), data_dir=Path("mydata"))
    assert resumed.places(tmp_path).data_dir == run.path / "mydata"


def test_a_run_that_moved_with_its_data_finds_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a" / "mydata").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a")
    run = RunDir(tmp_path / "a" / "run")
    run.work.mkdir(parents=True)
    run.note_places(launch_of(run.path, chosen=None, data_dir=Path("mydata")).places(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").rename(tmp_path / "moved")
    resumed = launch_of(tmp_path / "moved" / "run", chosen=frozenset(), data_dir=Path("mydata"))
    assert resumed.places(tmp_path).data_dir == tmp_path / "moved" / "mydata"
    shutil.rmtree(tmp_path / "moved" / "mydata")
    lost = launch_of(tmp_path / "moved" / "run", chosen=frozenset(), data_dir=Path("mydata"))
    lost.places(tmp_path)
    assert tmp_path / "a" / "mydata" in lost.looked
    assert tmp_path / "moved" / "mydata" in lost.looked


def test_a_storage_keeps_its_place_and_its_typed_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = RunDir(tmp_path / "run")
    run.work.mkdir(parents=True)
    launch = launch_of(run.path, chosen=None, storage="copies")
    assert launch.resources.options()["storage"] == "copies"
    run.note_places(launch.places(tmp_path))
    (tmp_path / "b").mkdir()
    monkeypatch.chdir(tmp_path / "b")
    before = as_before(Resources(), frozenset(), launch.resources.options())
    assert launch_of(run.path, chosen=frozenset(), storage=before.storage).places(tmp_path).storage == str(
        tmp_path / "copies"
    )


def test_published_files_keep_what_was_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Callable[..., Answer]
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(TINY_SPACE)
    monkeypatch.setattr(driver, "run_tasks", lambda *args, **kwargs: None)
    code, _, errors = answer("run", "--space", "tiny.yaml", "--out=~/run", "--data-dir", "~/sets")
    assert code == 130, errors
    run_dir = home / "run"
    assert json.loads((run_dir / "work" / "places.json").read_text())["data_dir"] == str(home / "sets")
    assert yaml.safe_load((run_dir / "run.yaml").read_text())["launches"][0]["options"]["data_dir"] == "~/sets"
    for name in DERIVED:
        assert str(home / "sets") not in (run_dir / name).read_text(encoding="utf-8")


# -- names, clocks


def test_starts_at_the_same_moment_take_directories_of_their_own(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: claim_free(tmp_path, "tiny"), range(24)))
    assert {path.name for path in found} == {f"tiny-{n}" for n in range(1, 25)}


def test_runs_that_are_started_together_without_a_directory_take_three(tmp_path: Path) -> None:
    """They join a Ray that is not there, and so end before they train."""
    (tmp_path / "tiny.yaml").write_text(TINY_SPACE)
    words = ("run", "--space", "tiny.yaml", "--address", "127.0.0.1:1")
    with contextlib.ExitStack() as stack:
        drivers = [stack.enter_context(under_way(*words, cwd=tmp_path)) for _ in range(3)]
        ended = [(*driver.communicate(timeout=300), driver.returncode) for driver in drivers]
    expected = [f"reports/tiny-{n}" for n in (1, 2, 3)]
    said = [line for shown, _, _ in ended for line in shown.splitlines() if line.startswith("run directory: ")]
    assert sorted(said) == [f"run directory: {directory}" for directory in expected]
    assert [(errors.count("\n"), code) for _, errors, code in ended] == [(1, 1)] * 3
    for directory in expected:
        events = [json.loads(line)["event"] for line in (tmp_path / directory / "ledger.jsonl").open()]
        assert events == ["run", "session", "end"]


def test_durations_survive_a_clock_that_is_set_back(tmp_path: Path) -> None:
    times = iter(f"2026-01-01T{clock}Z" for clock in ("12:00:00", "12:00:00", "12:10:00", "11:10:00", "11:15:00"))
    ledger = Ledger(tmp_path, clock=lambda: next(times))
    ledger.write_run(name="tiny", space=space_record(), plan=plan_record())
    ledger.write_session(environment=Environment(), options={})
    for arch in ("ResNet-8", "DenseNet-13-k8"):
        ledger.write_trial(trial(arch), complete(20.0), wall_time_s=1.0)
    ledger.write_end("finished")
    assert ledger.read().sessions[0].duration_s == 15 * 60


def test_the_time_between_sessions_is_none(tmp_path: Path) -> None:
    """A run is extended an hour after it ended, and killed; its last session only says that nothing is left."""
    clocks = (
        "12:00:00",
        "12:00:00",
        "12:10:00",
        "12:12:00",
        "13:12:00",
        "13:12:05",
        "13:20:05",
        "14:20:05",
        "14:21:00",
    )
    times = iter(f"2026-01-01T{clock}Z" for clock in (*clocks, "14:22:00", "15:22:00"))
    ledger = Ledger(tmp_path, clock=lambda: next(times))
    ledger.write_run(name="tiny", space=space_record(), plan=plan_record())
    ledger.write_session(environment=Environment(), options={})
    ledger.write_trial(trial("ResNet-8"), complete(20.0), wall_time_s=1.0)
    ledger.write_end("finished")
    ledger.write_run(name="tiny", space=space_record(), plan=plan_record(trials=30))
    ledger.write_session(environment=Environment(), options={})
    ledger.write_trial(trial("DenseNet-13-k8"), complete(20.0), wall_time_s=1.0)
    ledger.write_run(name="tiny", space=space_record(), plan=plan_record(trials=31))
    ledger.write_session(environment=Environment(), options={})
    ledger.write_end("finished")
    ledger.write_end("finished")
    assert [session.duration_s for session in ledger.read().sessions] == [12 * 60, 8 * 60, 60]


@pytest.mark.parametrize(
    "words",
    [
        ("run", "--space", "quickstart", "--out", ""),
        ("status", ""),
        ("report", ""),
        ("export", "ResNet-8", "--to", ""),
        ("train", "ResNet-8", "--data-dir", " "),
        ("run", "--space", "quickstart", "--import", ""),
    ],
)
def test_an_empty_path_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Callable[..., Answer], words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, errors = answer(*words)
    assert code == 2
    assert "must not be empty" in errors
    assert list(tmp_path.iterdir()) == []


def test_an_empty_path_is_refused_by_functions_too() -> None:
    with pytest.raises(RunError, match="empty"):
        plan_run("quickstart", out="")


TIMED = TINY_SPACE.replace("replicates: 0}", "replicates: 0, objectives: [val_error_pct, latency_ms]}")
"""A space whose runs measure latencies, too."""


def incomplete_run(run_dir: Path, planned: PlannedRun) -> list[str]:
    """A run that was killed; of the networks that are returned, the first and the last have a complete training.

    It measured the latency of the last one alone.
    """
    names = [str(member) for member in planned.space][:5]
    plan = planned.plan
    specs = [
        replace(trial(name), dataset="digits", recipe=plan.recipe, train_images=plan.train_images) for name in names
    ]
    ledger = Ledger(run_dir)
    ledger.write_run(name=run_dir.name, space=planned.space.summary(), plan=plan)
    ledger.write_session(environment=Environment(), options={})
    latency = Latency(batch_size=1, median_ms=0.5, iqr_ms=0.1, repetitions=9, device="cpu", precision="fp32", threads=1)
    whole = complete(20.0, epochs=2)
    ledger.write_trial(specs[0], whole, wall_time_s=1.0)
    ledger.write_trial(specs[1], failed(), wall_time_s=1.0)
    ledger.write_trial(specs[2], pruned(30.0), wall_time_s=1.0)
    ledger.write_trial(specs[4], replace(whole, latency_ms={"1": latency}), wall_time_s=1.0)
    ledger.write_pause(specs[3], pruned(40.0), wall_time_s=1.0)
    ledger.write_start(names[3] + "@0")  # under way
    return names


def test_what_an_incomplete_run_gives_another_is_finite_and_stays_so(tmp_path: Path) -> None:
    for file, text in (("tiny.yaml", TINY_SPACE), ("timed.yaml", TIMED)):
        (tmp_path / file).write_text(text)
    names = incomplete_run(tmp_path / "earlier", plan_run(tmp_path / "tiny.yaml", out=tmp_path / "alone"))
    planned = plan_run(tmp_path / "tiny.yaml", out=tmp_path / "later", imports=[tmp_path / "earlier"])
    assert [one.arch for one in planned.plan.imported] == [names[0], names[4]]
    timed = plan_run(tmp_path / "timed.yaml", out=tmp_path / "timed", imports=[tmp_path / "earlier"])
    assert [one.arch for one in timed.plan.imported] == [names[4]], "of the other one there is no latency"
    later = Ledger(tmp_path / "later")
    later.write_run(name="later", space=planned.space.summary(), plan=planned.plan)
    resumed = later.read().plan
    assert resumed is not None
    assert resumed.imported == planned.plan.imported
    assert all(value is not None and math.isfinite(value) for one in resumed.imported for value in one.values)


@pytest.mark.slow
def test_a_run_that_began_with_what_another_measured_incompletely_is_resumed(tmp_path: Path) -> None:
    (tmp_path / "timed.yaml").write_text(TIMED)
    names = incomplete_run(tmp_path / "earlier", plan_run(tmp_path / "timed.yaml", out=tmp_path / "alone"))
    words = ("--space", "timed.yaml", "--import", "earlier", "--out", "later", "--seeds", "1", "--trials", "1")
    done = rksearch("run", *words, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    begun = Ledger(tmp_path / "later").read()
    assert begun.plan is not None
    assert [(one.arch, one.values[1]) for one in begun.plan.imported] == [(names[4], 0.5)]
    more = rksearch("resume", "later", "--trials", "2", cwd=tmp_path)
    assert (more.returncode, more.stderr) == (0, "")
    history = Ledger(tmp_path / "later").read()
    assert history.plan == replace(begun.plan, trials=2)
    assert history.state == "finished"
    roles = [spec.role for spec, result in history.trials.values() if result.status == "complete"]
    assert sorted(roles) == ["baseline", "baseline", "candidate", "candidate"]


# -- files of the user's


def test_a_run_does_not_begin_where_a_report_would_replace_a_file(
    tmp_path: Path, answer: Callable[..., Answer]
) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY_SPACE)
    out = tmp_path / "mine"
    out.mkdir()
    (out / "README.md").write_text("# Mine\n")
    code, _, errors = answer("run", "--space", tmp_path / "tiny.yaml", "--out", out)
    assert code == 2
    assert str(out / "README.md") in errors
    assert len(errors.strip().splitlines()) == 1
    assert [path.name for path in out.iterdir()] == ["README.md"]


def files_below(directory: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["places.json", "optuna.db", "tune/session/notes.txt"])
def test_a_run_does_not_begin_beside_scratch_that_is_no_runs(
    tmp_path: Path, answer: Callable[..., Answer], name: str
) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY_SPACE)
    (tmp_path / "work" / name).parent.mkdir(parents=True)
    (tmp_path / "work" / name).write_text("mine")
    before = files_below(tmp_path)
    code, _, errors = answer("run", "--space", tmp_path / "tiny.yaml", "--out", tmp_path)
    assert code == 2
    [line] = errors.strip().splitlines()
    assert f"{tmp_path}/work stands where the scratch of a run would" in line
    assert files_below(tmp_path) == before


def test_a_ledger_that_is_no_runs_stays(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_text("12 eggs\n")
    with pytest.raises(TakenError, match=r"ledger.jsonl stands where the ledger of a run would"):
        RunDir(tmp_path).require_unused()
    path.write_text("")
    RunDir(tmp_path).require_unused()
    (tmp_path / "trials.csv").write_text("mine")
    with pytest.raises(TakenError, match=r"trials.csv stands"):
        RunDir(tmp_path).require_unused()


def test_scratch_of_a_run_that_recorded_nothing_is_its_own(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path)
    run_dir.work.mkdir()
    (run_dir.work / ".gitignore").write_text("*\n")
    run_dir.require_unused()  # killed before it took the lock
    run_dir.tune.mkdir()
    with pytest.raises(TakenError, match="work"):
        run_dir.require_unused()  # no driver has been here
    with run_dir.driver():
        pass
    run_dir.require_unused()


def test_a_run_does_not_begin_with_trainings_of_a_run_whose_ledger_is_gone(
    tmp_path: Path, answer: Callable[..., Answer]
) -> None:
    """They were made by other code at another time, and the new run would call them its own."""
    (tmp_path / "tiny.yaml").write_text(TINY_SPACE)
    out = tmp_path / "out"
    with RunDir(out).driver():
        saved = trial_dir(RunDir(out).work, "DenseNet-10-k2@0") / "checkpoint.pt"
        saved.parent.mkdir(parents=True)
        saved.write_bytes(b"trained before")
    before = files_below(tmp_path)
    code, _, errors = answer("run", "--space", tmp_path / "tiny.yaml", "--out", out)
    assert code == 2
    [line] = errors.strip().splitlines()
    assert f"{out}/work holds 1 of a run whose ledger is gone" in line
    assert files_below(tmp_path) == before


def test_a_run_of_any_version_continues_whatever_its_scratch_holds(tmp_path: Path) -> None:
    begin(tmp_path)
    (tmp_path / "work" / "trials").mkdir(parents=True)
    RunDir(tmp_path).require_unused()
    (tmp_path / "ledger.jsonl").unlink()
    with pytest.raises(TakenError, match="work"):
        RunDir(tmp_path).require_unused()  # without a ledger it is no run's


def test_a_readme_that_was_written_since_stays(reported: Path, answer: Callable[..., Answer]) -> None:
    assert answer("report", reported)[0] == 0
    assert answer("report", reported)[0] == 0, "our own is replaced"
    (reported / "README.md").write_text("# Mine\n")
    code, shown, errors = answer("report", reported)
    assert code == 0, errors
    assert (reported / "README.md").read_text() == "# Mine\n"
    assert "README.rksearch.md" in shown
    assert "ResNet-8" in (reported / "README.rksearch.md").read_text()


def test_a_run_that_may_only_be_read_is_reported_elsewhere(
    reported: Path, tmp_path: Path, answer: Callable[..., Answer]
) -> None:
    before = {path.name: path.read_bytes() for path in reported.iterdir()}
    code, _, errors = answer("report", reported, "--to", tmp_path / "page")
    assert code == 0, errors
    assert sorted(path.name for path in (tmp_path / "page").iterdir()) == sorted(DERIVED)
    assert answer("status", reported)[0] == 0
    assert {path.name: path.read_bytes() for path in reported.iterdir()} == before
    assert answer("report", reported, "--to", tmp_path / "page")[0] == 0, "our own is replaced"
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "trials.csv").write_text("a,b\n")
    with pytest.raises(TakenError, match=r"trials\.csv"):
        Run(reported).write_report(tmp_path / "theirs")


MENTION = "# Mine\nmade again by `rksearch report`\nIMPORTANT NOTES\n"


@pytest.mark.parametrize("command", ["report", "run"])
@pytest.mark.parametrize("end", ["", f"{last_line(REPORT)}\nMore.\n"])
def test_a_readme_that_mentions_the_report_vouches_for_nothing(
    reported: Path, tmp_path: Path, answer: Callable[..., Answer], command: str, end: str
) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY_SPACE)
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "README.md").write_text(MENTION + end)
    (theirs / "trials.csv").write_text("my own trials\n")
    before = files_below(tmp_path)
    words = ("report", reported, "--to", theirs)
    code, _, errors = answer(
        *words if command == "report" else ("run", "--space", tmp_path / "tiny.yaml", "--out", theirs)
    )
    assert code == 2
    [line] = errors.splitlines()
    assert "rksearch replaces only what it wrote itself" in line
    assert "move that file" in line
    assert files_below(tmp_path) == before


THEIRS = {
    "run.yaml": "name: mine\nspace: a room\n",
    "environment.json": '[{"start": "now"}]',
    "space.json": '{"name": "mine", "raw_size": 3}',
    "trials.csv": "trial,arch,family,role,replicate,seed,status,mine\n1,ResNet,,,,,,2\n",
    "curves.csv": "trial,epoch\n",
    "front.csv": "arch,params\n",
    "effects.csv": "factor,period\n",
    "front.svg": '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"/>',
    "README.md": MENTION,
    "report.html": '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n<title>mine</title>',
}
"""Files of the user's that are like those of a report."""


@pytest.mark.parametrize("name", DERIVED)
def test_each_derived_file_is_judged_by_itself(
    reported: Path, tmp_path: Path, answer: Callable[..., Answer], name: str
) -> None:
    page = tmp_path / "page"
    for _ in range(2):
        assert answer("report", reported, "--to", page)[0] == 0
    (page / name).write_text(THEIRS[name])
    before = files_below(page)
    code, shown, errors = answer("report", reported, "--to", page)
    assert (code, shown) == (2, "")
    [line] = errors.splitlines()
    assert f"{page / name} stands where a report would" in line
    assert files_below(page) == before


def test_what_a_report_of_an_earlier_version_wrote_is_replaced(tmp_path: Path) -> None:
    """By itself in a directory of its own, and in that of its run."""
    first = (
        "Every file here but `ledger.jsonl` is derived from it; `rksearch report` on this directory writes them anew."
    )
    (tmp_path / "README.md").write_text(f"# tiny\n\n{first} `report.html` opens in a browser.\n")
    head = '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
    head += '<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="color-scheme" '
    head += 'content="light dark">\n<meta http-equiv="Content-Security-Policy" content="default-src &#39;none&#39;; '
    (tmp_path / "report.html").write_text(head)
    (tmp_path / "front.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" class="figure" viewBox="0 0 888 500">')
    require_own(tmp_path)
    committed = [path.parent for path in (ROOT / "reports").glob("*/ledger.jsonl")]
    assert committed
    for run_dir in (*committed, ROOT / "tests" / "results" / "schema1" / "finished"):
        require_own(run_dir)
        RunDir(run_dir).require_unused()


@pytest.mark.parametrize(
    "line", ["12 eggs", '{"event": "trial"}', '{"event":"login","time":"2026-01-01"}', '{"event":"login","schema":2}']
)
def test_a_ledger_that_is_no_runs_vouches_for_nothing(tmp_path: Path, answer: Callable[..., Answer], line: str) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY_SPACE)
    (tmp_path / "ledger.jsonl").write_text(line + "\n")
    (tmp_path / "trials.csv").write_text("mine\n")
    before = files_below(tmp_path)
    for words, name in (
        (("report", tmp_path), "trials.csv"),
        (("run", "--space", tmp_path / "tiny.yaml", "--out", tmp_path), "ledger.jsonl"),
    ):
        code, _, errors = answer(*words)
        assert code == 2
        [said] = errors.splitlines()
        assert f"{tmp_path / name} stands where" in said
        assert files_below(tmp_path) == before


def test_a_second_readme_of_the_users_stays_too(reported: Path, answer: Callable[..., Answer]) -> None:
    for name in ("README.md", "README.rksearch.md"):
        (reported / name).write_text(MENTION)
    before = files_below(reported)
    code, shown, errors = answer("report", reported)
    assert (code, shown) == (2, "")
    assert "README.rksearch.md stands where a report would" in errors
    assert files_below(reported) == before


def test_the_list_of_derived_files_is_what_a_report_writes(reported: Path) -> None:
    assert {path.name for path in Run(reported).write_report()} == set(DERIVED)


@pytest.mark.parametrize("name", [exporting.CARD, exporting.WEIGHTS, exporting.SPEC, exporting.ONNX])
def test_an_export_replaces_only_an_export(tmp_path: Path, answer: Callable[..., Answer], name: str) -> None:
    (tmp_path / name).write_text("mine")
    code, _, errors = answer("export", "ResNet-8", "--to", tmp_path, "--dataset", "digits")
    assert code == 2
    assert str(tmp_path / name) in errors
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize("name", [exporting.CARD, exporting.WEIGHTS])
def test_each_file_of_an_export_is_judged_by_itself(tmp_path: Path, answer: Callable[..., Answer], name: str) -> None:
    words = ("export", "ResNet-8", "--to", tmp_path, "--dataset", "digits")
    for _ in range(2):
        assert answer(*words)[0] == 0
    path = tmp_path / name
    path.write_bytes(path.read_bytes() + b"\nMy notes on what was exported by rksearch 0.1.0.\n")
    before = files_below(tmp_path)
    code, shown, errors = answer(*words)
    assert (code, shown) == (2, "")
    assert f"{path} is no earlier export's" in errors
    assert files_below(tmp_path) == before


def test_an_export_of_the_first_versions_is_replaced(tmp_path: Path, answer: Callable[..., Answer]) -> None:
    shutil.copytree(ROOT / "tests" / "results" / "schema1" / "export", tmp_path / "export")
    assert answer("export", "ResNet-8", "--to", tmp_path / "export", "--dataset", "digits")[0] == 0


def test_an_export_takes_the_place_of_an_earlier_one_and_of_its_programs(
    tmp_path: Path, answer: Callable[..., Answer]
) -> None:
    assert answer("export", "ResNet-8", "--to", tmp_path, "--dataset", "digits", "--program")[0] == 0
    assert answer("export", "ResNet-14", "--to", tmp_path, "--dataset", "digits")[0] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [exporting.CARD, exporting.WEIGHTS, exporting.SPEC]


# -- other file systems


def test_a_file_system_without_locks_is_worked_on_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Callable[..., Answer]
) -> None:
    import errno
    import fcntl

    def flock(descriptor: int, how: int) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", flock)
    monkeypatch.setattr(driver, "run_tasks", lambda *args, **kwargs: None)
    (tmp_path / "tiny.yaml").write_text(TINY_SPACE)
    code, _, errors = answer("run", "--space", tmp_path / "tiny.yaml", "--out", tmp_path / "run")
    assert code == 130, errors
    assert errors == ""


@pytest.mark.slow
@pytest.mark.ci
def test_a_run_resumed_from_another_directory_finds_its_images(tmp_path: Path) -> None:
    """Through the command line, with relative paths; the whole folder moves between the sessions."""
    import numpy as np

    before = tmp_path / "a"
    before.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (80, 8, 8, 1), dtype=np.uint8)
    np.savez(before / "mine.npz", x_train=pixels, y_train=np.arange(80) % 2, x_test=pixels[:20],
             y_test=np.arange(20) % 2)  # fmt: skip
    text = TINY_SPACE.replace("dataset: digits", "dataset: npz:mine.npz").replace("train_images: 100", "")
    (before / "tiny.yaml").write_text(text)
    done = rksearch("run", "--space", "tiny.yaml", "--out", "run", "--trials", "1", cwd=before)
    assert done.returncode == 0, done.stderr
    (tmp_path / "elsewhere").mkdir()
    before.rename(tmp_path / "moved")
    more = rksearch("resume", "../moved/run", "--trials", "2", cwd=tmp_path / "elsewhere")
    assert more.returncode == 0, more.stderr
    (tmp_path / "moved" / "mine.npz").unlink()
    lost = rksearch("resume", "../moved/run", "--trials", "3", cwd=tmp_path / "elsewhere")
    assert lost.returncode == 2
    assert len(lost.stderr.strip().splitlines()) == 1
    assert str(tmp_path / "moved" / "mine.npz") in lost.stderr


# -- what a session recorded and no session can have had


@pytest.mark.parametrize(
    ("option", "odd"),
    [
        *(("data_dir", odd) for odd in (5, True, "a\0b")),
        *(("storage", odd) for odd in (5, 0.5, "a\0b")),
        *(("cpus_per_trial", odd) for odd in ("x", None, 0, -1, True)),
        *(("gpus_per_trial", odd) for odd in ("x", -0.5, True)),
        *(("seeds_together", odd) for odd in (-3, 0, 1.5, "x", True)),
        *(("max_concurrent", odd) for odd in ("x", 0, 2.5)),
        *((hours, odd) for hours in ("cpu_hours", "gpu_hours", "trial_hours") for odd in ("x", 0, -1.0, 1e308, False)),
        *((word, odd) for word in ("device", "precision", "compile") for odd in ("x", 5, None)),
        *(("log", odd) for odd in (5, None)),
        *(("download", odd) for odd in ("yes", 1, None)),
    ],
)
def test_an_option_that_can_have_been_none_is_left_out_and_named(tmp_path: Path, option: str, odd: Option) -> None:
    begin(tmp_path / "run").write_session(
        environment=Environment(), options={**Resources(cpus_per_trial=2).options(), option: odd}
    )
    said: list[str] = []
    launch = Launch(RunDir(tmp_path / "run"), Resources(), Saying(said))
    launch.as_before(launch.refresh(), frozenset())
    assert getattr(launch.resources, option) == getattr(Resources(), option)
    assert (launch.resources.cpus_per_trial == 2) == (option != "cpus_per_trial")
    [line] = said
    assert line.startswith(f"Damaged options of the last session, which are not taken over: {option} ")
    assert line.isprintable()


def test_an_option_that_is_chosen_now_may_have_been_anything(tmp_path: Path) -> None:
    begin(tmp_path / "run").write_session(environment=Environment(), options={"data_dir": 5})
    said: list[str] = []
    launch = Launch(RunDir(tmp_path / "run"), Resources(data_dir=tmp_path), Saying(said))
    launch.as_before(launch.refresh(), frozenset({"data_dir"}))
    assert (launch.resources.data_dir, said) == (tmp_path, [])


# -- damaged notes of where things lie


@pytest.mark.parametrize("kind", ["pipe", "device", "number", "list", "nested"])
def test_places_that_cannot_be_read_are_none_and_are_noted_again(tmp_path: Path, kind: str) -> None:
    run = RunDir(tmp_path / "run")
    run.work.mkdir(parents=True)
    note = run.work / "places.json"
    if kind == "pipe":
        os.mkfifo(note)
    elif kind == "device":
        note.symlink_to("/dev/zero")
    else:
        directories = '{"directory": "/tmp", "data_dir": "/tmp", "storage": 7}'
        note.write_text({"number": directories, "list": "[]", "nested": "[" * 100_000}[kind])
    assert run.places() is None
    places = Places(directory=tmp_path, data_dir=tmp_path, storage="s3://bucket")
    run.note_places(places)
    assert run.places() == places


def test_a_pipe_in_place_of_the_lock_is_held_by_nobody(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    run.work.mkdir(parents=True)
    os.mkfifo(run.work / "driver.lock")
    assert not run.driven
