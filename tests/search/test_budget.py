"""Budgets of time: what they say, when they end, and that their end is not that of the work."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from rksearch.errors import RunError
from rksearch.report import format_status
from rksearch.report.text import clock_text
from rksearch.results.events import Forecast
from rksearch.results.history import History
from rksearch.results.ledger import Ledger
from rksearch.results.run_dir import RunDir
from rksearch.results.status import run_status
from rksearch.search import driver
from rksearch.search.batch import LATEST_S
from rksearch.search.budget import TimeBudget, budget_sentence, clock_time
from rksearch.search.launch import Launch
from rksearch.search.planning import Asked, plan_of
from rksearch.search.reservations import Reservations
from rksearch.search.resources import Resources
from rksearch.search.session import SessionClock
from rksearch.search.session_end import ending_of
from rksearch.search.view import Silent
from rksearch.space import parse_space
from tests.helpers.command_line import TINY_SPACE, Answer
from tests.helpers.ledgers import begin
from tests.helpers.simulation import must, new_state, outcome, settings, work

SPACE = parse_space(TINY_SPACE, name="tiny")

NOON = datetime(2026, 11, 27, 12, 30).astimezone()


def until(text: str) -> TimeBudget:
    return TimeBudget(until_s=clock_time(text, NOON).timestamp(), began_s=NOON.timestamp())


def test_a_time_of_day_that_has_passed_is_tomorrow_and_said_to_be() -> None:
    passed = budget_sentence(until("12:12"), settings(trials=3), members=9)
    assert passed == "The run stops on Saturday 28 November 2026 at 12:12, which is tomorrow."
    ahead = budget_sentence(until("18:30"), settings(trials=3), members=9)
    assert ahead == "The run stops on Friday 27 November 2026 at 18:30."


def test_where_the_time_alone_ends_the_search_the_whole_space_is_said() -> None:
    said = budget_sentence(TimeBudget(cpu_hours=2), settings(trials=5_042), members=5_042)
    assert said.startswith("The run stops after 2 CPU hours; until then all 5,042 architectures of the space are")


@pytest.mark.parametrize("stated", [None, 0, 7])
def test_a_number_of_replicates_in_the_space_holds_within_a_budget_too(stated: int | None) -> None:
    definition = SPACE.definition
    definition = replace(definition, search=replace(definition.search, replicates=stated))
    plan = plan_of(definition, Asked(timed=True), members=len(SPACE))
    assert (plan.trials, plan.replicates) == (len(SPACE), stated)
    assert plan_of(definition, Asked(timed=True, replicates=2), members=len(SPACE)).replicates == 2


def test_several_limits_are_all_named() -> None:
    assert TimeBudget(cpu_hours=2, gpu_hours=0.5).words == "after 2 CPU hours or after 0.5 GPU hours"
    assert TimeBudget().words == "when all is done"


def test_the_time_left_is_that_of_the_first_limit() -> None:
    history = History(cpu_s=600.0, gpu_s=60.0)
    running, at_once = {"cpu": 120.0, "gpu": 0.0}, {"cpu": 2.0, "gpu": 0.5}
    assert TimeBudget().left_s(history, running, at_once) is None
    assert TimeBudget(cpu_hours=1).left_s(history, running, at_once) == (3600 - 600 - 120) / 2
    assert TimeBudget(cpu_hours=1, gpu_hours=0.05).left_s(history, running, at_once) == (180 - 60) / 0.5
    assert TimeBudget(cpu_hours=0.1).left_s(history, running, at_once) == 0
    assert TimeBudget(gpu_hours=1).left_s(history, running, {"cpu": 2.0, "gpu": 0.0}) is None
    left = TimeBudget(until_s=time.time() + 100).left_s(history, running, at_once)
    assert left == pytest.approx(100, abs=5)


@pytest.mark.parametrize("replicates", [0, None])
def test_a_budget_that_ends_a_run_has_cut_it_short(tmp_path: Path, replicates: int | None) -> None:
    state, _ = new_state(tmp_path, budget=TimeBudget(cpu_hours=1), replicates=replicates, trials=6)
    work(state, slots=1, stop_after=4)
    assert not state.cut_short
    state.budget = TimeBudget(until_s=time.time() - 1, began_s=time.time() - 10)
    assert state.next() is None
    assert state.done
    assert state.cut_short


def test_a_run_that_is_done_before_its_budget_ends_is_not_cut_short(tmp_path: Path) -> None:
    state, _ = new_state(tmp_path, trials=4, replicates=0)
    work(state, slots=1)
    assert state.done
    assert not state.cut_short
    state.budget = TimeBudget(until_s=time.time() - 1, began_s=time.time() - 10)
    assert not state.cut_short, "nothing was left"


def test_a_run_that_its_budget_stopped_is_not_finished(tmp_path: Path) -> None:
    ledger = begin(tmp_path)
    ledger.write_end("interrupted", budget="after 2 CPU hours")
    history = Ledger(tmp_path).read()
    assert (history.state, history.message) == ("stopped", "after 2 CPU hours")
    assert "stopped (after 2 CPU hours)" in format_status(run_status(history)).splitlines()[0]
    ledger.write_end("interrupted")
    assert Ledger(tmp_path).read().state == "interrupted"


def test_the_time_left_is_known_from_the_first_second_and_ends_with_the_budget(tmp_path: Path) -> None:
    now = [0.0]
    state, _ = new_state(tmp_path, trials=6, clock=lambda: now[0])
    clock = SessionClock(state, 2)
    assert clock.remaining_s() is None
    left = state.agenda.remaining(state.history).epochs
    state.forecast = Forecast(epochs=left, work_s=10 * left, wall_time_s=5 * left)
    assert clock.remaining_s() == pytest.approx(5 * left)
    task = must(state.next())
    state.on_start(task)
    now[0] = 30.0
    assert clock.remaining_s() == pytest.approx(5 * left - 15), "what has run of a training is not left"
    state.on_end(task, outcome(task))
    first_s = clock.remaining_s()
    assert first_s is not None
    assert first_s < 5 * state.agenda.remaining(state.history).epochs, "its epochs took less than was expected"
    state.reservations = Reservations(trial={"cpu": 1.0, "gpu": 0.0}, whole={"cpu": 1.0, "gpu": 0.0})
    state.budget = TimeBudget(cpu_hours=(state.history.cpu_s + 20) / 3600)
    assert clock.remaining_s() == pytest.approx(10), "20 CPU seconds, two CPUs at a time"
    assert clock_text(clock.remaining_s()) == "0:00:10"


def test_the_console_shows_a_forecast(tmp_path: Path) -> None:
    from rksearch.cli.live import ConsoleView

    shown = io.StringIO()
    view = ConsoleView(Console(file=shown, width=200))
    view.forecast(Forecast(wall_time_s=3 * 86_400.0, slots=2, cpu_s=6 * 86_400.0), [("--recipe short", 7200.0)])
    text = shown.getvalue()
    assert "The run: about 3 d 0 h, 2 trainings at a time (144 CPU hours)" in text
    assert "more than a day" in text
    assert "--recipe short (about 2 h)" in text


def test_the_day_after_is_found_on_the_last_of_a_month() -> None:
    now = datetime(2026, 12, 31, 23, 59).astimezone()
    assert clock_time("00:01", now) - now == timedelta(minutes=2)


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The clock of a place with daylight saving, which ends on 25 October 2026 at 3:00."""
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize(
    ("now", "text", "hours"),
    [
        ("2026-10-24T20:00", "2026-10-26T18:30", 47.5),
        ("2026-10-24T20:00", "18:30", 23.5),
        ("2026-10-24T20:00", "20:30", 0.5),
        ("2026-10-24T20:00", "2026-10-26T18:30+02:00", 46.5),
        ("2026-03-28T20:00", "2026-03-30T18:30", 45.5),
        ("2026-03-28T20:00", "18:30", 21.5),
        ("2026-10-25T02:45", "02:30", 0.75),
        ("2026-10-25T02:45", "2026-10-25T02:30", 0.75),
        ("2026-10-25T02:15", "02:30", 0.25),
    ],
)
def test_an_end_beyond_a_change_of_daylight_saving_is_what_the_clock_shows_then(
    now: str, text: str, hours: float
) -> None:
    began = datetime.fromisoformat(now).astimezone()
    end = clock_time(text, began)
    assert end - began == timedelta(hours=hours)
    if "+" not in text:
        assert f"{datetime.fromtimestamp(end.timestamp()):%Y-%m-%dT%H:%M}".endswith(text)


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize("text", ["0001-01-01", "0001-01-01T00:00+10:00", "1969-12-31T23:00"])
def test_the_beginning_of_the_calendar_has_passed(text: str) -> None:
    with pytest.raises(RunError, match="which has passed; give a later one"):
        clock_time(text, datetime.now().astimezone())


