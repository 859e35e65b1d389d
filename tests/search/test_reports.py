"""What Ray sees of a run: numbers, descriptions, names, loggers, and the user's callbacks."""

import csv
import json
import math
import pickle
import re
import shlex
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ray import cloudpickle, tune
from ray.tune.experiment import Trial
from ray.tune.logger import CSVLoggerCallback, LoggerCallback
from ray.tune.result import TIMESTEPS_TOTAL, TRAINING_ITERATION
from tensorboardX.proto import event_pb2

from rksearch.arch import FAMILIES, parse
from rksearch.arch.cost import cost
from rksearch.data.facts import dataset
from rksearch.errors import RunAborted, RunError
from rksearch.results.codec import to_plain
from rksearch.results.environment import Environment
from rksearch.results.ledger import Ledger
from rksearch.results.records import Epoch, TrialSpec
from rksearch.results.run_dir import RunDir
from rksearch.search.agenda import SearchAgenda
from rksearch.search.beside import Beside
from rksearch.search.loggers import LOGGERS, LoggerEntry, require_loggers
from rksearch.search.ray import loggers as loggers_module
from rksearch.search.ray.cluster import _loggers
from rksearch.search.ray.loggers import (
    LoggedTraining,
    TrainingLog,
    TrainingLogger,
    UserCallbacks,
    make_loggers,
    require_callbacks,
)
from rksearch.search.ray.reports import (
    OUTCOME,
    RATE,
    TRAINED,
    Reporter,
    class_name,
    description,
    epoch_of,
    numbers,
    own_numbers,
)
from rksearch.search.ray.token import hint
from rksearch.search.ray.tune import LedgerSearcher, StateCallback, trainable
from rksearch.search.reservations import Reservations
from rksearch.search.resources import Resources, as_before
from rksearch.search.run_state import RunState
from rksearch.search.tasks import Task
from rksearch.search.view import Silent
from rksearch.space import load_space
from rksearch.training.execution import Execution
from tests.helpers.command_line import TINY_SPACE, python
from tests.helpers.ledgers import plan_record, space_record, ticking, trial
from tests.helpers.simulation import ListProposer, new_state
from tests.helpers.simulation import settings as settings_of_a_run

SPEC = replace(trial("RKNet-BC-k8-m2_4_6-4x1@rk4_1x2s_1x1", 2, epochs=9), dataset="digits")
EXECUTION = Execution(work_dir="/nowhere", data_dir="/nowhere")


def epoch(number: int, **changes: Any) -> Epoch:
    values: dict[str, Any] = {
        "epoch": number,
        "lr": 0.1,
        "train_loss": 1.0 / number,
        "train_error_pct": 50.0,
        "val_loss": 2.0,
        "val_error_pct": 40.0 / number,
        "train_time_s": 0.5,
    }
    return Epoch(**{**values, **changes})


# -- numbers and descriptions


any_number = st.floats(allow_nan=True, allow_infinity=False, width=32)
any_percent = st.one_of(st.just(math.nan), st.floats(0, 100))


@settings(max_examples=30)
@given(
    number=st.integers(1, 10**6),
    loss=any_number,
    error=any_percent,
    balanced=st.none() | st.floats(0, 100),
    metrics=st.dictionaries(st.text(min_size=1, max_size=20), st.floats(allow_nan=False), max_size=5),
)
def test_an_epoch_survives_the_way_to_tune_and_back(
    number: int, loss: float, error: float, balanced: float | None, metrics: dict[str, float]
) -> None:
    sent = epoch(number, train_loss=loss, val_error_pct=error, balanced_val_error_pct=balanced, metrics=metrics)
    report = numbers(SPEC, sent, images=100)
    tuned = {**report, "pid": 1, "hostname": "here", "config": {"epoch": 0}, TRAINING_ITERATION: 1}
    assert own_numbers(tuned).keys() == report.keys()
    found = epoch_of(tuned)
    assert found is not None
    trained, received = found
    assert trained == SPEC.id
    for field in fields(Epoch):
        a, b = getattr(sent, field.name), getattr(received, field.name)
        assert a == b or (math.isnan(a) and math.isnan(b)), field.name


