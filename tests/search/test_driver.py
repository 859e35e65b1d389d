import math
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from rksearch.api import Run, plan_run, start_run
from rksearch.arch import FAMILIES
from rksearch.errors import DataError, RunAborted, RunError
from rksearch.recipes.shipped import recipe
from rksearch.report.text import clock_text
from rksearch.results.environment import Environment
from rksearch.results.history import History
from rksearch.results.ledger import Ledger
from rksearch.results.records import TrialSpec
from rksearch.results.run_dir import RunDir, mirror_address
from rksearch.search import driver
from rksearch.search.budget import MOST_HOURS
from rksearch.search.planning import Asked, plan_of
from rksearch.search.ray import session
from rksearch.search.ray.session import STORE_BYTES, SessionEnds, ray_session
from rksearch.search.ray.token import has_token
from rksearch.search.reservations import Reservations
from rksearch.search.resources import Resources, as_before
from rksearch.search.stopping import StopRequest
from rksearch.search.tasks import Task
from rksearch.search.view import Silent
from rksearch.space import parse_space
from tests.helpers.extending import register_smooth, registrations_forgotten
from tests.helpers.ledgers import plan_record, space_record


def test_a_resumed_run_takes_over_what_the_user_does_not_say():
    before = Resources(
        cpus_per_trial=2,
        gpus_per_trial=0.5,
        data_dir=Path("images"),
        download=False,
        device="cpu",
        storage="s3://bucket/mirror",
    )
    assert as_before(Resources(), frozenset(), before.options()) == before
    changed = as_before(Resources(data_dir=Path("elsewhere")), frozenset({"data_dir"}), before.options())
    assert changed == replace(before, data_dir=Path("elsewhere"))


def test_an_address_and_noise_are_not_taken_over():
    before = Resources(address="10.0.0.1:6379", verbose=True)
    resumed = as_before(Resources(), frozenset(), before.options())
    assert (resumed.address, resumed.verbose) == (None, False)


@pytest.mark.parametrize("asked", [{"address": ""}, {"address": " "}, {"address": "local"}, {"storage": ""}])
def test_an_address_of_nothing_is_refused_and_starts_no_ray_of_its_own(asked, tmp_path, answer):
    [(option, value)] = asked.items()
    with pytest.raises(RunError, match=f"--{option} must .*, but got {value!r}; leave it out"):
        Resources(**asked)
    for words in (("run", "--space", "quickstart"), ("resume", tmp_path), ("retrain", tmp_path), ("final", tmp_path)):
        code, _, errors = answer(*words, f"--{option}", value)
        assert (code, len(errors.splitlines())) == (2, 1)
        assert f"--{option} must" in errors


@pytest.mark.parametrize("option", ["cpu_hours", "gpu_hours", "trial_hours"])
@pytest.mark.parametrize("hours", ["1e308", "1e8", "0", "nan"])
def test_hours_beyond_every_calendar_are_refused(option, hours, tmp_path, answer):
    word, asked = f"--{option.replace('_', '-')}", {option: float(hours)}
    with pytest.raises(RunError, match=f"{word} must be above 0 and at most 10,000,000, but got"):
        Resources(**asked)  # type: ignore[arg-type]  # one of the hours
    code, _, errors = answer("run", "--space", "quickstart", "--out", tmp_path / "run", word, hours)
    assert (code, len(errors.splitlines())) == (2, 1)
    assert f"'{word}'" in errors
    assert not (tmp_path / "run").exists()


def test_the_longest_limit_has_an_end_in_the_calendar():
    budget = Resources(cpu_hours=MOST_HOURS).budget
    left_s = budget.left_s(History(), {}, {"cpu": 1.0})
    assert clock_text(left_s) == "10000000:00:00"
    assert left_s is not None
    assert datetime.now() + timedelta(seconds=left_s)
    assert clock_text(math.inf) == "?"


def test_a_run_that_was_started_with_an_empty_storage_has_none():
    assert as_before(Resources(), frozenset(), {**Resources().options(), "storage": ""}).storage is None