@pytest.mark.parametrize(
    ("until_s", "job_until_s", "ending"),
    [(None, -10, "interrupted"), (10**6, -10, "interrupted"), (-10, 3600, "stopped"), (-10, -5, "stopped")],
)
def test_what_runs_when_a_job_ends_is_left_to_the_next_one_unless_the_run_ends_too(
    tmp_path: Path, until_s: float | None, job_until_s: float, ending: str
) -> None:
    """A training has outlived its grace; times are in seconds from now."""
    state, _ = new_state(tmp_path, trials=4)
    must(state.next())
    now_s = time.time()
    state.budget = TimeBudget(
        until_s=None if until_s is None else now_s + until_s, job_until_s=now_s + job_until_s, began_s=now_s - 100
    )
    assert ending_of(Launch(RunDir(tmp_path), Resources(), Silent()), state) == ending


@pytest.mark.parametrize(("options", "ends"), [((), False), (("--until", "00:00"), True), (("--cpu-hours", "9"), True)])
def test_a_limit_of_gpu_work_without_a_gpu_is_refused_unless_another_one_ends_the_run(
    tmp_path: Path,
    answer: Callable[..., Answer],
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    *,
    ends: bool,
) -> None:
    began: list[str] = []
    monkeypatch.setattr(driver, "run_tasks", lambda *args, **kwargs: began.append("Ray"))
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    (tmp_path / "tiny.yaml").write_text(TINY_SPACE)
    words = ("run", "--space", tmp_path / "tiny.yaml", "--out", tmp_path / "run", "--gpu-hours", "1.5", *options)
    code, _, errors = answer(*words)
    refused = "--gpu-hours 1.5 counts work on GPUs, but a trial here has none; give --cpu-hours or --until"
    assert bool(began) == ends
    assert errors.splitlines() == ([] if ends else [f"rksearch: {refused}"])
    assert (code == 2) != ends