def test_tune_sees_plain_numbers_whose_step_is_the_epoch() -> None:
    report = numbers(SPEC, epoch(3), images=100)
    assert report[TIMESTEPS_TOTAL] == 3
    assert report[RATE] == 200.0
    assert {k for k, v in report.items() if not isinstance(v, int | float)} == {TRAINED}
    assert RATE not in numbers(SPEC, epoch(3), images=None)
    assert RATE not in numbers(SPEC, epoch(3, train_time_s=0.0), images=100)
    assert epoch_of({**report, OUTCOME: "{}"}) is None, "the last epoch again, beside the outcome"


def test_a_trial_is_described_by_its_architecture() -> None:
    counts = cost(parse(SPEC.arch), dataset("digits"))
    assert description(SPEC) == {
        "architecture": SPEC.arch,
        "family": "dense_bc",
        "params": counts.params,
        "macs": counts.macs,
        "seed": SPEC.seed,
        "replicate": 2,
        "role": "candidate",
        "dataset": "digits",
        "epochs": 9,
        "k": 8,
        **{"m1": 2, "s1": 4, "r1": 1, "share1": False, "solver1": "rk4"},
        **{"m2": 4, "s2": 1, "r2": 2, "share2": True},
        **{"m3": 6, "s3": 1, "r3": 1, "share3": False},
    }


@pytest.mark.parametrize("family", list(FAMILIES.items()))
def test_every_family_has_a_description(family: str) -> None:
    arch = FAMILIES.get(family).sample
    found = description(replace(SPEC, arch=arch, dataset="cifar10"))
    assert found["architecture"] == arch
    assert json.loads(json.dumps(found)) == found


def test_choices_have_the_names_that_they_have_in_the_space() -> None:
    space = load_space("quickstart")
    spec = space.at(len(space) // 2)
    found, choices = description(replace(SPEC, arch=str(spec))), space.choices(spec)
    assert {key: found[key] for key in choices if key in found} == choices
    assert choices.keys() <= found.keys()


def test_what_tune_gets_of_a_task_says_what_it_trains(tmp_path: Path) -> None:
    state, _ = new_state(tmp_path)
    one = Reservations(trial={"cpu": 1.0, "gpu": 0.0}, whole={"cpu": 2.0, "gpu": 0.0})
    config = LedgerSearcher(state, EXECUTION, one, lambda: 2).suggest("a")
    assert isinstance(config, dict)
    assert config["architecture"] == "ResNet-8"
    assert config["params"] > 1000


def test_an_actor_bears_the_run_s_name() -> None:
    made = trainable(
        lambda task, execution, on_epoch=None, on_part=None: {}, "quick start.1", lambda config: {"cpu": 2}
    )
    assert (made.__name__, made.__qualname__, made._name) == ("quick_start_1",) * 3
    assert made.default_resource_request({}) == {"cpu": 2}
    assert pickle.loads(cloudpickle.dumps(made)).__qualname__ == "quick_start_1", "its workers get it by value"
    assert class_name("...") != ""
    assert class_name("b] é[lr]🦊") == "b_lr_"


def test_a_worker_writes_a_line_per_epoch_and_reports_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    sent: list[dict[str, Any]] = []
    reporter = Reporter("run", EXECUTION, to=sent.append)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Reporter, "_images", lambda self, spec: 100)
        reporter.on_epoch(SPEC, epoch(1))
        reporter.on_epoch(SPEC, epoch(2, val_error_pct=math.nan))
    reporter.end('{"results": []}')
    assert [item.get(OUTCOME) for item in sent] == [None, None, '{"results": []}']
    assert sent[-1]["epoch"] == 2, "the last numbers stay what Tune calls the trial's last result"
    assert capsys.readouterr().out.splitlines() == [
        f"{SPEC.arch} seed {SPEC.seed} (replicate 2) epoch 1/9: val error 40.00 %, train loss 1.0000, 200 images/s",
        f"{SPEC.arch} seed {SPEC.seed} (replicate 2) epoch 2/9: train error 50.00 %, train loss 0.5000, 200 images/s",
    ]


