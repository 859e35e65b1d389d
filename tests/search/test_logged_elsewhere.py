"""What the loggers and the copy of the study of a real run hold, read back by the libraries that show it to people."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Any
from wsgiref.util import setup_testing_defaults

import optuna
import pytest

from rksearch.api import Run
from rksearch.results.records import Epoch, TrialResult, TrialSpec
from rksearch.search.loggers import LOGGERS
from tests.helpers.command_line import TINY_SPACE, environment, rksearch

pytestmark = pytest.mark.slow

NUMBERS = ("val_error_pct", "train_loss", "lr")

Curve = list[tuple[int, float]]
"""Steps with their values."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with every logger whose package is there, all at once."""
    directory = tmp_path_factory.mktemp("logged")
    (directory / "tiny.yaml").write_text(TINY_SPACE.replace("trials: 3", "trials: 1").replace("final: 2", "final: 1"))
    loggers = [entry.name for entry in LOGGERS.values() if entry.module is None or find_spec(entry.module)]
    env = {key: value for key, value in environment().items() if key != "MLFLOW_TRACKING_URI"}
    done = rksearch(
        *("run", "--space", "tiny.yaml", "--out", "logged-1"),
        *(word for name in loggers for word in ("--log", name)),
        cwd=directory,
        env={**env, "WANDB_MODE": "offline"},
        timeout_s=600,
    )
    assert done.returncode == 0, done.stderr
    assert "left out" not in done.stdout + done.stderr
    return Run(directory / "logged-1")


def curve(epochs: tuple[Epoch, ...], name: str) -> Curve:
    return [(epoch.epoch, getattr(epoch, name)) for epoch in epochs]


def trainings(run: Run) -> Iterator[tuple[TrialSpec, TrialResult]]:
    assert len(run.trials) == 3
    return iter(run.trials.values())


def test_csv_tables_hold_the_ledger_s_numbers(run: Run) -> None:
    for spec, result in trainings(run):
        with (run.run_dir.logs / "csv" / spec.id / "progress.csv").open() as file:
            rows = list(csv.DictReader(file))
        for name in NUMBERS:
            assert [(int(row["epoch"]), float(row[name])) for row in rows] == curve(result.epochs, name)


def test_tensorboard_reads_the_ledger_s_numbers(run: Run) -> None:
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for spec, result in trainings(run):
        found = accumulators.EventAccumulator(str(run.run_dir.logs / "tensorboard" / spec.id))
        found.Reload()
        for name in NUMBERS:
            events, known = found.Scalars(f"ray/tune/{name}"), dict(curve(result.epochs, name))
            # Files hold single precision.
            assert {event.step: event.value for event in events} == pytest.approx(known, rel=1e-6)
            assert len(events) == len(known)


def test_mlflow_reads_the_ledger_s_numbers(run: Run) -> None:
    tracking = pytest.importorskip("mlflow.tracking")
    client = tracking.MlflowClient(f"sqlite:///{run.run_dir.logs}/mlflow.db")
    experiment = client.get_experiment_by_name("logged-1")
    found = {item.info.run_name: item for item in client.search_runs([experiment.experiment_id])}
    assert found.keys() == run.trials.keys()
    for spec, result in trainings(run):
        item = found[spec.id]
        assert item.info.status == "FINISHED"
        assert item.data.params["architecture"] == spec.arch
        assert item.data.params["seed"] == str(spec.seed)
        for name in NUMBERS:
            history = client.get_metric_history(item.info.run_id, name)
            assert [(value.step, value.value) for value in history] == curve(result.epochs, name)


def test_weights_and_biases_files_hold_the_ledger_s_numbers(run: Run) -> None:
    messages = pytest.importorskip("wandb.proto.wandb_internal_pb2")
    for spec, result in trainings(run):
        (file,) = (run.run_dir.logs / "wandb" / spec.id).rglob("run-*.wandb")
        records = [messages.Record.FromString(item) for item in offline_records(file.read_bytes())]
        (own,) = (record.run for record in records if record.WhichOneof("record_type") == "run")
        assert (own.display_name, own.run_group) == (spec.id, "logged-1")
        rows = [logged(record.history) for record in records if record.WhichOneof("record_type") == "history"]
        for name in NUMBERS:
            assert [(row["epoch"], row[name]) for row in rows] == curve(result.epochs, name)


def logged(history: Any) -> Mapping[str, Any]:
    return {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in history.item}


def offline_records(data: bytes) -> Iterator[bytes]:
    """Records of a log of LevelDB's format behind seven bytes: checksum, length, kind, bytes, in blocks of 32 KiB."""
    block, at, whole = 2**15, 7, b""
    while at + 7 <= len(data):
        if block - at % block < 7:
            at += block - at % block
            continue
        size, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        whole, at = whole + data[at + 7 : at + 7 + size], at + 7 + size
        if kind in (1, 4):  # a whole record, or the last part of one
            yield whole
            whole = b""


# -- the study


def answer(application: Any, path: str) -> Any:
    """What a WSGI application answers, from JSON."""
    environ: dict[str, Any] = {"PATH_INFO": path.partition("?")[0], "QUERY_STRING": path.partition("?")[2]}
    setup_testing_defaults(environ)
    status: list[str] = []
    body = b"".join(application(environ, lambda line, headers, *rest: status.append(line)))
    assert status == ["200 OK"], body
    return json.loads(body)


def test_optuna_s_dashboard_shows_every_training(run: Run) -> None:
    dashboard = pytest.importorskip("optuna_dashboard")
    application = dashboard.wsgi(f"sqlite:///{run.run_dir.work}/optuna.db")
    (summary,) = answer(application, "/api/studies")["study_summaries"]
    assert summary["study_name"] == "logged-1"
    trials = answer(application, f"/api/studies/{summary['study_id']}?after=0")["trials"]
    for shown in trials:
        attrs = {item["key"]: item["value"] for item in shown["user_attrs"]}
        spec, result = run.trials[attrs["rksearch:trial"]]
        assert shown["state"] == "Complete"
        assert shown["values"] == pytest.approx([result.epochs[-1].val_error_pct, result.params])
        assert int(attrs["rksearch:seed"]) == spec.seed
        assert attrs["rksearch:report"] == (run.path / "report.html").as_uri()
    assert len(trials) == len(run.trials)


def test_optuna_draws_the_front_of_the_run(run: Run) -> None:
    storage = f"sqlite:///{run.run_dir.work}/optuna.db"
    (name,) = optuna.get_all_study_names(storage)
    figure = optuna.visualization.plot_pareto_front(optuna.load_study(study_name=name, storage=storage))
    drawn = {(float(x), float(y)) for trace in figure.data for x, y in zip(trace.x, trace.y, strict=True)}
    assert drawn == {(r.epochs[-1].val_error_pct, float(r.params or 0)) for _, r in run.trials.values()}
