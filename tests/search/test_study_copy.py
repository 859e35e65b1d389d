"""The copy of a run's study: an Optuna study in a file, right whatever happened to the file, and never in the way."""

import json
import math
import sqlite3
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import FrozenTrial, TrialState

from rksearch.arch import parse
from rksearch.arch.cost import cost
from rksearch.data.facts import dataset
from rksearch.results.ledger import Ledger
from rksearch.results.plan import ImportedObservation, Plan
from rksearch.results.run_dir import RunDir
from rksearch.search import study_copy
from rksearch.search.assembly import search_agenda
from rksearch.search.run_state import RunState
from rksearch.search.samplers import attributes
from rksearch.search.samplers.registry import make_sampler
from rksearch.search.samplers.study import RunStudy
from rksearch.search.samplers.study_file import StudyFile
from rksearch.search.study_copy import StudyCopy, TrialRows
from rksearch.search.view import Silent
from rksearch.space import load_space
from tests.helpers.simulation import RACING, outcome, work
from tests.helpers.simulation import settings as plan_with

SPACE = load_space("quickstart")
PLAN = plan_with(trials=5, sampler="random", racing=RACING, control=True)
REPORT = "file:///runs/one/report.html"


@pytest.fixture(autouse=True)
def _no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


def state_at(path: Path, plan: Plan = PLAN) -> RunState:
    return RunState(Ledger(path), search_agenda(SPACE, plan), clock=lambda: 0.0)


def plain(value: Any) -> Any:
    """The value as the process beside the driver reads it."""
    return json.loads(json.dumps(value))


def rows_of(state: RunState, plan: Plan = PLAN) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = plain(TrialRows(SPACE, plan, REPORT).of_history(state.history))
    return found


def study_line(name: str = "one") -> dict[str, Any]:
    found: dict[str, Any] = plain(TrialRows(SPACE, PLAN, REPORT).study(name))
    return found


def loaded(path: Path, name: str = "one") -> optuna.Study:
    return optuna.load_study(study_name=name, storage=f"sqlite:///{path}")