def test_gauges_say_which_architecture_and_seed_they_are_about(monkeypatch: pytest.MonkeyPatch) -> None:
    from rksearch.search.ray import reports

    seen: list[tuple[str, float, dict[str, str]]] = []

    def gauge(name: str) -> Any:
        return SimpleNamespace(set=lambda value, tags: seen.append((name, value, tags)))

    monkeypatch.setattr(reports, "_gauge", gauge)
    monkeypatch.setattr(Reporter, "_images", lambda self, spec: None)
    Reporter("quickstart-1", EXECUTION, to=lambda report: None).on_epoch(SPEC, epoch(2, val_error_pct=math.nan))
    tags = {
        "run": "quickstart-1",
        "architecture": SPEC.arch,
        "seed": str(SPEC.seed),
        "replicate": "2",
        "role": "candidate",
    }
    assert seen == [("train_loss", 0.5, tags)], "a gauge shows no number that is not finite"


def test_rays_own_gauges_take_runs_and_networks_with_any_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    from rksearch.search.ray import reports

    taken: list[dict[str, str]] = []
    rays = reports._gauge

    def gauge(name: str) -> Any:
        def set_and_note(value: float, tags: dict[str, str]) -> None:
            rays(name).set(value, tags)
            taken.append(tags)

        return SimpleNamespace(set=set_and_note)

    monkeypatch.setattr(reports, "_gauge", gauge)
    monkeypatch.setattr(Reporter, "_images", lambda self, spec: None)
    told: list[dict[str, Any]] = []
    Reporter("größe ñ 🦊", EXECUTION, to=told.append).on_epoch(replace(SPEC, arch="netz_ß"), epoch(1))
    assert [report["epoch"] for report in told] == [1]
    assert {(tags["run"], tags["architecture"]) for tags in taken} == {(r"gr\xf6\xdfe \xf1 \U0001f98a", r"netz_\xdf")}


# -- loggers


class Remembered(LoggerCallback):
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, Any]] = []

    def log_trial_start(self, trial: Any) -> None:
        self.seen.append(("start", str(trial), trial.config["seed"]))

    def log_trial_result(self, iteration: int, trial: Any, result: dict[str, Any]) -> None:
        self.seen.append(("result", str(trial), (result[TRAINING_ITERATION], result["val_error_pct"])))

    def log_trial_end(self, trial: Any, failed: bool = False) -> None:
        self.seen.append(("end", str(trial), failed))


def tune_trial(task: Task) -> Trial:
    return cast(Trial, SimpleNamespace(trial_id="t1", config={"task": to_plain(task)}))


def logged(
    directory: Path, callback: LoggerCallback, play: Callable[[TrainingLog], None], name: str = "csv"
) -> list[str]:
    """Let a logger see what `play` does; returns what it told the user."""
    notes: list[str] = []
    logger = TrainingLogger(name, callback, run="run", directory=directory, began="then", note=notes.append)
    logger.set_up()
    log = TrainingLog([logger], notes.append)
    play(log)
    log.close()
    return notes


def report(log: TrainingLog, one: Trial, spec: TrialSpec, number: int) -> None:
    log.on_trial_result(1, [], one, {**numbers(spec, epoch(number), 100), "pid": 1, "config": one.config})


def outcome(*statuses: str) -> dict[str, Any]:
    return {OUTCOME: json.dumps({"results": [{"status": status} for status in statuses]})}