@pytest.mark.parametrize(
    ("asked", "expected", "slots"),
    [
        (Resources(), {"cpu": 1.0, "gpu": 1.0}, 2),
        (Resources(gpus_per_trial=0.25), {"cpu": 1.0, "gpu": 0.25}, 8),
        (Resources(gpus_per_trial=0.3, cpus_per_trial=0.5), {"cpu": 0.5, "gpu": 0.3}, 6),
        (Resources(gpus_per_trial=0, cpus_per_trial=4), {"cpu": 4, "gpu": 0}, 2),
        (Resources(device="cpu"), {"cpu": 1.0, "gpu": 0.0}, 8),
    ],
)
def test_what_a_trial_reserves_and_how_many_fit(asked, expected, slots):
    there = [{"CPU": 8.0, "GPU": 2.0}]
    found = Reservations.on(there, asked)
    assert (found.trial, found.slots(there)) == (expected, slots)


def test_without_a_gpu_trials_ask_for_none():
    there = [{"CPU": 2.0}]
    found = Reservations.on(there, Resources())
    assert (found.trial, found.slots(there)) == ({"cpu": 1.0, "gpu": 0.0}, 2)


MACHINES = [{"CPU": 8.0, "GPU": 2.0}, {"CPU": 4.0}]
SEED = TrialSpec(arch="ResNet-8", dataset="digits", recipe=recipe("short"))


def task(*, alone: bool = False, seeds: int = 1) -> Task:
    beside = tuple(replace(SEED, replicate=i) for i in range(1, seeds))
    return Task("train", SEED, alone=alone, beside=beside)


@pytest.mark.parametrize(
    ("asked", "what", "expected", "slots", "memory_share"),
    [
        (Resources(gpus_per_trial=0.25), task(), {"cpu": 1.0, "gpu": 0.25}, 1, 0.25),
        (Resources(gpus_per_trial=0.25), task(seeds=2), {"cpu": 1.0, "gpu": 0.5}, 2, 0.5),
        (Resources(gpus_per_trial=0.25), task(seeds=8), {"cpu": 1.0, "gpu": 1.0}, 4, 1.0),
        (Resources(gpus_per_trial=0.3), task(seeds=2), {"cpu": 1.0, "gpu": 0.6}, 2, 0.6),
        (Resources(), task(seeds=3), {"cpu": 1.0, "gpu": 1.0}, 1, 1.0),
        (Resources(cpus_per_trial=2, gpus_per_trial=0.25), task(alone=True), {"cpu": 2.0, "gpu": 1.0}, 4, 1.0),
        (Resources(device="cpu"), task(), {"cpu": 1.0, "gpu": 0.0}, 1, 1 / 8),
        (Resources(device="cpu", cpus_per_trial=2), task(seeds=3), {"cpu": 2.0, "gpu": 0.0}, 1, 1 / 4),
        (Resources(device="cpu"), task(alone=True), {"cpu": 8.0, "gpu": 0.0}, 8, 1.0),
    ],
)
def test_what_each_task_reserves_the_slots_it_takes_and_its_memory(asked, what, expected, slots, memory_share):
    found = Reservations.on(MACHINES, asked)
    assert found.of(what) == expected
    assert found.slots_of(what) == slots
    assert found.memory_share(what) == pytest.approx(memory_share)


@pytest.mark.parametrize(("asked", "gpus"), [(Resources(cpus_per_trial=9), 2.0), (Resources(gpus_per_trial=1), 0.0)])
def test_more_than_there_is_is_an_error(asked, gpus):
    with pytest.raises(RunError, match="per-trial is"):
        Reservations.on([{"CPU": 8.0, "GPU": gpus}], asked)