def facts_of(trial: FrozenTrial) -> Any:
    return trial.number, trial.state, trial.params, trial.values, trial.user_attrs


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of a run half way, and at its end."""
    path = tmp_path_factory.mktemp("run")
    half = state_at(path)
    work(half, slots=3, stop_after=9)
    first = rows_of(half)
    whole = state_at(path)
    work(whole, slots=3)
    return first, rows_of(whole)


# -- what it holds


def test_it_holds_what_the_run_s_own_study_holds(tmp_path: Path) -> None:
    """Members of the space, by an independent way: the study that the sampler learns from."""
    state = state_at(tmp_path)
    work(state, slots=3)
    known = state.history
    own = RunStudy(
        SPACE, make_sampler("random", SPACE, objectives=PLAN.objectives, trials=9, seed=0), objectives=PLAN.objectives
    )
    for spec, _ in known.trials.values():
        if not spec.has_own_seeds and not spec.replicate:
            own.started([spec.arch], spec.role)
    own.update((spec, result) for spec, result in known.trials.values() if not spec.has_own_seeds)
    file = StudyFile(tmp_path / "optuna.db", study_line())
    file.put(rows_of(state))
    file.close()
    copied = {
        (t.user_attrs[attributes.ARCH], t.user_attrs[attributes.REPLICATE]): t
        for t in loaded(tmp_path / "optuna.db").trials
        if t.params
    }
    expected = {(t.user_attrs[attributes.ARCH], t.user_attrs.get(attributes.REPLICATE, 0)): t for t in own.study.trials}
    assert copied.keys() == expected.keys()
    assert len(copied) > 8
    for key, trial in expected.items():
        found = copied[key]
        assert (found.state, found.params, found.values) == (trial.state, trial.params, trial.values)
        for name in (attributes.ROLE, attributes.VAL_ERRORS, attributes.TRAIN_LOSSES, attributes.FAILURE):
            assert found.user_attrs.get(name) == trial.user_attrs.get(name), name


@pytest.mark.slow
def test_people_find_costs_seeds_and_the_report_in_it(
    tmp_path: Path, history: tuple[list[dict[str, Any]], list[dict[str, Any]]]
) -> None:
    file = StudyFile(tmp_path / "optuna.db", study_line())
    file.put(history[1])
    file.close()
    study = loaded(tmp_path / "optuna.db")
    assert study.user_attrs[attributes.REPORT] == REPORT
    assert study.metric_names == list(PLAN.objectives)
    assert not any("control" in trial.user_attrs[attributes.TRIAL] for trial in study.trials)
    seeds = [trial.user_attrs[attributes.SEED] for trial in study.trials]
    assert len(set(seeds)) == len(seeds)
    for trial in study.trials:
        counts = cost(parse(trial.user_attrs[attributes.ARCH]), dataset("digits"))
        own = trial.user_attrs
        assert (own[attributes.PARAMS], own[attributes.MACS]) == (counts.params, counts.macs)
        assert own[attributes.REPORT] == REPORT
    baselines = [trial for trial in study.trials if trial.user_attrs[attributes.ROLE] == "baseline"]
    assert {trial.user_attrs[attributes.ARCH] for trial in baselines} == set(PLAN.baselines)
    assert all(trial.state == TrialState.COMPLETE for trial in baselines)


@pytest.mark.slow
def test_optuna_draws_its_pareto_front(
    tmp_path: Path, history: tuple[list[dict[str, Any]], list[dict[str, Any]]]
) -> None:
    file = StudyFile(tmp_path / "optuna.db", study_line())
    file.put(history[1])
    file.close()
    study = loaded(tmp_path / "optuna.db")
    figure = optuna.visualization.plot_pareto_front(study)
    complete = [trial for trial in study.trials if trial.state == TrialState.COMPLETE]
    assert sum(len(trace.x) for trace in figure.data) == len(complete)
    assert figure.layout.xaxis.title.text == "val_error_pct"


@pytest.mark.slow
def test_a_sampler_of_anyone_s_learns_from_it(
    tmp_path: Path, history: tuple[list[dict[str, Any]], list[dict[str, Any]]]
) -> None:
    from rksearch.search.samplers import FrontierSampler

    file = StudyFile(tmp_path / "optuna.db", study_line())
    file.put(history[1])
    file.close()
    study = loaded(tmp_path / "optuna.db")
    study.sampler = FrontierSampler(SPACE, seed=0)
    trial = study.ask({key: optuna.distributions.CategoricalDistribution(v) for key, v in SPACE.dimensions().items()})
    proposed = str(SPACE.from_choices(trial.params))
    assert proposed not in {t.user_attrs.get(attributes.ARCH) for t in study.trials}


def test_results_of_other_runs_stand_in_it_too(tmp_path: Path) -> None:
    arch = str(SPACE.at(3))
    imported = (
        ImportedObservation(arch=arch, values=(20.0, 1000.0), run="other"),
        ImportedObservation(arch=str(SPACE.at(4)), values=(None, 1000.0), run="other"),
    )
    plan = plan_with(trials=1, sampler="random", imported=imported)
    state = state_at(tmp_path, plan)
    rows = rows_of(state, plan)
    assert [(row["state"], row["values"]) for row in rows] == [("COMPLETE", [20.0, 1000.0]), ("FAIL", None)]
    assert rows[0]["attrs"][attributes.ROLE] == "imported"


def test_numbers_that_json_does_not_have_stay_out(tmp_path: Path) -> None:
    state = state_at(tmp_path)
    work(state, slots=1, stop_after=1)
    ((spec, result),) = state.history.trials.values()
    last = replace(result.epochs[-1], train_loss=math.nan)
    row = TrialRows(SPACE, PLAN, REPORT).of(spec, replace(result, epochs=(*result.epochs[:-1], last)))
    json.dumps(row, allow_nan=False)
    assert attributes.VAL_ERRORS not in row["attrs"]


# -- a file that is not right


@pytest.mark.slow
@settings(max_examples=6, deadline=None)
@given(cuts=st.lists(st.integers(0, 40), max_size=3))
def test_it_is_the_same_however_it_grew(
    tmp_path_factory: pytest.TempPathFactory,
    history: tuple[list[dict[str, Any]], list[dict[str, Any]]],
    cuts: list[int],
) -> None:
    """Half of a run at once or in pieces, closed and opened again, then the whole of it."""
    first, whole = history
    path = tmp_path_factory.mktemp("file")
    straight = StudyFile(path / "straight.db", study_line())
    straight.put(whole)
    straight.close()
    stops = sorted({min(cut, len(first)) for cut in cuts} | {len(first)})
    for stop in stops:
        file = StudyFile(path / "grown.db", study_line())
        file.put(first[:stop])
        file.close()
    file = StudyFile(path / "grown.db", study_line())
    file.put(whole)
    assert file.rebuilt == 0
    file.close()
    grown, expected = loaded(path / "grown.db").trials, loaded(path / "straight.db").trials
    assert list(map(facts_of, grown)) == list(map(facts_of, expected))


def damaged(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:700] + b"damage" * 999)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def of_another_run(path: Path) -> None:
    path.unlink()
    other = StudyFile(path, study_line("another"))
    other.put([])
    other.close()


def with_another_value(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("update trial_values set value = value + 1 where trial_value_id = 1")


def with_another_trial(path: Path) -> None:
    loaded(path).enqueue_trial({})


def removed(path: Path) -> None:
    path.unlink()


def with_a_journal_of_a_crash(path: Path) -> None:
    path.write_bytes(b"no database at all")
    path.with_name(path.name + "-journal").write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + bytes(500))


WRONG = [damaged, emptied, of_another_run, with_another_value, with_another_trial, removed, with_a_journal_of_a_crash]


@pytest.mark.slow
@pytest.mark.parametrize("harm", WRONG)
def test_what_is_not_right_is_written_again(
    tmp_path: Path, history: tuple[list[dict[str, Any]], list[dict[str, Any]]], harm: Any
) -> None:
    path = tmp_path / "optuna.db"
    first, whole = history
    file = StudyFile(path, study_line())
    file.put(first)
    file.close()
    harm(path)
    again = StudyFile(path, study_line())
    again.put(whole)
    assert again.rebuilt == 1
    again.close()
    assert [trial.user_attrs[attributes.TRIAL] for trial in loaded(path).trials] == [row["key"] for row in whole]
    assert sorted(tmp_path.iterdir()) == [path]


@pytest.mark.slow
def test_it_comes_back_when_it_is_removed_while_it_grows(
    tmp_path: Path, history: tuple[list[dict[str, Any]], list[dict[str, Any]]]
) -> None:
    path = tmp_path / "optuna.db"
    first, whole = history
    file = StudyFile(path, study_line())
    file.put(first)
    path.unlink()
    file.put(whole)
    file.close()
    assert len(loaded(path).trials) == len(whole)


@pytest.mark.slow
def test_a_program_that_locks_it_keeps_its_own_file_and_delays_no_one_for_long(
    tmp_path: Path, history: tuple[list[dict[str, Any]], list[dict[str, Any]]]
) -> None:
    path = tmp_path / "optuna.db"
    first, whole = history
    file = StudyFile(path, study_line(), lock_wait_s=0.2)
    file.put(first)
    held = sqlite3.connect(path, isolation_level=None)
    held.execute("begin exclusive")
    file.put(whole)
    assert file.rebuilt == 2
    file.close()
    assert len(loaded(path).trials) == len(whole)
    held.close()


@pytest.mark.slow
def test_a_place_that_cannot_be_written_is_tried_a_few_times(
    tmp_path: Path, history: tuple[list[dict[str, Any]], list[dict[str, Any]]]
) -> None:
    path = tmp_path / "optuna.db"
    path.mkdir()
    (path / "something").touch()
    file = StudyFile(path, study_line())
    file.put([])
    file.put([])
    with pytest.raises(OSError, match="directory"):
        file.put(history[0])
    assert (path / "something").exists()
    assert sorted(tmp_path.iterdir()) == [path]


@pytest.mark.slow
def test_any_path_can_hold_it(tmp_path: Path, history: tuple[list[dict[str, Any]], list[dict[str, Any]]]) -> None:
    path = tmp_path / "a {b} ?c=%41#d'.db"
    file = StudyFile(path, study_line())
    file.put(history[0])
    file.close()
    assert path.is_file()
    with sqlite3.connect(path) as connection:
        assert connection.execute("select count(*) from trials").fetchone() == (len(history[0]),)


# -- beside a driver


class Told(Silent):
    """A view that remembers its messages."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def message(self, text: str) -> None:
        self.messages.append(text)