def test_a_logger_sees_trainings_whatever_tasks_they_were_in(tmp_path: Path) -> None:
    other = replace(SPEC, replicate=3)
    callback = Remembered()

    def play(log: TrainingLog) -> None:
        together = tune_trial(Task("train", SPEC, beside=(other,)))
        log.on_trial_start(1, [], together)
        report(log, together, SPEC, 1)
        report(log, together, other, 1)
        log.on_trial_result(1, [], together, outcome("paused", "failed"))
        log.on_trial_complete(1, [], together)
        alone = tune_trial(Task("train", SPEC))
        log.on_trial_start(2, [], alone)
        report(log, alone, SPEC, 2)
        log.on_trial_error(2, [], alone)
        log.on_trial_start(3, [], tune_trial(Task("test", SPEC)))

    assert logged(tmp_path, callback, play) == []
    one, two = SPEC.id, other.id
    assert callback.seen == [
        ("start", one, SPEC.seed),
        ("start", two, other.seed),
        ("result", one, (1, 40.0)),
        ("result", two, (1, 40.0)),
        ("end", one, False),
        ("end", two, True),
        ("start", one, SPEC.seed),
        ("result", one, (2, 20.0)),
        ("end", one, True),
    ]


def test_a_training_whose_worker_is_replaced_has_not_failed(tmp_path: Path) -> None:
    callback = Remembered()
    logger = TrainingLogger("csv", callback, run="run", directory=tmp_path, began="then", note=print)
    logger.set_up()
    replaced = {"t1": True}
    log = TrainingLog([logger], print, lambda trial_id: replaced[trial_id])
    for again in (True, False):
        replaced["t1"] = again
        one = tune_trial(Task("train", SPEC))
        log.on_trial_start(1, [], one)
        log.on_trial_error(1, [], one)
    log.close()
    assert [failed for what, _, failed in callback.seen if what == "end"] == [False, True]


def test_a_training_has_one_id_in_all_sessions_of_its_run_and_others_in_runs_of_the_same_name(tmp_path: Path) -> None:
    """As a session's parts meet: what the state of a run has read is older than the record of its session."""

    def ids(path: Path, ledger: Ledger) -> str:
        state = RunState(ledger, lambda history: SearchAgenda(settings_of_a_run(), ListProposer([]), history))
        ledger.write_session(environment=Environment(), options={})
        (logger,) = _loggers(state, RunDir(path), Resources(log=("csv",)), Silent())
        return logger._training(SPEC).trial_id

    clock = ticking()
    first, other = tmp_path / "a" / "run", tmp_path / "b" / "run"
    found = {}
    for path in (first, other):
        ledger = Ledger(path, clock=clock)
        ledger.write_run(name="run", space=space_record(), plan=plan_record())
        found[path] = [ids(path, ledger) for _ in range(3)]
        assert len(set(found[path])) == 1
    assert found[first] != found[other]


def test_a_logger_that_cannot_begin_is_one_line_with_a_remedy_for_resumed_runs_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(Remembered):
        def setup(self, *args: Any, **info: Any) -> None:
            raise OSError(13, "Permission denied")

    monkeypatch.setattr(loggers_module, "_callback", lambda *args: Broken())
    with pytest.raises(RunAborted, match="Permission denied; mend that, or give --log csv in its place"):
        make_loggers(["wandb"], run="run", directory=tmp_path, began="then", note=print)
    assert as_before(Resources(log=("csv",)), frozenset({"log"}), Resources(log=("wandb",)).options()).log == ("csv",)


