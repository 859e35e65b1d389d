"""The page as a file: what it holds, and that nothing in it comes from or goes to anywhere else."""

from __future__ import annotations

import base64
import csv
import hashlib
import itertools
import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from rksearch.arch import parse
from rksearch.arch.cost import cost
from rksearch.arch.paper import paper_rows
from rksearch.data.facts import dataset
from rksearch.recipes.shipped import recipe
from rksearch.report import page_data, write_report
from rksearch.report.drawing import draw, drawn_parts
from rksearch.results.fronts import rk_front
from rksearch.results.history import History
from rksearch.results.ledger import Ledger
from rksearch.results.records import Latency, Role, TestResult
from rksearch.results.stats import mean
from rksearch.results.summaries import summarise
from rksearch.results.tables import tables
from tests.helpers.ledgers import (
    BASELINES,
    begin,
    candidates,
    complete,
    environment_record,
    failed,
    full_run,
    plan_record,
    pruned,
    space_record,
    ticking,
    trial,
)

VOID = {"meta", "input", "br"}


class Elements(HTMLParser):
    """Fails unless every element is closed in order; collects attributes, ids and text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def parsed(page: str) -> Elements:
    parser = Elements()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    return parser


def payload_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="payload">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found.group(1))


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    path = tmp_path_factory.mktemp("runs") / "full"
    return full_run(path).read()


@pytest.fixture(scope="module")
def page(history: History, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page")
    write_report(path, history)
    return (path / "report.html").read_text()


def test_the_page_is_well_formed_and_asks_for_nothing(page: str) -> None:
    found = parsed(page)
    links = [
        value or "" for name, value in found.attributes if name in ("src", "href", "srcset", "action", "xlink:href")
    ]
    assert links
    assert all(link.startswith("#") for link in links)
    assert not re.search(r"@import|url\((?!#)", page)
    # The one address left is the name of the SVG language, which nobody fetches.
    assert set(re.findall(r"https?://[^\s\"'<>]+", page)) <= {"http://www.w3.org/2000/svg"}
    ids = [value for name, value in found.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert "&#34;" not in page
    targets = {link[1:] for link in links if not link.startswith("#net=")}
    assert targets <= set(ids)


def test_only_the_pages_own_script_may_run(page: str) -> None:
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    policy = next(
        value for name, value in parsed(page).attributes if name == "content" and "default-src" in (value or "")
    )
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    assert policy is not None
    assert re.findall(r"'sha256-([^']+)'", policy) == digests
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy.partition("script-src")[2].partition(";")[0]


def test_every_network_stands_in_the_data_once_with_the_ledgers_numbers(history: History, page: str) -> None:
    values = payload_of(page)["values"]
    rows = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
    by_name = {row["arch"]: row for row in rows}
    assert len(by_name) == len(rows) == len({spec.arch for spec, _ in history.trials.values()})
    front = {item.arch for item in rk_front(summarise(history))}
    for arch, row in by_name.items():
        pairs = [(s, r) for s, r in history.trials.values() if s.arch == arch]
        done = [r.epochs[-1].val_error_pct for _, r in pairs if r.status == "complete"]
        if not done:
            assert (row["status"], row["val_error_pct"]) == ("failed", None)
            assert row["message"] == "loss is nan in epoch 2, step 14, at lr 0.1"
            continue
        assert row["status"] == "complete"
        assert row["val_error_pct"] == pytest.approx(mean(done), abs=1e-4)
        assert row["seed_errors"] == pytest.approx(done)
        assert (row["params"], row["macs"]) == (pairs[0][1].params, pairs[0][1].macs)
        assert row["on_front"] == (arch in front)
        low, high = (float(end[:-1]) * {"k": 1e3, "M": 1e6}[end[-1]] for end in row["band"].split("–"))
        assert low <= row["params"] < high
        tests = [t.result.test_error_pct for t in history.tests if t.arch == arch]
        assert row["seed_test_errors"] == tests


def test_curves_in_the_data_are_those_of_the_ledger(history: History, page: str) -> None:
    payload = payload_of(page)
    for arch, curves in zip(payload["values"]["arch"], payload["curves"], strict=True):
        runs = {s.replicate: r.epochs for s, r in history.trials.values() if s.arch == arch and r.epochs}
        assert {curve[0] for curve in curves} == set(runs)
        for replicate, length, is_complete, *hundredths in curves:
            assert is_complete == 1
            kept = payload["epochs"][str(length)]
            expected = [runs[replicate][epoch - 1].val_error_pct for epoch in kept]
            assert [h / 100 for h in hundredths] == pytest.approx(expected, abs=0.0051)


@pytest.mark.parametrize(
    ("changes", "train"),
    [
        ({}, []),
        ({"epochs": 8}, ["--epochs", "8"]),
        ({"epochs": 16, "batch_size": 24}, None),
        ({"name": "mine"}, None),
    ],
    ids=["shipped", "other epochs", "another batch size", "a file of one's own"],
)
def test_a_card_offers_the_training_that_the_run_made_or_none(
    tmp_path: Path, changes: dict[str, Any], train: list[str] | None
) -> None:
    made = replace(recipe("short"), **changes)
    data = data_of_run(tmp_path, recipe=made, train_images=None)
    assert data["dataset"] == "cifar10"
    assert data["train"] == (None if train is None else ["--dataset", "cifar10", "--recipe", "short", *train])


@pytest.mark.parametrize(
    ("dataset_name", "data_dir", "offered", "option"),
    [
        ("cifar10", "data", True, []),
        ("cifar10", "/data", True, ["--data-dir", "/data"]),
        ("cifar10", "~/data", True, ["--data-dir", "~/data"]),
        ("torchvision:KMNIST", None, True, []),
        ("folder:/pets,size=32", None, True, []),
        ("folder:pets,size=32", None, False, []),
        ("npz:../cells.npz", None, False, []),
    ],
)
def test_commands_of_a_card_name_the_same_images_in_the_directory_of_the_run(
    tmp_path: Path, dataset_name: str, data_dir: str | None, offered: bool, option: list[str]
) -> None:
    data = data_of_run(tmp_path, {"data_dir": data_dir}, dataset=dataset_name, recipe=recipe("paper"))
    assert data["dataset"] == (dataset_name if offered else None)
    words = ["--dataset", dataset_name, "--recipe", "paper", "--train-images", "10000", *option]
    assert data["train"] == (words if offered else None)


def data_of_run(path: Path, options: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """What the page knows of the commands of a run with this plan and these options of its session."""
    ledger = Ledger(path, clock=ticking())
    ledger.write_run(name="run", space=space_record(), plan=plan_record(**changes))
    ledger.write_session(environment=environment_record(), options=options or {})
    history = ledger.read()
    return page_data.page_data(history, tables(history))["commands"]


def test_long_curves_are_thinned_evenly_with_both_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    assert page_data._spaced(30, 30) == list(range(1, 31))
    for length, most in ((31, 30), (150, 8), (300, 12), (2, 8), (1, 8)):
        kept = page_data._spaced(length, most)
        assert (kept[0], kept[-1], len(kept)) == (1, length, min(length, most))
        steps = [b - a for a, b in itertools.pairwise(kept)]
        assert not steps or max(steps) - min(steps) <= 1


def test_a_page_of_hundreds_of_long_trainings_stays_small(tmp_path: Path) -> None:
    ledger = begin(tmp_path, epochs=150)
    for i, spec in enumerate(candidates(300)):
        done = complete(20.0 + i / 10, params=20_000 + i, epochs=150)
        ledger.write_trial(trial(spec.name, epochs=150), done, wall_time_s=1.0)
    write_report(tmp_path, ledger.read())
    written = (tmp_path / "report.html").read_text()
    points = sum(len(curve) - 3 for curves in payload_of(written)["curves"] for curve in curves)
    assert points <= page_data.CURVE_POINTS
    assert len(written) < 2_000_000


def test_networks_that_were_stopped_are_in_the_data_with_their_last_error(tmp_path: Path) -> None:
    ledger = begin(tmp_path)
    kept, stopped = candidates(2)
    ledger.write_trial(trial(kept.name), complete(20.0), wall_time_s=1.0)
    ledger.write_trial(trial(stopped.name), pruned(35.0, params=30_000, epochs=3), wall_time_s=1.0)
    write_report(tmp_path, ledger.read())
    values = payload_of((tmp_path / "report.html").read_text())["values"]
    i = values["arch"].index(stopped.name)
    assert (values["status"][i], values["epochs"][i], values["params"][i]) == ("pruned", 3, 30_000)
    assert values["val_error_pct"][i] == pytest.approx(pruned(35.0, epochs=3).epochs[-1].val_error_pct, abs=1e-4)
    assert values["growth_rate"][i] == stopped.growth_rate
    assert values["s"][i] == [p.s for p in stopped.periods]


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script> | `x` <img src=x onerror=y> ]]> \u2028"
    ledger = Ledger(tmp_path, clock=ticking())
    ledger.write_run(name=evil, space=space_record(description=evil), plan=plan_record())
    ledger.write_session(environment=environment_record(), options={})
    ledger.write_trial(trial("ResNet-8", role="baseline"), complete(10.0), wall_time_s=1.0)
    ledger.write_trial(trial("ResNet-14"), failed(message=evil), wall_time_s=1.0)
    write_report(tmp_path, ledger.read())
    written = (tmp_path / "report.html").read_text()
    found = parsed(written)
    assert "<img" not in written
    assert "onerror" not in {name for name, _ in found.attributes}
    assert sum(evil.split(" ")[0] in part for part in found.text) >= 3
    values = payload_of(written)["values"]
    assert values["message"][values["arch"].index("ResNet-14")] == evil


def test_drawings_are_put_together_from_shared_parts(history: History, page: str) -> None:
    payload = payload_of(page)
    drawings = payload["drawings"]
    shape = dataset("cifar10")
    assert {int(i) for i in drawings["of"]} == set(range(len(payload["values"]["arch"])))
    for i, places in drawings["of"].items():
        arch = payload["values"]["arch"][int(i)]
        parts = drawn_parts(parse(arch), shape)
        assert [drawings["parts"][p] for p in places] == [{"svg": p.svg, "height": p.height} for p in parts]
        whole = draw(parse(arch), shape, "cifar10")
        assert all(part.svg in whole for part in parts)
    used = [p for places in drawings["of"].values() for p in places]
    assert len(drawings["parts"]) == len(set(used)) < len(used)


def test_of_many_networks_fronts_and_baselines_are_drawn_first(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_data, "MOST_DRAWN", 12)
    derived = tables(history)
    data = page_data.page_data(history, derived)
    drawn = {data["values"]["arch"][i] for i in data["drawings"]["of"]}
    assert len(drawn) == 12
    assert {row.item.arch for row in derived.front} <= drawn
    assert set(BASELINES) <= drawn or len(derived.front) + len(derived.macs_front) + len(BASELINES) > 12


@pytest.mark.parametrize(
    ("name", "train_images", "same"), [("paper", None, True), ("paper", 10_000, False), ("short", None, False)]
)
def test_published_errors_are_those_of_the_papers_tables(
    tmp_path: Path, name: str, train_images: int | None, same: bool
) -> None:
    plan = plan_record(recipe=replace(recipe(name), name="mine"), train_images=train_images)
    ledger = Ledger(tmp_path, clock=ticking())
    ledger.write_run(name="run", space=space_record(), plan=plan)
    ledger.write_session(environment=environment_record(), options={})
    ledger.write_trial(trial("ResNet-8", role="baseline"), complete(10.0), wall_time_s=1.0)
    found = page_data.page_data(ledger.read(), tables(ledger.read()))["published"]
    printed = {
        (row.arch, row.error_pct) for row in paper_rows() if row.dataset == "cifar10" and row.error_pct is not None
    }
    assert {(p["arch"], p["error_pct"]) for p in found} == printed
    assert len(found) == len(printed)
    for p in found:
        counted = cost(parse(p["arch"]), dataset("cifar10"))
        assert (p["params"], p["macs"], p["same_recipe"]) == (counted.params, counted.macs, same)


def test_nothing_is_published_for_other_data(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, clock=ticking())
    ledger.write_run(name="run", space=space_record(dataset="digits"), plan=plan_record(dataset="digits"))
    ledger.write_session(environment=environment_record(), options={})
    history = ledger.read()
    assert page_data.page_data(history, tables(history))["published"] == []


def test_the_band_in_the_data_holds_at_every_network(history: History, page: str) -> None:
    derived = tables(history)
    payload = payload_of(page)
    for field in ("params", "macs"):
        band = payload["band"][field]
        assert band["x"] == sorted(band["x"])
        assert len(band["x"]) == len(band["low"]) == len(band["high"])
        for ends in (band["low"], band["high"]):
            assert ends == sorted(ends, reverse=True)
        assert all(low <= high for low, high in zip(band["low"], band["high"], strict=True))
        searched = [getattr(item, field) for item in derived.searched]
        assert band["x"][0] == min(searched)
        assert band["x"][-1] > max(searched)


def test_switches_offer_what_the_run_has(history: History, page: str, tmp_path: Path) -> None:
    payload = payload_of(page)
    assert [c["field"] for c in payload["costs"]] == ["params", "macs"]
    assert [e["field"] for e in payload["errors"]] == ["val_error_pct", "expected_error_pct", "test_error_pct"]
    ledger = begin(tmp_path)
    ledger.write_trial(trial(candidates(1)[0].name), complete(20.0), wall_time_s=1.0)
    alone = page_data.page_data(ledger.read(), tables(ledger.read()))
    assert [e["field"] for e in alone["errors"]] == ["val_error_pct"]
    assert alone["band"] == {}


def test_test_errors_of_both_kinds_of_training_are_two_errors(tmp_path: Path) -> None:
    """More images lower an error whatever the network: one front of both kinds would favour what was trained again."""
    ledger = begin(tmp_path)
    (searched, again), base = candidates(2), "ResNet-8"
    sizes = {base: 30_000, searched.name: 20_000, again.name: 25_000}
    for arch, params in sizes.items():
        role: Role = "baseline" if arch == base else "candidate"
        ledger.write_trial(trial(arch, role=role), complete(30.0 - params / 10_000, params=params), wall_time_s=1.0)
        ledger.write_test(trial(arch, role=role), reading(30.5 - params / 10_000))
    assert [e["field"] for e in page_data.page_data(ledger.read(), tables(ledger.read()))["errors"]][1:] == [
        "test_error_pct"
    ]
    for replicate in range(2):
        ledger.write_trial(trial(again.name, replicate, "final"), complete(9.0, params=25_000), wall_time_s=1.0)
        ledger.write_test(trial(again.name, replicate, "final"), reading(10.0 + replicate))
    write_report(tmp_path, ledger.read())
    payload = payload_of((tmp_path / "report.html").read_text())
    assert [(e["field"], e["label"], e["short"]) for e in payload["errors"]][1:] == [
        ("test_error_pct", "Test error", "test"),
        ("fresh_test_error_pct", "Test error, fresh trainings", "test, fresh"),
    ]
    values = payload["values"]
    rows = {row[0]: row[1:] for row in zip(*(values[field] for field in ("arch", *TESTED)), strict=True)}
    assert rows == {
        base: (27.5, [27.5], None, None, None),
        searched.name: (28.5, [28.5], None, None, None),
        again.name: (None, None, 10.5, pytest.approx(0.5**0.5, abs=1e-4), [10.0, 11.0]),
    }
    assert [c["field"] for c in payload["columns"] if c["column"] and "test" in c["field"]] == [
        "test_error_pct",
        "fresh_test_error_pct",
    ]
    front = {row["arch"]: row for row in csv.DictReader((tmp_path / "front.csv").open())}
    assert (front[again.name]["test_error_pct"], front[again.name]["fresh_test_error_pct"]) == ("", "10.5")
    readme = (tmp_path / "README.md").read_text()
    assert "| 10.50 ± 0.71 % (fresh) |" in readme
    assert "| 27.50 % |" in readme
    assert "A test error marked as fresh is of trainings made for the test set" in readme


def reading(error_pct: float) -> TestResult:
    return TestResult(test_error_pct=error_pct, test_loss=1.0, test_images=10_000)


TESTED = (
    "test_error_pct",
    "seed_test_errors",
    "fresh_test_error_pct",
    "fresh_test_error_sd_pct",
    "fresh_seed_test_errors",
)
"""Fields of the page's data about test errors."""


