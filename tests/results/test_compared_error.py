"""Runs that compare networks by the balanced error: fronts, racing, proposals, effects and reports follow it."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rksearch.report import write_report
from rksearch.report.status import format_status, status_json
from rksearch.report.write import derived_files
from rksearch.results.confusion import Confusion
from rksearch.results.fronts import rk_front
from rksearch.results.history import History
from rksearch.results.ledger import Ledger
from rksearch.results.records import Role, TestResult, TrialResult
from rksearch.results.run_dir import read_run
from rksearch.results.status import run_status
from rksearch.results.summaries import best_per_band, summarise
from rksearch.results.tables import tables
from rksearch.results.uncertainty import draw
from rksearch.search.agenda import SearchAgenda
from rksearch.search.final import finalists
from rksearch.search.racing import score
from rksearch.space.plan import BALANCED, BALANCED_ERROR, TOP1
from tests.helpers.ledgers import (
    BASELINES,
    begin,
    candidates,
    complete,
    environment_record,
    plan_record,
    space_record,
    ticking,
    trial,
)
from tests.helpers.simulation import ListProposer
from tests.helpers.tables import kept

OBJECTIVES = (BALANCED_ERROR, "params")

SMALL, MIDDLE, LARGE, WORST = (str(spec) for spec in candidates(4))
"""Networks by rising parameters in these tests."""

ERRORS: Mapping[str, tuple[int, float, float]] = {
    SMALL: (10_000, 20.0, 50.0),
    MIDDLE: (20_000, 30.0, 40.0),
    LARGE: (30_000, 10.0, 45.0),
    WORST: (40_000, 40.0, 30.0),
}
"""Parameters, top-1 and balanced error: by the first, SMALL and LARGE form the front; by the second, all but LARGE."""


def unbalanced(wrong: tuple[int, int]) -> Confusion:
    """Predictions for 90 images of class 0, 10 of class 1 and none of eight others."""
    matrix = np.zeros((10, 10), dtype=np.int64)
    matrix[0, 0], matrix[0, 1] = 90 - wrong[0], wrong[0]
    matrix[1, 1], matrix[1, 0] = 10 - wrong[1], wrong[1]
    return Confusion.from_matrix(matrix)


def with_both(top1: float, balanced: float, *, params: int = 50_000) -> TrialResult:
    """A result whose epochs have both errors, falling to these."""
    result = complete(top1, params=params)
    epochs = tuple(replace(e, balanced_val_error_pct=min(100.0, balanced + 2 * (8 - e.epoch))) for e in result.epochs)
    return replace(result, epochs=epochs, val_confusion=unbalanced((4, 3)))


def begun(path: Path, objectives: tuple[str, ...] = OBJECTIVES) -> Ledger:
    ledger = Ledger(path, clock=ticking())
    ledger.write_run(name="unbalanced", space=space_record(), plan=plan_record(objectives=objectives, known=()))
    ledger.write_session(environment=environment_record(), options={})
    return ledger


def trained(path: Path, objectives: tuple[str, ...] = OBJECTIVES) -> Ledger:
    """A run of the four networks and a baseline, whose errors of both kinds order them differently."""
    ledger = begun(path, objectives)
    role: Role
    for arch, (params, top1, balanced) in {**ERRORS, BASELINES[0]: (25_000, 15.0, 60.0)}.items():
        role = "baseline" if arch == BASELINES[0] else "candidate"
        for replicate, shift in enumerate((0.0, 0.5)):
            result = with_both(top1 + shift, balanced + shift, params=params)
            ledger.write_trial(trial(arch, replicate, role), result, wall_time_s=1.0)
    return ledger


def front(history: History) -> list[str]:
    return [item.arch for item in rk_front(summarise(history))]


def test_the_front_is_that_of_the_error_the_run_is_asked_for(tmp_path: Path) -> None:
    by_top1 = trained(tmp_path / "top1", ("val_error_pct", "params")).read()
    by_balanced = trained(tmp_path / "balanced").read()
    assert (by_top1.metric, by_balanced.metric) == (TOP1, BALANCED)
    assert front(by_top1) == [SMALL, LARGE]
    assert front(by_balanced) == [SMALL, MIDDLE, WORST]
    assert finalists(by_balanced)[1:4] == front(by_balanced)
    items = {item.arch: item for item in summarise(by_balanced)}
    assert (items[SMALL].error_pct, items[SMALL].val_error_pct) == (50.25, 20.25)
    assert items[SMALL].errors_pct == (50.0, 50.5)
    assert items[SMALL].error_sd_pct == pytest.approx(math.sqrt(0.125))
    assert best_per_band(items.values())[20_000, 50_000].arch == WORST
    draws = draw(list(items.values()))
    medians = dict(zip(draws.archs, draws.medians_pct, strict=True))
    assert medians[MIDDLE] == pytest.approx(40.25, abs=4)


def test_the_agenda_gives_further_seeds_by_it(tmp_path: Path) -> None:
    history = trained(tmp_path).read()
    assert history.plan is not None
    agenda = SearchAgenda(replace(history.plan, trials=4), ListProposer([]), history)
    assert [item.arch for item in agenda.front(history)] == [SMALL, MIDDLE, WORST]


def test_racing_ranks_by_it() -> None:
    good, bad = with_both(30.0, 20.0).epochs, with_both(20.0, 30.0).epochs
    assert score(good, 8, "val_error") > score(bad, 8, "val_error")
    assert score(good, 8, "val_error", BALANCED) < score(bad, 8, "val_error", BALANCED)
    assert score(complete(20.0).epochs, 8, "val_error", BALANCED) == math.inf


def test_everything_derived_is_of_it(tmp_path: Path) -> None:
    found, by_top1 = (
        tables(trained(tmp_path / str(i), objectives).read())
        for i, objectives in enumerate((OBJECTIVES, ("val_error_pct", "params")))
    )
    assert [row.item.arch for row in found.front] == [SMALL, MIDDLE, WORST]
    (baseline,) = found.baselines
    assert baseline.comparison is not None
    assert baseline.rival is not None
    assert baseline.rival.arch == MIDDLE
    assert baseline.comparison.gap_pct == pytest.approx(-20.0)
    assert by_top1.baselines[0].comparison is not None
    assert by_top1.baselines[0].comparison.gap_pct == pytest.approx(5.0)
    assert found.curves[SMALL][-1] == 50.25
    assert found.hypervolume is not None
    assert by_top1.hypervolume is not None
    assert found.hypervolume.of_means < by_top1.hypervolume.of_means
    assert {row.arch: row.balanced_val_error_pct for row in found.archs}[SMALL] == 50.25


def test_the_report_says_which_error_it_shows(tmp_path: Path) -> None:
    ledger = trained(tmp_path)
    for arch in (SMALL, BASELINES[0]):
        reading = TestResult(
            test_error_pct=21.0, test_loss=1.0, test_images=100, balanced_test_error_pct=52.0,
            test_confusion=unbalanced((5, 4)),
        )  # fmt: skip
        ledger.write_test(trial(arch, 0, "baseline" if arch == BASELINES[0] else "candidate"), reading)
    ledger.write_end("finished")
    history = ledger.read()
    write_report(tmp_path, history)
    page, readme, picture = ((tmp_path / name).read_text() for name in ("report.html", "README.md", "front.svg"))

    assert "10.0k parameters at 50.25 % balanced validation error to 40.0k at 30.25 %" in readme
    assert "| Balanced validation error | Validation error |" in readme.replace("---", ""), (
        "both stand in the front's table"
    )
    assert "| MACs | Balanced validation error | Balanced test error | Baseline's parameters" in readme
    assert "The search used the balanced validation error only." in readme
    assert "Balanced validation error, %</text>" in picture
    payload = json.loads(page.split('id="payload">')[1].split("</script>")[0])
    assert payload["errors"][0]["label"] == "Balanced validation error"
    assert payload["errors"][0]["field"] == "balanced_val_error_pct"
    assert payload["errors"][-1]["field"] == "balanced_test_error_pct"
    assert "Lowest balanced validation error" in page
    assert "lowest balanced validation errors out of many" in readme
    assert "is 5.00 percentage points of balanced error (10 images; the largest class has 90)" in readme

    front_rows = list(csv.DictReader(io.StringIO((tmp_path / "front.csv").read_text())))
    assert [float(row["balanced_val_error_pct"]) for row in front_rows] == [50.25, 40.25, 30.25]
    assert [float(row["val_error_pct"]) for row in front_rows] == [20.25, 30.25, 40.25]
    assert "top5_val_error_pct" not in front_rows[0]
    rows = {row["trial"]: row for row in csv.DictReader(io.StringIO((tmp_path / "trials.csv").read_text()))}
    assert rows[f"{SMALL}@0"]["balanced_val_error_pct"] == "50.0"
    assert rows[f"{SMALL}@0"]["balanced_test_error_pct"] == "52.0"

    state = run_status(history)
    assert status_json(state)["metric"] == "balanced_error"
    assert status_json(state)["front"][0]["balanced_val_error_pct"] == 50.25
    assert "front (parameters, MACs, balanced validation error," in format_status(state)
    assert "50.25 ± 0.35 %" in format_status(state)


def test_errors_of_classes_bear_an_image_that_one_training_could_not_read(tmp_path: Path) -> None:
    ledger = begin(tmp_path)
    for replicate, images in enumerate((2, 3)):
        seen = Confusion(images=(images, 4), wrong=(((1, images),), ()))
        result = replace(complete(50.0), val_confusion=seen)
        ledger.write_trial(trial(SMALL, replicate), result, wall_time_s=1.0)
    write_report(tmp_path, ledger.read())
    (found,) = tables(ledger.read()).class_errors
    assert [(c.images, c.wrong, c.error_pct) for c in found.classes] == [(2.5, 2.5, 100.0), (4, 0.0, 0.0)]
    assert found.classes[0].interval_pct[1] == 100
    assert "| 0 | 2.5 | 100.00 % |" in (tmp_path / "README.md").read_text()


def test_the_report_has_the_errors_of_each_class(tmp_path: Path) -> None:
    ledger = trained(tmp_path)
    reading = TestResult(test_error_pct=9.0, test_loss=1.0, test_images=100, test_confusion=unbalanced((5, 4)))
    ledger.write_test(trial(SMALL), reading)
    write_report(tmp_path, ledger.read())
    readme, page = ((tmp_path / name).read_text() for name in ("README.md", "report.html"))
    found = tables(ledger.read()).class_errors
    assert [(t.arch, t.part, t.trainings) for t in found] == [
        (SMALL, "validation", 2),
        (SMALL, "test", 1),
        (MIDDLE, "validation", 2),
        (WORST, "validation", 2),
    ]
    # CIFAR-10's classes; Wilson's interval of 4 of 90 and of 3 of 10, whatever the number of trainings.
    assert "| airplane | 90 | 4.44 % | 1.7 to 10.9 % | 86 | 4 |" in readme
    assert "| automobile | 10 | 30.00 % | 10.8 to 60.3 % | 3 | 7 |" in readme
    assert "| bird | 0 | – | – |" in readme
    title = f"{SMALL}, validation images, 2 trainings: from 4.44 % (airplane) to 30.00 % (automobile)"
    page = page.replace("\u00a0", " ")
    assert title in readme
    assert title in page
    assert '<td class="n">1.7 to 10.9 %</td><td class="n">86</td><td class="n">4</td>' in page
    assert page.count("<details><summary>RKNet") == 4


def test_of_many_classes_the_most_confused_pairs_are_shown_and_top5(tmp_path: Path) -> None:
    matrix = np.diag(np.full(200, 25))
    for label in range(200):
        matrix[label, label] -= label % 5
        matrix[label, (label + 1) % 200] += label % 5
    matrix[7, 7], matrix[7, 150] = 3, 20
    ledger = begun(tmp_path, ("val_error_pct", "params"))
    result = complete(20.0)
    epochs = tuple(replace(e, balanced_val_error_pct=21.0, top5_val_error_pct=5.5) for e in result.epochs)
    confusion = Confusion.from_matrix(matrix.astype(np.int64))
    ledger.write_trial(trial(SMALL), replace(result, epochs=epochs, val_confusion=confusion), wall_time_s=1.0)
    reading = TestResult(test_error_pct=22.0, test_loss=1.0, test_images=5000, top5_test_error_pct=6.5)
    ledger.write_test(trial(SMALL), reading)
    write_report(tmp_path, ledger.read())
    readme, page = ((tmp_path / name).read_text() for name in ("README.md", "report.html"))
    assert "| 7 | 25 | 88.00 % | 70.0 to 95.8 % | 150 | 20 | 80.00 % | 60.9 to 91.1 % |" in readme
    assert readme.count("\n| ") < 60, "not a row for each class"
    assert "as 199" not in page
    for title in ("Top-5 validation error", "Top-5 test error"):
        assert title in readme
        assert title in page
    (row,) = csv.DictReader(io.StringIO((tmp_path / "trials.csv").read_text()))
    assert (row["top5_val_error_pct"], row["top5_test_error_pct"]) == ("5.5", "6.5")
    assert "Balanced" not in readme, "it is in the CSV files; the run is compared by the top-1 error"


def test_a_training_without_the_compared_error_is_damage_not_a_point(tmp_path: Path) -> None:
    ledger = begun(tmp_path)
    ledger.write_trial(trial(SMALL), complete(10.0), wall_time_s=1.0)
    ledger.write_trial(trial(LARGE), with_both(10.0, 20.0), wall_time_s=1.0)
    ledger.write_trial(trial(LARGE, 0, "final"), complete(10.0), wall_time_s=1.0)
    history = ledger.read()
    assert list(history.trials) == [f"{LARGE}@0", f"{LARGE}@final0"]
    (damage,) = history.damage
    assert damage.field == "result.epochs[0].balanced_val_error_pct"
    assert front(history) == [LARGE]


UNCHANGED = ("trials.csv", "environment.json", "space.json")

RECOMPUTED = {"front.csv": (), "effects.csv": ("low", "high", "answer", "p_adjusted")}
"""Tables that have more columns now, and the columns that are computed in another way."""


@pytest.mark.parametrize("name", ["quickstart", "digits_table"])
def test_committed_tables_are_made_again(name: str) -> None:
    """Their networks are compared by the top-1 error; an older ledger knows no other one."""
    directory = Path(__file__).parents[2] / "reports" / name
    history = read_run(directory)
    assert history.metric == TOP1
    made = derived_files(history)
    assert {file: made[file] == (directory / file).read_text(encoding="utf-8") for file in UNCHANGED} == dict.fromkeys(
        UNCHANGED, True
    )
    for file, but in RECOMPUTED.items():
        assert kept(made[file], (directory / file).read_text(encoding="utf-8"), but=but), file