def test_a_logger_that_fails_is_left_out_and_the_user_told_once(tmp_path: Path) -> None:
    class Broken(Remembered):
        def log_trial_result(self, iteration: int, trial: Any, result: dict[str, Any]) -> None:
            raise OSError(28, "No space left on device")

    callback = Broken()

    def play(log: TrainingLog) -> None:
        one = tune_trial(Task("train", SPEC))
        log.on_trial_start(1, [], one)
        for number in (1, 2):
            report(log, one, SPEC, number)
        log.on_trial_result(1, [], one, outcome("complete"))

    notes = logged(tmp_path, callback, play, name="tensorboard")
    assert len(notes) == 1
    assert notes[0].startswith("--log tensorboard has failed and is left out from now on: OSError: [Errno 28] No space")
    assert [kind for kind, _, _ in callback.seen] == ["start"]


def test_a_slow_logger_keeps_nothing_from_another_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = threading.Event()

    class Slow(Remembered):
        def log_trial_start(self, trial: Any) -> None:
            held.wait(30)

    slow, quick, notes = Slow(), Remembered(), list[str]()
    loggers = [
        TrainingLogger(name, callback, run="run", directory=tmp_path / name, began="then", note=notes.append)
        for name, callback in (("wandb", slow), ("csv", quick))
    ]
    for logger in loggers:
        logger.set_up()
    log = TrainingLog(loggers, notes.append)
    one = tune_trial(Task("train", SPEC))
    log.on_trial_start(1, [], one)
    report(log, one, SPEC, 1)
    log.on_trial_result(1, [], one, outcome("complete"))
    monkeypatch.setattr(loggers_module, "LEAVING_S", 0.3)
    log.close(leaving=True)
    held.set()
    assert [kind for kind, _, _ in quick.seen] == ["start", "result", "end"]
    assert notes == ["--log wandb: not everything could be written in time, and the rest is left out"]


def test_what_a_pause_separates_is_one_training_unless_a_logger_wants_it_otherwise() -> None:
    def made(spec: TrialSpec, stretch: int | None = None, run: str = "run") -> LoggedTraining:
        return LoggedTraining(spec, run, Path("/nowhere"), "then", stretch)

    assert made(SPEC) == made(SPEC)
    assert hash(made(SPEC)) == hash(made(SPEC))
    assert made(SPEC) != made(replace(SPEC, replicate=0))
    assert made(SPEC, 0) != made(SPEC, 1)
    assert made(SPEC, 0).trial_id == made(SPEC, 1).trial_id
    assert made(SPEC).trial_id != made(SPEC, run="other").trial_id


def play_two_stretches(log: TrainingLog) -> None:
    one = tune_trial(Task("train", SPEC))
    for numbers_of in ((1, 2), (3,)):
        log.on_trial_start(1, [], one)
        for number in numbers_of:
            report(log, one, SPEC, number)
        log.on_trial_result(1, [], one, outcome("paused" if numbers_of[-1] < 3 else "complete"))


def test_ray_s_csv_logger_writes_one_table_for_a_training(tmp_path: Path) -> None:
    assert logged(tmp_path, CSVLoggerCallback(), play_two_stretches) == []
    (table,) = tmp_path.rglob("progress.csv")
    rows = list(csv.DictReader(table.open()))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert [float(row["val_error_pct"]) for row in rows] == [40.0, 20.0, pytest.approx(40 / 3)]


def scalars(directory: Path, tag: str) -> dict[int, float]:
    """Values of a tag in event files, read as records of protocol buffers: length, checksum, bytes, checksum."""
    found = {}
    for file in sorted(directory.rglob("events.out.tfevents.*")):
        data, at = file.read_bytes(), 0
        while at < len(data):
            size = int.from_bytes(data[at : at + 8], "little")
            event = event_pb2.Event.FromString(data[at + 12 : at + 12 + size])
            at += 16 + size
            for value in event.summary.value:
                if value.tag == tag:
                    found[event.step] = value.simple_value
    return found


def test_ray_s_tensorboard_logger_draws_one_curve_over_epochs(tmp_path: Path) -> None:
    (logger,) = make_loggers(["tensorboard"], run="run", directory=tmp_path, began="then", note=print)
    log = TrainingLog([logger], print)
    play_two_stretches(log)
    log.close()
    assert scalars(tmp_path / "tensorboard", "ray/tune/val_error_pct") == {
        1: 40.0,
        2: 20.0,
        3: pytest.approx(40 / 3),
    }