def test_a_curve_with_a_number_that_is_not_finite_keeps_the_rest() -> None:
    whole = complete(20.0)
    broken = replace(whole.epochs[2], val_error_pct=math.nan, val_loss=math.nan)
    stopped = replace(whole, status="pruned", epochs=(*whole.epochs[:2], broken, *whole.epochs[3:]))
    spec = trial("ResNet-8")
    epochs, curves = page_data._curves(History(trials={spec.id: (spec, stopped)}), ["ResNet-8"])
    assert epochs == {"8": list(range(1, 9))}
    assert curves == [[[0, 8, 0, *(None if e.epoch == 3 else round(100 * e.val_error_pct) for e in whole.epochs)]]]


def test_without_networks_the_page_needs_no_script(tmp_path: Path) -> None:
    write_report(tmp_path, begin(tmp_path).read())
    written = (tmp_path / "report.html").read_text()
    parsed(written)
    assert "<script" not in written
    assert "script-src" not in written


def test_every_objective_of_the_run_has_a_switch_and_a_column(tmp_path: Path) -> None:
    ledger = begin(tmp_path)
    first, second = candidates(2)
    for spec, error, latency_ms in ((first, 20.0, 3.5), (second, 30.0, 1.25)):
        timed = Latency(
            batch_size=1, median_ms=latency_ms, iqr_ms=0.1, repetitions=9, device="cpu", precision="fp32", threads=1
        )
        ledger.write_trial(trial(spec.name), replace(complete(error), latency_ms={"1": timed}), wall_time_s=1.0)
    history = ledger.read()
    assert history.run is not None
    objectives = ("val_error_pct", "params", "latency_ms", "activation_bytes")
    history = replace(history, run=replace(history.run, plan=replace(history.run.plan, objectives=objectives)))
    write_report(tmp_path, history, activation_bytes={first.name: 70_000, second.name: 60_000})
    written = (tmp_path / "report.html").read_text()
    payload = payload_of(written)
    assert [c["field"] for c in payload["costs"]] == ["params", "macs", "latency_ms", "activation_bytes"]
    for cost_field in ("latency_ms", "activation_bytes"):
        assert f'name="cost" value="{cost_field}"' in written
        assert cost_field in (tmp_path / "front.csv").read_text().splitlines()[0].split(",")
    values = payload["values"]
    by_name = dict(zip(values["arch"], zip(values["latency_ms"], values["activation_bytes"], strict=True), strict=True))
    assert by_name == {first.name: (3.5, 70_000), second.name: (1.25, 60_000)}