def driven(path: Path, view: Told) -> tuple[StudyCopy, RunState]:
    """A run whose driver shows each change to the copy."""
    run_dir = RunDir(path)
    run_dir.work.mkdir(parents=True, exist_ok=True)
    return StudyCopy(view, run_dir, SPACE, PLAN), state_at(path)


@pytest.mark.slow
def test_a_process_beside_the_driver_writes_it_while_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_copy, "FINISH_S", 60.0)  # a busy machine is slow
    view = Told()
    copy, state = driven(tmp_path, view)
    copy.start(state, 3)
    deadline = time.monotonic() + 60
    queue = []
    while (task := state.next()) is not None:
        state.on_start(task)
        queue.append(task)
        if len(queue) == 3:
            break
    copy.refresh()
    while not copy.path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    for task in queue:
        state.on_end(task, outcome(task))
        copy.refresh()
    work(state, slots=2)
    copy.close()
    copy.finish(state.history)
    assert view.messages == []
    name = state.history.name
    found = loaded(copy.path, name).trials
    assert [trial.user_attrs[attributes.TRIAL] for trial in found] == [row["key"] for row in rows_of(state)]
    assert {trial.state for trial in found} <= {TrialState.COMPLETE, TrialState.FAIL, TrialState.PRUNED}
    assert not (copy.path.parent / "optuna.log").exists()

    # Nothing is left to do: no process is started unless somebody has touched the file.
    state.ledger.write_end("finished")
    finished = Ledger(tmp_path).read()
    for harm in (lambda: copy.path.write_bytes(b"damage"), copy.path.unlink):
        harm()
        mending, _ = driven(tmp_path, view)
        mending.finish(finished)
        idle, _ = driven(tmp_path, view)
        idle.finish(finished)
        assert idle._process is None
        assert len(loaded(copy.path, name).trials) == len(found)  # Optuna writes to what it reads
    assert view.messages == []