@pytest.mark.parametrize("place", ["RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "file", None])
def test_a_token_is_found_where_ray_looks_for_it(tmp_path, monkeypatch, place):
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    if place == "file":
        (tmp_path / ".ray").mkdir()
        (tmp_path / ".ray" / "auth_token").write_text("token")
    elif place:
        monkeypatch.setenv(place, "somewhere")
    assert has_token() == (place is not None)


def test_each_run_has_a_place_of_its_own_in_all_its_sessions(tmp_path: Path) -> None:
    times = iter(["2026-01-31T12:00:00Z", "2026-01-31T12:00:01Z", "2026-02-01T09:00:00Z"])
    ledger = Ledger(tmp_path / "tiny-1", clock=lambda: next(times))
    assert mirror_address(ledger.read(), "s3://b") is None
    ledger.write_run(name="tiny-1", space=space_record(), plan=plan_record())
    for _ in range(2):
        ledger.write_session(environment=Environment(), options={})
        assert mirror_address(ledger.read(), "s3://b/") == "s3://b/tiny-1-20260131T120001Z"
    assert mirror_address(ledger.read(), None) is None


def test_a_ray_that_does_not_start_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray itself raises a bare exception of several lines."""
    stopped: list[bool] = []

    def init(**options: object) -> None:
        raise Exception("The current node timed out during startup.\nThis could happen because ...")

    import ray

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "shutdown", lambda: stopped.append(True))
    said: list[str] = []
    view = Silent()
    monkeypatch.setattr(view, "message", said.append)
    with pytest.raises(RunAborted) as error, ray_session(Resources(), view, SessionEnds.ignored(), Path("run")):
        pass
    assert said == ["Starting Ray ..."], "said before the wait"
    assert stopped == [True], "what had started is stopped"
    assert str(error.value) == (
        "Ray on this machine must be reachable, but The current node timed out during startup; resume when the "
        "machine is less busy"
    )


@pytest.mark.parametrize(("free", "expected"), [(10**10, 10**10 - STORE_BYTES), (10**8, STORE_BYTES), (0, STORE_BYTES)])
def test_ray_here_offers_the_memory_that_this_process_may_use(
    monkeypatch: pytest.MonkeyPatch, free: int, expected: int
) -> None:
    import ray

    asked: list[dict[str, object]] = []

    def init(**options: object) -> None:
        asked.append(options)
        raise ConnectionError("none")

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(session, "free_memory_bytes", lambda: free)
    for resources in (Resources(), Resources(address="auto")):
        with pytest.raises(RunAborted):
            session._started(resources, StopRequest(), "run")
    assert [(options["address"], options["_memory"]) for options in asked] == [("local", expected), ("auto", None)]


def test_a_driver_that_ends_while_its_run_is_read_was_not_killed(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.write_run(name="run", space=space_record(), plan=plan_record())
    ledger.write_session(environment=Environment(), options={})
    seen, killed = Run(tmp_path), Run(tmp_path)
    assert seen.history.state == "running"
    assert killed.status().state == "killed"
    ledger.write_end("finished")
    assert seen.status().state == "finished"


@pytest.mark.parametrize("count", [1.5, 2])
def test_a_trial_has_one_gpu_at_most(count: float) -> None:
    with pytest.raises(
        RunError, match=f"trains on one GPU, .* in parallel, but got --gpus-per-trial {count:g}; give 1"
    ):
        Resources(gpus_per_trial=count)
    with pytest.raises(RunError, match="trains on one GPU"):
        as_before(Resources(), frozenset(), {"gpus_per_trial": count})
    assert as_before(Resources(), frozenset({"gpus_per_trial"}), {"gpus_per_trial": count}).gpus_per_trial is None


def test_a_recipe_that_the_images_cannot_have_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    space = tmp_path / "small.yaml"
    space.write_text(
        "dataset: digits\ngrowth_rate: [4]\nperiods: [{m: [1], s: [1], r: [1]}]\nrecipe: paper_imagenet_256\n"
    )
    planned = plan_run(space, out=tmp_path / "run")
    with pytest.raises(DataError, match=r"asks for the augmentation scale_aspect, .* those of digits lie in memory"):
        start_run(planned)
    assert not (tmp_path / "run" / "ledger.jsonl").exists()


def test_latency_of_a_script_s_family_is_refused_before_the_run_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []
    monkeypatch.setattr(driver, "run_tasks", lambda *args, **kwargs: started.append("Ray"))
    text = """
dataset: digits
families: [smooth]
periods: [{s: [1, 2], r: [1]}, {s: [1], r: [1]}]
recipe: {name: short, epochs: 2}
search: {objectives: [val_error_pct, latency_ms]}
"""
    with registrations_forgotten(FAMILIES):
        register_smooth()
        space = parse_space(text, name="smooth")
        plan = plan_of(space.definition, Asked(), members=len(space))
        with pytest.raises(RunError, match="the family 'smooth' came from a program"):
            driver.start(space, plan, RunDir(tmp_path / "run"), Resources(), Silent())
    assert started == []
    assert not Ledger(tmp_path / "run").read().sessions
