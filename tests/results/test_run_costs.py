"""Costs that were objectives of a run: in tables, CSV files and on the page."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import replace
from pathlib import Path

import pytest

from rksearch.api import Run
from rksearch.api.directory import _activation_bytes
from rksearch.arch import parse
from rksearch.data.facts import dataset
from rksearch.results.ledger import Ledger
from rksearch.results.plan import Plan
from rksearch.results.records import Latency
from rksearch.results.tables import Tables, tables
from rksearch.training.memory import activation_bytes
from tests.helpers.ledgers import complete, environment_record, plan_record, space_record, ticking, trial

NETS = {"RKNet-k4-m2_2_2-1x1_1x1_1x1": (10_000, 30.0, 2.0), "RKNet-k6-m2_2_2-1x1_1x1_1x1": (20_000, 25.0, 1.0)}
"""Parameters, error and latency in ms: the larger one is faster and better, so that it alone is on latency's front."""


def latency(median_ms: float, batch_size: int = 1) -> Latency:
    return Latency(
        batch_size=batch_size,
        median_ms=median_ms,
        iqr_ms=0.1,
        repetitions=20,
        device="cpu",
        precision="fp32",
        threads=1,
    )


def run_with(path: Path, *objectives: str) -> Path:
    """A run of two networks, two seeds each, that measured latencies of one image and of 256."""
    plan: Plan = plan_record(objectives=("val_error_pct", *objectives), baselines=(), known=())
    ledger = Ledger(path, clock=ticking())
    ledger.write_run(name="costs", space=space_record(), plan=plan)
    ledger.write_session(environment=environment_record(), options={})
    for arch, (params, error, median_ms) in NETS.items():
        for replicate, shift in enumerate((-0.5, 0.5)):
            result = complete(error + shift, params=params, macs=100 * params)
            measured = {"1": latency(median_ms + shift / 10), "256": latency(90.0, 256)}
            ledger.write_trial(trial(arch, replicate), replace(result, latency_ms=measured), wall_time_s=1.0)
    return path


def tables_of(path: Path) -> Tables:
    history = Ledger(path).read()
    return tables(history, _activation_bytes(history))


def test_a_run_has_the_costs_that_were_its_objectives(tmp_path: Path) -> None:
    small, large = NETS
    found = tables_of(run_with(tmp_path / "both", "latency_ms", "activation_bytes"))
    assert [cost.field for cost in found.costs] == ["params", "macs", "latency_ms", "activation_bytes"]
    assert [found.row(arch).latency_ms for arch in NETS] == [pytest.approx(2.0), pytest.approx(1.0)]
    for arch in NETS:
        expected = activation_bytes(parse(arch), dataset("cifar10"))
        assert found.row(arch).activation_bytes == expected
        assert found.costs[3].of(next(item for item in found.items if item.arch == arch)) == expected
    assert [row.item.arch for row in found.fronts["params"]] == [small, large]
    assert [row.item.arch for row in found.fronts["latency_ms"]] == [large]
    assert [found.row(arch).on_latency_front for arch in NETS] == [False, True]
    assert found.row(small).on_activation_front is True


def test_other_runs_have_neither_columns_nor_fronts_of_them(tmp_path: Path) -> None:
    found = tables_of(run_with(tmp_path, "params"))
    assert [cost.field for cost in found.costs] == ["params", "macs"]
    assert set(found.fronts) == {"params", "macs"}
    assert all(row.activation_bytes is None and row.on_latency_front is None for row in found.archs)
    fields = [metric.field for metric in found.arch_metrics]
    assert not {"activation_bytes", "on_latency_front", "on_activation_front"} & set(fields)


def test_a_cost_that_no_network_has_is_left_out_and_an_unknown_one_is_nan(tmp_path: Path) -> None:
    history = Ledger(run_with(tmp_path, "latency_ms", "activation_bytes")).read()
    found = tables(history)
    assert [cost.field for cost in found.costs] == ["params", "macs", "latency_ms"]
    one = {next(iter(NETS)): 1_000}
    partly = tables(history, one)
    values = [partly.costs[3].of(item) for item in partly.items]
    assert values[0] == 1_000
    assert math.isnan(values[1])
    assert [row.item.arch for row in partly.fronts["activation_bytes"]] == list(one)


def test_csv_files_and_page_show_them(tmp_path: Path) -> None:
    run = Run(run_with(tmp_path, "latency_ms", "activation_bytes"))
    run.write_report()
    for name in ("front.csv", "trials.csv"):
        rows = list(csv.DictReader(io.StringIO((tmp_path / name).read_text())))
        for row in rows:
            assert float(row["latency_ms"]) == pytest.approx(NETS[row["arch"]][2], abs=0.06)
            assert int(row["activation_bytes"]) == activation_bytes(parse(row["arch"]), dataset("cifar10"))
    page = (tmp_path / "report.html").read_text()
    assert '"latency_ms"' in page
    assert '"activation_bytes"' in page
    readme = (tmp_path / "README.md").read_text()
    assert "Latency" in readme
    assert "Activation memory" in readme