def test_a_logger_whose_package_is_missing_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    require_loggers(["csv", "tensorboard"])
    monkeypatch.setitem(LOGGERS, "mlflow", LoggerEntry(name="mlflow", module="not_installed_here", writes=""))
    with pytest.raises(RunError, match=r"must find the package not_installed_here.*pip install 'rksearch\[mlflow\]'"):
        require_loggers(["csv", "mlflow"])
    with pytest.raises(RunError, match="must be one of tensorboard, mlflow, wandb, csv, but got 'excel'"):
        require_loggers(["excel"])


def test_a_logger_that_cannot_begin_ends_the_run_before_ray_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Closed(Remembered):
        def setup(self, *args: Any, **info: Any) -> None:
            raise ValueError("No API key found")

    monkeypatch.setattr(loggers_module, "_callback", lambda *args: Closed())
    with pytest.raises(RunAborted, match="--log wandb must be able to begin, but it fails with ValueError: No API key"):
        make_loggers(["wandb"], run="run", directory=tmp_path, began="then", note=print)


@pytest.mark.parametrize("entry", [entry for entry in LOGGERS.values() if entry.module], ids=lambda entry: entry.name)
def test_each_logger_has_an_extra_of_its_name(entry: LoggerEntry) -> None:
    import tomllib

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert entry.name in project["optional-dependencies"]


@pytest.mark.slow
def test_the_command_refuses_a_logger_that_is_not_installed(tmp_path: Path) -> None:
    code = """
import sys
sys.modules["wandb"] = None
from importlib import util
find = util.find_spec
util.find_spec = lambda name, *rest: None if name == "wandb" else find(name, *rest)
sys.modules["ray"] = None
sys.argv = ["rksearch", "run", "--space", "tiny.yaml", "--log", "wandb", "--out", "run"]
from rksearch.cli import main
main()
"""
    (tmp_path / "tiny.yaml").write_text(TINY_SPACE)
    done = python("-c", code, cwd=tmp_path)
    assert done.returncode == 2
    assert "pip install 'rksearch[wandb]'" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_loggers_are_taken_over_by_the_next_session_and_callbacks_are_not() -> None:
    before = Resources(log=("csv", "tensorboard"), callbacks=(tune.Callback(),))
    assert before.options()["log"] == "csv,tensorboard"
    assert "callbacks" not in before.options()
    resumed = as_before(Resources(), frozenset(), before.options())
    assert (resumed.log, resumed.callbacks) == (("csv", "tensorboard"), ())
    assert as_before(Resources(), frozenset({"log"}), before.options()).log == ()
    assert as_before(Resources(), frozenset(), Resources().options()).log == ()


# -- callbacks of the user's


def test_a_callback_of_the_user_s_gets_every_hook_and_ends_the_run_when_it_raises(tmp_path: Path) -> None:
    class Mine(tune.Callback):
        def __init__(self) -> None:
            self.seen: list[Any] = []

        def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Any, **info: Any) -> None:
            self.seen.append(result["val_error_pct"])

        def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            raise KeyError("nothing here")

    state, _ = new_state(tmp_path)
    one = Reservations(trial={"cpu": 1.0, "gpu": 0.0}, whole={"cpu": 2.0, "gpu": 0.0})
    searcher = LedgerSearcher(state, EXECUTION, one, lambda: 2)
    mine = Mine()
    hooked = UserCallbacks([mine], searcher.end)
    hooked.on_trial_result(iteration=1, trials=[], trial=None, result={"val_error_pct": 3.0})
    assert mine.seen == [3.0]
    assert searcher.abort is None
    hooked.on_trial_start(iteration=1, trials=[], trial=None)
    with pytest.raises(RunAborted, match=r"Mine\.on_trial_start raised KeyError: 'nothing here'; mend it"):
        StateCallback(searcher, lambda: None).on_step_end(1, [])


