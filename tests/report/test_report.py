from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import os
import random
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

from rksearch.api import Run
from rksearch.errors import RunError, TakenError
from rksearch.ordinary import write_atomically
from rksearch.report import axes, format_status, status_json, text, write_report
from rksearch.report.content import report_content
from rksearch.report.facts import command, facts
from rksearch.report.figures import front_figure, progress_figure
from rksearch.report.prose import limitations, reading_sentences
from rksearch.report.svg import figure_svg
from rksearch.results.codec import from_plain
from rksearch.results.columns import ARCH_METRICS, EFFECT_METRICS, TRIAL_METRICS, Metric, csv_text
from rksearch.results.contrasts import Effect
from rksearch.results.fronts import membership, rk_front
from rksearch.results.ledger import FILE_NAME, Ledger
from rksearch.results.plan import Plan, RacingRule
from rksearch.results.records import ImageCounts, Role, TestResult
from rksearch.results.run_dir import read_run
from rksearch.results.status import run_status
from rksearch.results.summaries import summarise
from rksearch.results.tables import ArchRow, TrialRow, tables
from rksearch.results.uncertainty import RESAMPLES
from tests.helpers.command_line import Answer
from tests.helpers.fuzzing import checked_line
from tests.helpers.ledgers import (
    BASELINES,
    KNOWN,
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
from tests.report.test_page import parsed

FILES = {
    "run.yaml",
    "environment.json",
    "space.json",
    "trials.csv",
    "curves.csv",
    "front.csv",
    "effects.csv",
    "front.svg",
    "README.md",
    "report.html",
}


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "full"
    full_run(path)
    write_report(path, Ledger(path).read())
    return path


def status(path: Path) -> dict[str, Any]:
    return status_json(run_status(read_run(path)))


def shown(path: Path) -> str:
    return format_status(run_status(read_run(path)))


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text())))


def page_of(run: Path) -> str:
    return (run / "report.html").read_text()