@pytest.mark.slow
def test_a_process_that_hangs_delays_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its pipe is full after some trials: the driver must not notice."""
    real = subprocess.Popen
    started: list[Any] = []

    def hanging(command: list[str], **options: Any) -> Any:
        started.append(real([sys.executable, "-c", "import time; time.sleep(60)"], **options))
        return started[-1]

    monkeypatch.setattr(study_copy.subprocess, "Popen", hanging)
    monkeypatch.setattr(study_copy, "FINISH_S", 0.2)
    view = Told()
    copy, state = driven(tmp_path, view)
    try:
        copy.start(state, 3)
        for _ in range(200):
            copy._send({"key": "x" * 10_000})
        began = time.monotonic()
        work(state, slots=3)
        copy.refresh()
        copy.close()
        copy.finish(state.history)
        assert time.monotonic() - began < 30
        assert view.messages == []
    finally:
        for process in started:
            process.kill()
            process.wait()


@pytest.mark.slow
def test_what_goes_wrong_with_it_is_one_line_for_the_user(tmp_path: Path) -> None:
    view = Told()
    copy, state = driven(tmp_path, view)
    copy.path.mkdir()
    (copy.path / "something").touch()
    copy.start(state, 3)
    work(state, slots=3, stop_after=4)
    for _ in range(3):
        copy._guarded(lambda: copy._send(plain(copy._rows.of_history(state.history)[0])))
    copy.refresh()
    copy.finish(state.history)
    assert len(view.messages) == 1
    assert view.messages[0].startswith("work/optuna.db is not up to date, and the run is not affected: ")


def test_a_process_that_cannot_start_is_one_line_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nowhere"))
    view = Told()
    copy, state = driven(tmp_path, view)
    copy.start(state, 3)
    work(state, slots=3, stop_after=2)
    copy.refresh()
    copy.close()
    copy.finish(state.history)
    assert len(view.messages) == 1
    assert "FileNotFoundError" in view.messages[0]