def test_a_callback_hears_of_the_end_once_also_where_tune_s_loop_was_left(tmp_path: Path) -> None:
    class Mine(tune.Callback):
        def __init__(self) -> None:
            self.ends: list[Any] = []

        def on_experiment_end(self, trials: Any, **info: Any) -> None:
            self.ends.append(trials)

    reasons: list[Exception] = []
    for by_tune in (False, True):
        mine = Mine()
        hooked = UserCallbacks([mine], reasons.append)
        hooked.close()
        assert mine.ends == [], "it has not begun"
        hooked.setup()
        hooked.on_step_begin(iteration=1, trials=["a trial"])
        if by_tune:
            hooked.on_experiment_end(trials=["a trial"])
        hooked.close()
        hooked.close()
        assert mine.ends == [["a trial"]]
    assert reasons == []


def test_a_callback_that_is_none_of_tune_s_is_refused() -> None:
    require_callbacks([tune.Callback()])
    with pytest.raises(RunError, match=r"must be instances of ray.tune.Callback, but got function"):
        require_callbacks([test_a_callback_that_is_none_of_tune_s_is_refused])


# -- work beside the driver


def test_work_beside_the_driver_is_done_in_order_and_waited_for_only_so_long() -> None:
    seen: list[int] = []
    beside = Beside("test")
    for number in range(100):
        beside.do(lambda number=number: seen.append(number))  # type: ignore[misc]
    assert beside.close(10)
    assert seen == list(range(100))
    held = threading.Event()
    slow = Beside("slow")

    def hold() -> None:
        held.wait(30)

    slow.do(hold)
    assert not slow.close(0.05)
    held.set()


def test_work_that_advances_is_waited_for_and_work_that_hangs_is_not() -> None:
    held = threading.Event()
    steady = Beside("steady")
    for _ in range(6):
        steady.do(lambda: time.sleep(0.1))
    assert steady.close(0.4, patient=True)
    hanging = Beside("hanging")

    def hang() -> None:
        held.wait(30)

    hanging.do(hang)
    assert not hanging.close(0.05, patient=True)
    held.set()


# -- the dashboard