def test_the_same_ledger_gives_the_same_bytes_anywhere(run_dir: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere"
    other.mkdir()
    (other / FILE_NAME).write_bytes((run_dir / FILE_NAME).read_bytes())
    code = (
        "import sys; from pathlib import Path; from rksearch.report import *; "
        "from rksearch.results.run_dir import read_run; path = Path(sys.argv[1]); write_report(path, read_run(path))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "12345", "TZ": "Asia/Tokyo", "LC_ALL": "C"}
    subprocess.run([sys.executable, "-c", code, str(other)], check=True, env=environment)
    assert {p.name for p in other.iterdir()} == FILES | {FILE_NAME}
    for name in FILES:
        assert (other / name).read_bytes() == (run_dir / name).read_bytes(), name


def test_reading_a_ledger_needs_none_of_the_heavy_libraries() -> None:
    code = (
        "import sys, rksearch.report, rksearch.results.fronts, rksearch.results.ledger; "
        "print(sorted({'torch', 'ray', 'optuna', 'pandas', 'matplotlib', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_a_directory_without_a_ledger_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"holds ledger\.jsonl, but .* has none"):
        read_run(tmp_path)


def test_a_report_does_not_take_the_place_of_another_run_s(tmp_path: Path, answer: Callable[..., Answer]) -> None:
    full_run(tmp_path / "one")
    full_run(tmp_path / "two", number=20)
    records = [json.loads(line) for line in (tmp_path / "two" / FILE_NAME).read_bytes().splitlines()]
    changed = [{**record, "name": "two"} if record["event"] == "run" else record for record in records]
    (tmp_path / "two" / FILE_NAME).write_bytes(b"".join(checked_line(record) + b"\n" for record in changed))
    assert answer("report", tmp_path / "two")[0] == 0
    before = (tmp_path / "two" / "report.html").read_bytes()
    for options in ((), ("--figures",)):
        code, _, errors = answer("report", tmp_path / "one", "--to", tmp_path / "two", *options)
        assert code == 2
        assert "a report must not replace that of another run, but" in errors
    assert (tmp_path / "two" / "report.html").read_bytes() == before
    with pytest.raises(TakenError, match="figures must not replace that of another run"):
        Run(tmp_path / "one").write_figures(tmp_path / "two")
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / FILE_NAME).write_bytes((tmp_path / "one" / FILE_NAME).read_bytes())
    assert answer("report", tmp_path / "one", "--to", tmp_path / "copy")[0] == 0


def test_a_report_that_cannot_be_written_keeps_the_old_one(run_dir: Path, tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes((run_dir / FILE_NAME).read_bytes())
    (tmp_path / "run.yaml").mkdir()
    with pytest.raises(RunError, match="must be writable"):
        write_report(tmp_path, Ledger(tmp_path).read())
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(TypeError):
        write_atomically(path, "not bytes")  # type: ignore[arg-type]
    assert path.read_text() == "old"
    assert not list(tmp_path.glob(".*.tmp"))


@pytest.mark.parametrize(
    ("row", "metrics"), [(ArchRow, ARCH_METRICS), (TrialRow, TRIAL_METRICS), (Effect, EFFECT_METRICS)]
)
def test_every_field_of_a_row_has_one_metric(row: type, metrics: tuple[Metric, ...]) -> None:
    assert [m.field for m in metrics] == [f.name for f in dataclasses.fields(row)]


def test_trials_csv_has_every_training_with_raw_numbers(run_dir: Path) -> None:
    history = Ledger(run_dir).read()
    rows = rows_of(run_dir / "trials.csv")
    assert [row["trial"] for row in rows] == list(history.trials)
    for row in rows:
        spec, result = history.trials[row["trial"]]
        assert (row["arch"], int(row["replicate"]), int(row["seed"])) == (spec.arch, spec.replicate, spec.seed)
        assert row["status"] == result.status
        assert row["params"] == str(result.params)
        if result.epochs:
            assert float(row["val_error_pct"]) == pytest.approx(result.epochs[-1].val_error_pct, abs=1e-6)
        else:
            assert row["val_error_pct"] == ""
            assert row["message"] == result.message


def test_front_csv_has_the_front(run_dir: Path) -> None:
    front = rk_front(summarise(Ledger(run_dir).read()))
    rows = rows_of(run_dir / "front.csv")
    assert [row["arch"] for row in rows] == [item.arch for item in front]
    assert len(rows) > 3
    for row, item in zip(rows, front, strict=True):
        assert (int(row["params"]), int(row["macs"]), int(row["seeds"])) == (item.params, item.macs, item.seeds)
        assert float(row["val_error_pct"]) == pytest.approx(item.val_error_pct, abs=1e-6)
        assert f"-m{row['m']}-" in row["arch"]
        assert len(row["share"].split("_")) == 3


@given(st.lists(st.text(alphabet='ab,"\n\r é', max_size=8), min_size=1, max_size=5))
def test_csv_survives_any_text(messages: list[str]) -> None:
    metric = next(m for m in TRIAL_METRICS if m.field == "message")
    rows = [type("Row", (), {"message": m})() for m in messages]
    read = list(csv.reader(io.StringIO(csv_text([metric, metric], rows), newline="")))
    assert read == [["message"] * 2, *([m, m] for m in messages)]


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script> | `x` <img src=x onerror=y>"
    ledger = begin(tmp_path, name=evil)
    ledger.write_trial(trial("ResNet-8", role="baseline"), complete(10.0), wall_time_s=1.0)
    ledger.write_trial(trial("ResNet-14"), failed(message=evil), wall_time_s=1.0)
    write_report(tmp_path, Ledger(tmp_path).read())
    page = page_of(tmp_path)
    found = parsed(page)
    assert "<img" not in page
    assert "onerror" not in {name for name, _ in found.attributes}
    assert any(evil in part for part in found.text)
    ElementTree.fromstring((tmp_path / "front.svg").read_text())
    table = [line for line in (tmp_path / "README.md").read_text().splitlines() if line.startswith("| ResNet-14")]
    assert len(re.findall(r"(?<!\\)\|", table[0])) == 7


def partial_runs() -> dict[str, Any]:
    rk = candidates(1)[0].name

    def nothing(ledger: Ledger) -> None: ...

    def running(ledger: Ledger) -> None:
        ledger.write_start("ResNet-8@0")

    def only_failures(ledger: Ledger) -> None:
        ledger.write_trial(trial(rk), failed(), wall_time_s=1.0)
        ledger.write_end("failed", "every\ntrial failed")

    def only_baselines(ledger: Ledger) -> None:
        ledger.write_trial(trial("ResNet-8", role="baseline"), complete(10.0), wall_time_s=1.0)

    def one_candidate(ledger: Ledger) -> None:
        ledger.write_trial(trial(rk), complete(0.0, epochs=1), wall_time_s=1.0)

    def perfect(ledger: Ledger) -> None:
        only_baselines(ledger)
        one_candidate(ledger)
        ledger.write_trial(trial(rk, 1), complete(0.0, epochs=1), wall_time_s=1.0)

    return {f.__name__: f for f in (nothing, running, only_failures, only_baselines, one_candidate, perfect)}


@pytest.mark.parametrize("name", partial_runs())
def test_partial_runs_have_a_report_too(tmp_path: Path, name: str) -> None:
    partial_runs()[name](begin(tmp_path))
    assert {p.name for p in write_report(tmp_path, Ledger(tmp_path).read())} == FILES
    parsed(page_of(tmp_path))
    ElementTree.fromstring((tmp_path / "front.svg").read_text())
    assert "provisional" in (tmp_path / "README.md").read_text()
    assert len(rows_of(tmp_path / "front.csv")) == (name in ("one_candidate", "perfect"))
    assert shown(tmp_path).startswith("cifar10_small_cpu: ")


def test_a_ledger_cut_anywhere_has_a_report(run_dir: Path, tmp_path: Path) -> None:
    content = (run_dir / FILE_NAME).read_bytes()
    for i in range(12):
        (tmp_path / FILE_NAME).write_bytes(content[: len(content) * i // 12])
        history = Ledger(tmp_path).read()
        derived = tables(history)
        ElementTree.fromstring(figure_svg(front_figure(derived, "cut")))
        assert report_content(history, derived).verdict
        assert status(tmp_path)["done"] == sum(r.status == "complete" for _, r in history.trials.values())


def test_the_verdict_says_who_wins_and_what_the_seeds_support(tmp_path: Path) -> None:
    small, large = (spec.name for spec in candidates(2))
    ledger = begin(tmp_path)
    for replicate in range(3):
        noise = 0.1 * replicate
        ledger.write_trial(
            trial("ResNet-8", replicate, "baseline"), complete(20 + noise, params=1_000), wall_time_s=1.0
        )
        ledger.write_trial(trial(small, replicate), complete(10 + noise, params=900), wall_time_s=1.0)
    ledger.write_trial(trial("ResNet-14", 0, "baseline"), complete(5, params=1_500), wall_time_s=1.0)
    ledger.write_trial(trial(large), complete(8, params=2_000), wall_time_s=1.0)
    ledger.write_end("finished")
    history = ledger.read()
    content = report_content(history, tables(history))
    assert [line.text for line in content.verdict] == [
        "2 of 2 Runge-Kutta networks form the front: 900 parameters at 10.10 % validation error to 2.00k at 8.00 %.",
        "Against 2 baselines at no more parameters: 1 win and 1 loss. "
        "At no more MACs: 1 win (with more parameters) and 1 loss.",
        "The test set has not been read.",
    ]
    found = " ".join(content.details)
    assert "1 of the 2 networks on the front is dominated by a baseline (ResNet-14)" in found
    assert "1 network on the front rests on a single seed" in found
    assert "provisional" not in found


def test_readings_of_the_test_set_are_told(run_dir: Path, tmp_path: Path) -> None:
    assert "has not been read" in reading_sentences(begin(tmp_path).read())[0]
    history = Ledger(run_dir).read()
    told = reading_sentences(history)
    assert f"{len(history.tests)} trainings of " in told[0]
    assert told[0].endswith("once for each.")
    ledger = begin(tmp_path)
    for _ in range(2):
        ledger.write_test(trial("ResNet-8"), TestResult(test_error_pct=1.0, test_loss=1.0, test_images=10))
    ledger.write_trial(trial("ResNet-14"), failed(), wall_time_s=1.0)
    told = reading_sentences(ledger.read())
    assert told[0].endswith("2 times in all.")
    assert told[1].startswith("1 training finished after the first reading")
    ledger.write_trial(trial("ResNet-14", 0, "final"), complete(9.0), wall_time_s=1.0)
    read = TestResult(test_error_pct=1.0, test_loss=1.0, test_images=10)
    ledger.write_test(trial("ResNet-14", 0, "final"), read)
    mixed = "Test errors of the two kinds are not compared with each other: rksearch final --fresh N makes trainings"
    assert any(words.startswith(mixed) for words in reading_sentences(ledger.read()))
    ledger.write_trial(trial("ResNet-8", 0, "final"), complete(9.0), wall_time_s=1.0)
    ledger.write_test(trial("ResNet-8", 0, "final"), read)
    assert not any(words.startswith(mixed) for words in reading_sentences(ledger.read()))


def test_what_was_run_names_commit_versions_hardware_seeds_and_split(run_dir: Path) -> None:
    history = Ledger(run_dir).read()
    told = dict(facts(history, tables(history)))
    assert told["Commit"] == "0123456789abcdef0123456789abcdef01234567"
    assert "torch 2.9.1" in told["Versions"]
    assert told["Hardware"] == "Linux 6.1, Some CPU, 2 cores, 8 GiB memory, no GPU"
    assert told["Split"].startswith("0f1e2d3c4b5a6978 ")
    assert told["Seeds"].startswith("1 in the search, 3 for the front")
    assert "40,511 within the budgets" in told["Search space"]
    assert told["Command"] == command(history) == "rksearch run --space cifar10_small --data-dir data"
    page = page_of(run_dir)
    for value in told.values():
        assert value in " ".join(parsed(page).text)


def test_limitations_name_subset_and_epochs(run_dir: Path) -> None:
    history = Ledger(run_dir).read()
    notes = " ".join(limitations(history, tables(history)))
    assert "subset of 10,000 training images" in notes
    assert "8 epochs" in notes
    assert "0.02 percentage points" in notes


def test_files_about_the_run_come_from_the_ledger(run_dir: Path) -> None:
    run = yaml.safe_load((run_dir / "run.yaml").read_text())
    assert from_plain(Plan, run["plan"]) == plan_record()
    assert run["launches"][0]["options"] == {"space": "cifar10_small", "trials": 24}
    assert json.loads((run_dir / "space.json").read_text())["feasible"] == 40_511
    assert json.loads((run_dir / "environment.json").read_text())[0]["environment"]["torch"] == "2.9.1"


@pytest.fixture(scope="module")
def raced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with racing, a control arm, further seeds and networks that were trained once more at the end."""
    path = tmp_path_factory.mktemp("runs") / "raced"
    ledger = Ledger(path, clock=ticking())
    asked = plan_record(
        objectives=("val_error_pct", "macs"),
        racing=RacingRule(rungs=(2, 4), keep=0.5, bands=3, rank="train_loss_sum"),
        sampler="nsga2",
        sampler_seed=5,
        replicates=7,
        control=True,
    )
    ledger.write_run(name="raced", space=space_record(), plan=asked)
    ledger.write_session(environment=environment_record(), options={})
    rng = random.Random(8)
    for i, spec in enumerate(candidates(24)):
        error, params = 40 - i + rng.gauss(0, 1), 20_000 + 3_000 * i
        role: Role = "control" if i % 3 == 2 else "candidate"
        if i % 4 == 1:
            ledger.write_trial(trial(spec.name), pruned(error, params=params, epochs=2 + i % 3), wall_time_s=2.0)
            continue
        for replicate in range(1 + (i % 4 == 0)):
            done = complete(error + rng.gauss(0, 1), params=params)
            ledger.write_trial(trial(spec.name, replicate, role), done, wall_time_s=8.0)
    again = trial(spec.name, 50, "final")
    with_validation = dataclasses.replace(complete(1.0, params=params), images=ImageCounts(train=15_000))
    ledger.write_trial(again, with_validation, wall_time_s=9.0)
    ledger.write_test(again, TestResult(test_error_pct=17.0, test_loss=0.5, test_images=10_000))
    ledger.write_end("finished")
    write_report(path, Ledger(path).read())
    return path


def test_racing_is_told_and_its_trainings_stand_on_no_front(raced: Path) -> None:
    history = Ledger(raced).read()
    stopped = {spec.arch for spec, result in history.trials.values() if result.status == "pruned"}
    epochs = [len(result.epochs) for _, result in history.trials.values() if result.status == "pruned"]
    told = dict(facts(history, tables(history)))
    assert told["Racing"].startswith("after 2 and 4 epochs the best 50 % within each of 3 bands of size continue")
    saved = sum(8 - e for e in epochs)
    assert f"{len(epochs)} trainings pruned (" in told["Racing"]
    assert f"which saved {saved} of " in told["Racing"]
    assert not stopped & {row["arch"] for row in rows_of(raced / "front.csv")}
    assert not stopped & {item.arch for item in tables(history).items}
    assert sum(row["status"] == "pruned" for row in rows_of(raced / "trials.csv")) == len(stopped)
    assert "pruned" in (raced / "README.md").read_text()
    state = status(raced)
    assert (state["pruned"], state["epochs_saved"], sum(state["pruned_by_epochs"].values())) == (6, saved, 6)
    assert f"racing saved {saved} epochs" in shown(raced)
    assert "6 pruned" in shown(raced)
    assert "racing: after 2 and 4 epochs the best 50 %" in shown(raced)
    assert "search: 24 candidates, proposed by Optuna's NSGA-II sampler" in shown(raced)


def test_sampler_objectives_further_seeds_and_control_are_told(raced: Path) -> None:
    history = Ledger(raced).read()
    told = dict(facts(history, tables(history)))
    assert told["Search"] == (
        "24 candidates, proposed by Optuna's NSGA-II sampler with seed 5, for validation error and MACs"
    )
    assert "7 further trainings where membership in the front is least certain" in told["Seeds"]
    assert told["Control"].startswith("8 trainings of networks drawn at random, 64 epochs")
    assert status(raced)["roles"]["control"] == {"planned": 24, "finished": 6, "failed": 0}


def test_a_training_with_the_validation_images_has_a_test_error_alone(raced: Path) -> None:
    history = Ledger(raced).read()
    (final,) = [row for row in rows_of(raced / "trials.csv") if row["role"] == "final"]
    assert (final["val_error_pct"], final["val_loss"], final["test_error_pct"]) == ("", "", "17.0")
    row = tables(history).row(final["arch"])
    assert row.val_error_pct > 10
    assert (row.test_error_pct, row.test_seeds) == (17.0, 1)
    told = reading_sentences(history)
    assert told[1] == (
        "1 of these trainings was made for it, on training and validation images together, 15,000 images in place of "
        "10,000."
    )
    assert len(told) == 2


def test_progress_counts_every_epoch_of_an_arm_once_and_never_falls(raced: Path) -> None:
    history = Ledger(raced).read()
    derived = tables(history)
    search, control = derived.histories
    for arm, roles in ((search, {"candidate", "known"}), (control, {"control"})):
        trials = [(s, r) for s, r in history.trials.values() if s.role in roles and s.replicate == 0]
        spent = 0
        for _, result in trials:
            spent += len(result.epochs)
            assert (spent in arm.epochs) == (result.status == "complete")
        for line in (arm.low, arm.middle, arm.high, [-hours for hours in arm.hours]):
            assert list(line) == sorted(line, reverse=True)
        assert min(arm.low) >= 0
    figure = progress_figure(derived)
    assert figure is not None
    assert [{line.title for line in panel.lines} for panel in figure.panels] == [{search.arm, control.arm}] * 2
    assert all(panel.y.log for panel in figure.panels)
    assert f"<title>{search.arm}</title>" in page_of(raced)


def test_probabilities_of_the_front_stand_in_tables_and_status(run_dir: Path) -> None:
    items = summarise(Ledger(run_dir).read())
    shares = membership(items, resamples=RESAMPLES)
    for row in rows_of(run_dir / "front.csv"):
        assert float(row["p_front"]) == pytest.approx(shares[row["arch"]], abs=1e-6)
        assert float(row["expected_error_pct"]) == pytest.approx(float(row["val_error_pct"]), abs=6)
    for entry in status(run_dir)["front"]:
        assert entry["p_front"] == shares[entry["name"]]
    readme = (run_dir / "README.md").read_text()
    assert "P(front)" in readme
    assert re.search(r"\d+\.\d\d by the draws of true errors \(median; 90 % of them lie from \d+\.\d\d to", readme)


def test_effects_stand_in_csv_page_and_readme(run_dir: Path, raced: Path) -> None:
    rows = rows_of(run_dir / "effects.csv")
    assert {row["design"] for row in rows} <= {"equal parameters", "equal MACs", "all else equal"}
    answered = [row for row in rows if row["low"]]
    assert answered
    limits = ("low_adjusted", "low", "odds_ratio", "high", "high_adjusted")
    assert all(sorted(values) == values for row in answered if (values := [float(row[name]) for name in limits]))
    page = page_of(run_dir)
    assert "What the choices do" in page
    assert len(re.findall(r"<title>[^<]*, (?:equal|all else)[^<]*: × ", page)) == len(answered)
    for run in (run_dir, raced):
        told = tables(Ledger(run).read()).importances
        assert ("analysis of variance" in page_of(run)) == bool(told)
        assert all(found.choice in page_of(run) for found in told)
    assert tables(Ledger(run_dir).read()).importances
    assert "## What the choices do" in (run_dir / "README.md").read_text()


@pytest.mark.parametrize(
    ("value", "expected"), [(0, "0 %"), (0.001, "< 1 %"), (0.5, "50 %"), (0.999, "> 99 %"), (1, "100 %")]
)
def test_shares_by_example(value: float, expected: str) -> None:
    assert text.share(value) == expected


def test_the_readme_shows_picture_front_and_command(run_dir: Path) -> None:
    readme = (run_dir / "README.md").read_text()
    assert "](front.svg)" in readme
    for item in rk_front(summarise(Ledger(run_dir).read())):
        assert f"| {item.arch} |" in readme
    assert "```sh\nrksearch run --space cifar10_small --data-dir data\n```" in readme
    for block in re.findall(r"(?:^\|.*\n)+", readme, re.M):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1


@given(st.floats(0, 8), st.floats(0.02, 5))
def test_log_ticks_are_round_and_inside(low: float, span: float) -> None:
    ticks = axes.log_ticks(low, low + span)
    assert ticks == sorted(set(ticks))
    assert all(low <= math.log10(t) <= low + span for t in ticks)
    assert len(ticks) <= 16


@given(st.floats(0, 90), st.floats(0.01, 90))
def test_linear_ticks_are_inside_and_few(low: float, span: float) -> None:
    ticks = axes.linear_ticks(low, low + span)
    assert 2 <= len(ticks) <= 10
    assert all(low - 1e-6 <= t <= low + span + 1e-6 for t in ticks)


@given(st.floats(1, 9e11))
def test_sizes_have_three_digits_and_are_nearly_right(value: float) -> None:
    assume(value >= 1000)
    shown = text.size(value)
    factor = {"k": 1e3, "M": 1e6, "G": 1e9}[shown[-1]]
    assert float(shown[:-1]) * factor == pytest.approx(value, rel=0.0051)
    assert len(shown[:-1].replace(".", "")) == 3


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.3, "0.30"),
        (0.0042, "0.0042"),
        (1.5, "1.5"),
        (9.96, "10"),
        (12.4, "12"),
        (7, "7"),
        (999, "999"),
        (1000, "1.00k"),
        (26_000, "26.0k"),
        (745_174, "745k"),
        (999_950, "1.00M"),
        (2e9, "2.00G"),
    ],
)
def test_sizes_by_example(value: float, expected: str) -> None:
    assert text.size(value) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0 s"),
        (89, "89 s"),
        (90, "2 min"),
        (5399, "1 h 30 min"),
        (7200, "2 h"),
        (12_000, "3 h 20 min"),
        (1e6, "11 d 13 h"),
    ],
)
def test_durations_by_example(seconds: float, expected: str) -> None:
    assert text.duration(seconds) == expected


def test_a_gap_has_a_sign_and_no_negative_zero() -> None:
    assert text.gap(-0.001, None) == "+0.00"
    assert text.gap(-1.5, (-2.0, 0.25)) == "−1.50 (−2.00 to +0.25)"


def test_status_counts_what_the_ledger_says(run_dir: Path) -> None:
    state = status(run_dir)
    json.dumps(state, allow_nan=False)
    history = Ledger(run_dir).read()
    assert (state["state"], state["failed"], state["running"]) == ("finished", 2, 0)
    assert state["done"] == len(history.trials) - 2
    assert state["planned"] == 24 + len(BASELINES) + len(KNOWN)
    assert state["roles"]["baseline"] == {"planned": len(BASELINES), "finished": len(BASELINES), "failed": 0}
    assert state["test_readings"] == len(history.tests)
    assert [entry["name"] for entry in state["front"]] == [i.arch for i in rk_front(summarise(history))]
    for entry in state["best_per_band"]:
        assert entry["low"] <= entry["params"] < entry["high"]
    words = shown(run_dir)
    assert all(entry["name"] in words for entry in state["front"])
    assert "failed" in words