def test_a_remembered_limit_of_gpu_work_is_refused_too(
    tmp_path: Path, answer: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "run_tasks", lambda *args, **kwargs: None)
    (tmp_path / "tiny.yaml").write_text(TINY_SPACE)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    answer("run", "--space", tmp_path / "tiny.yaml", "--out", tmp_path / "run", "--gpu-hours", "1.5")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    code, _, errors = answer("resume", tmp_path / "run")
    assert (code, len(errors.splitlines())) == (2, 1)
    assert "--gpu-hours 1.5 counts work on GPUs, but a trial here has none" in errors
    assert answer("resume", tmp_path / "run", "--until", "00:00")[0] != 2


def test_a_limit_of_gpu_work_counts_where_trials_have_a_gpu() -> None:
    budget = TimeBudget(gpu_hours=1)
    assert budget.without_gpus(0.25) is None
    assert TimeBudget(cpu_hours=1).without_gpus(0) is None
    assert replace(budget, cpu_hours=1).without_gpus(0) == "--gpu-hours 1 limits nothing here: trials have no GPU."


@pytest.mark.parametrize("text", ["9999-12-31T23:59:59-23:59", "9999-12-31", "5139-01-01T00:00"])
def test_an_end_that_no_calendar_reaches_is_bad_input(text: str, answer: Callable[..., Answer]) -> None:
    code, _, errors = answer("run", "--space", "quickstart", "--until", text)
    [line] = errors.splitlines()
    assert code == 2
    assert f"but got '{text}', which is too far away; give an earlier one" in line
    for until_s in (1e12, float("inf"), float("nan"), -1.0):
        with pytest.raises(RunError, match="--until must be a time from 0 to"):
            Resources(until_s=until_s)


def test_the_latest_end_has_words() -> None:
    assert "5138" in TimeBudget(until_s=LATEST_S, job_until_s=LATEST_S).words