@pytest.mark.parametrize("place", ["RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "file", "disabled", None])
def test_the_printed_command_gives_the_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str | None
) -> None:
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "my home"
    (home / ".ray").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    file = tmp_path / "it's" if place == "RAY_AUTH_TOKEN_PATH" else home / ".ray" / "auth_token"
    if place is not None:
        file.write_text("secret")
    if place == "RAY_AUTH_TOKEN_PATH":
        monkeypatch.setenv(place, str(file))
    if place == "RAY_AUTH_TOKEN":
        monkeypatch.setenv(place, "other")
    if place == "disabled":
        monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    said = hint()
    if place in (None, "disabled"):
        assert said is None
        return
    assert said is not None
    assert "other" not in said
    if place == "RAY_AUTH_TOKEN":
        assert said.endswith("RAY_AUTH_TOKEN")
        return
    command = said.removeprefix("its token: ")
    assert subprocess.run(shlex.split(command), capture_output=True, text=True, check=True).stdout == "secret"


# -- a real run


@pytest.mark.slow
@pytest.mark.ci
def test_a_run_is_logged_watched_and_called_back(tmp_path: Path) -> None:
    """One run with real Ray: Tune's numbers, files of loggers, worker's logs, names of actors and of the job."""
    (tmp_path / "tiny.yaml").write_text(TINY_SPACE.replace("final: 2", "final: 1"))
    done = python("-c", WATCHED, cwd=tmp_path, timeout_s=400)
    assert done.returncode == 0, done.stderr
    seen = json.loads((tmp_path / "seen.json").read_text())
    assert len(seen["epochs"]) == 2 * 4
    for trained, numbers_of in seen["epochs"]:
        assert numbers_of["architecture"] == trained.partition("@")[0]
        assert numbers_of["params"] > 0
        assert 0 <= numbers_of["val_error_pct"] <= 100
        assert numbers_of[RATE] > 0
        assert numbers_of[TIMESTEPS_TOTAL] == numbers_of["epoch"]
    assert set(seen["actors"]) == {"watched_1"}
    assert seen["job"] == "watched-1"
    for name in ("val_error_pct", "train_loss", "images_per_s"):
        shown = [line for line in seen["gauges"] if line.startswith(f"ray_rksearch_{name}{{")]
        assert shown, seen["gauges"]
        assert all('run="watched-1"' in line and re.search(r'architecture="[^"]+"', line) for line in shown)
        assert all(re.search(r'seed="\d+"', line) for line in shown)
    assert len(re.findall(r"seed \d+ \(replicate 0\) epoch [12]/2: val error", seen["worker_logs"])) == 8

    logs = tmp_path / "watched-1" / "work" / "logs"
    tables = list(logs.glob("csv/*/progress.csv"))
    assert len(tables) == 4
    assert all(len(list(csv.DictReader(table.open()))) == 2 for table in tables)
    assert len(scalars(logs / "tensorboard", "ray/tune/train_loss")) == 2
    assert "its token: cat " in done.stdout


WATCHED = """
import glob, json, os, time, urllib.request
from rksearch.search.ray.cluster import RAY_ENVIRONMENT
os.environ.update(RAY_ENVIRONMENT, RAY_metrics_report_interval_ms="1000")
import ray
from ray import cloudpickle, tune
from rksearch.api import plan_run, start_run
from rksearch.cli.live import ConsoleView
from rksearch.search.planning import Asked
from rksearch.search.resources import Resources
from rich.console import Console

seen = {"epochs": [], "actors": [], "job": "", "gauges": [], "worker_logs": ""}

class Watch(tune.Callback):
    def on_trial_result(self, iteration, trials, trial, result, **info):
        if "outcome" in result:
            return
        own = {key: value for key, value in result.items() if isinstance(value, int | float)}
        seen["epochs"].append([result["trained"], {**own, **{k: trial.config[k] for k in ("architecture", "params")}}])
        if len(seen["epochs"]) == 8:
            from ray.util.state import list_actors
            here = ray.get_runtime_context().gcs_address  # there may be other Rays on this machine
            seen["actors"] = [actor.class_name for actor in list_actors(address=here) if actor.state == "ALIVE"]
            seen["job"] = job_name()
            seen["gauges"] = gauges()

def job_name():
    from ray._private.worker import global_worker
    (own,) = global_worker.gcs_client.get_all_job_info().values()
    return dict(own.config.metadata)["job_name"]

def gauges():
    (node,) = ray.nodes()
    address = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    for _ in range(100):
        with urllib.request.urlopen(address, timeout=10) as answer:
            found = [line for line in answer.read().decode().splitlines() if line.startswith("ray_rksearch_")]
        if len({line.partition("{")[0] for line in found}) == 3:
            return found
        time.sleep(0.3)
    return []

def logs():
    from ray._private.worker import global_worker
    session = global_worker.node.get_session_dir_path()
    return "".join(open(path, errors="replace").read() for path in glob.glob(session + "/logs/worker-*.out"))

class Logs(tune.Callback):
    def on_experiment_end(self, trials, **info):
        seen["worker_logs"] = logs()

planned = plan_run("tiny.yaml", out="watched-1", asked=Asked(trials=2))
resources = Resources(log=("csv", "tensorboard"), callbacks=(Watch(), Logs()))
run = start_run(planned, resources, ConsoleView(Console(soft_wrap=True)))
assert run.history.state == "finished"
json.dump(seen, open("seen.json", "w"))
"""
