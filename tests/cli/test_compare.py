"""`rksearch compare`, `report --calibrate` and `--json`, as a user types them."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from rksearch.api import directory
from rksearch.report.comparison import comparison_content
from rksearch.report.comparison_files import WRITTEN_BY, comparison_files, fronts_figure
from rksearch.results.ledger import Ledger
from rksearch.results.run_comparison import compare_runs
from tests.helpers.command_line import Answer
from tests.helpers.ledgers import full_run, large_run

FILES = {
    "comparison.html",
    "comparison.md",
    "comparison.json",
    "comparison_params.svg",
    "comparison_macs.svg",
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two runs of one space by the same recipe, one with a control arm."""
    place = tmp_path_factory.mktemp("runs")
    return large_run(place / "a", 60, epochs=8, seed=1), large_run(place / "b", 60, epochs=8, control=20, seed=2)


def test_markdown_is_printed_and_files_are_written(
    tmp_path: Path, runs: tuple[Path, Path], answer: Callable[..., Answer]
) -> None:
    code, shown, errors = answer("compare", *runs, "--to", tmp_path / "out")
    assert (code, errors) == (0, "")
    assert shown.startswith("# Comparison of ")
    # Both ledgers name their run alike, so that the directories tell them apart.
    for path in runs:
        assert f"large ({path.name})" in shown
    for heading in (
        "## Differences of the hypervolumes",
        "## The size ladder",
        "## Networks on the fronts",
        "## Side by side",
        "## Limitations",
    ):
        assert heading in shown
    assert "random draws" in shown
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES
    first = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert answer("compare", *runs, "--to", tmp_path / "out")[0] == 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == first


def test_json_is_all_that_a_script_sees(runs: tuple[Path, Path], answer: Callable[..., Answer]) -> None:
    code, shown, errors = answer("compare", *runs, "--json")
    assert (code, errors) == (0, "")
    found = json.loads(shown)
    assert [side["sampler"] for side in found["sides"]] == ["tpe", "tpe", "random"]
    assert found["pooled"] is True
    assert found["mismatches"] == []
    assert len(found["differences"]) == 3 * 2 * 2
    for rung in found["ladder"]:
        for item in rung["best"].values():
            assert item is None or item[rung["cost"]] <= rung["limit"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "RUN..."),
        (["nowhere"], "nowhere"),
        (["{a}"], "two runs, or one with a control arm"),
        (["{a}", "{a}"], "was given twice; name it once"),
        (["{a}", "{other}"], "give --allow-differences"),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path, runs: tuple[Path, Path], answer: Callable[..., Answer], arguments: list[str], says: str
) -> None:
    other = large_run(tmp_path / "other", 20, epochs=9)
    code, shown, errors = answer("compare", *(part.format(a=runs[0], other=other) for part in arguments))
    assert (code, shown) == (2, "")
    assert len(errors.strip().splitlines()) == 1
    assert says in errors


def test_what_differs_is_shown_where_it_is_allowed(
    tmp_path: Path, runs: tuple[Path, Path], answer: Callable[..., Answer]
) -> None:
    other = large_run(tmp_path / "other", 20, epochs=9)
    code, shown, _ = answer("compare", runs[0], other, "--allow-differences")
    assert code == 0
    assert "The runs differ in recipe.epochs: their errors are not comparable." in shown
    assert "- **recipe.epochs:**" in shown


def test_files_of_the_users_are_not_replaced(
    tmp_path: Path, runs: tuple[Path, Path], answer: Callable[..., Answer]
) -> None:
    (tmp_path / "comparison.md").write_text("mine")
    code, _, errors = answer("compare", *runs, "--to", tmp_path)
    assert code == 2
    assert "rksearch replaces only what it wrote itself" in errors
    assert (tmp_path / "comparison.md").read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {"comparison.md"}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("comparison.html", "<!doctype html>mine"),
        ("comparison.md", "by `rksearch compare`"),
        ("comparison.json", "{}"),
        ("fronts.svg", "<svg/>"),
    ],
)
def test_each_file_of_a_comparison_is_judged_by_itself(
    tmp_path: Path, runs: tuple[Path, Path], answer: Callable[..., Answer], name: str, content: str
) -> None:
    for _ in range(2):
        assert answer("compare", *runs, "--to", tmp_path / "to")[0] == 0
    path = next((tmp_path / "to").glob("*.svg")) if name.endswith(".svg") else tmp_path / "to" / name
    path.write_text(content)
    code, _, errors = answer("compare", *runs, "--to", tmp_path / "to")
    assert code == 2
    assert f"{path} stands where a comparison would" in errors
    assert path.read_text() == content


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")], ids=["pipe", "device"])
def test_a_pipe_or_device_is_not_read(
    tmp_path: Path, runs: tuple[Path, Path], answer: Callable[..., Answer], make: Callable[[Path], object]
) -> None:
    make(tmp_path / "comparison.json")
    code, _, errors = answer("compare", *runs, "--to", tmp_path)
    [line] = errors.splitlines()
    assert code == 2
    assert "replaces only what it wrote itself" in line


def test_test_gaps_stand_beside_those_of_validation(tmp_path: Path, answer: Callable[..., Answer]) -> None:
    full_run(tmp_path / "a")
    full_run(tmp_path / "b", 12)
    code, shown, _ = answer("compare", tmp_path / "a", tmp_path / "b", "--to", tmp_path)
    assert code == 0
    assert "| Gap (95 %), points | Test gap (95 %), points |" in shown
    assert "Written by" not in shown
    assert f"<!-- Written by `{WRITTEN_BY}`, and" in (tmp_path / "comparison.md").read_text()


class Page(HTMLParser):
    """Tags and attributes of a page, which must close what it opens."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in ("meta", "input", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_asks_for_nothing_and_escapes_names(runs: tuple[Path, Path]) -> None:
    hostile = "</title><script>alert(1)</script>&"
    histories = {hostile: Ledger(runs[0]).read(), "b`|*": Ledger(runs[1]).read()}
    files = comparison_files(compare_runs(histories))
    page = Page()
    page.feed(files["comparison.html"])
    assert page.open == []
    assert not {tag for tag, _ in page.seen} & {"link", "img", "iframe"}
    assert sum(tag == "script" for tag, _ in page.seen) == 1
    assert hostile not in files["comparison.html"]
    assert all("src" not in attributes for _, attributes in page.seen)
    assert sum(tag == "svg" for tag, _ in page.seen) == 2
    assert all(attributes.get("aria-label") for tag, attributes in page.seen if tag == "svg")
    for name in ("comparison_params.svg", "comparison_macs.svg"):
        ElementTree.fromstring(files[name])
    assert json.loads(files["comparison.json"])["written_by"] == WRITTEN_BY
    assert "<script" not in files["comparison.md"].replace("\\<script", "")


def test_every_side_has_its_own_look_and_every_front_its_marks(runs: tuple[Path, Path]) -> None:
    found = compare_runs({"a": Ledger(runs[0]).read(), "b": Ledger(runs[1]).read()})
    (panel,) = fronts_figure(found, "params").panels
    looks = {(line.kind, line.dash) for line in panel.lines}
    assert len(looks) == len(panel.lines) == 3
    marks = [mark for mark in panel.marks if mark.kind != "other"]
    assert len(marks) == sum(len(side.front) for side in found.sides)
    assert len([mark for mark in panel.marks if mark.kind == "other"]) == len(found.baselines)
    sections = [section.id for section in comparison_content(found).sections]
    assert sections == ["figures", "hypervolumes", "ladder", "fronts", "sides", "limitations"]


@pytest.mark.slow
def test_a_calibrated_report_has_its_section_and_its_numbers_as_json(
    tmp_path: Path, answer: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "SIMULATED_RUNS", 2)
    full_run(tmp_path)
    code, shown, errors = answer("report", tmp_path, "--calibrate", "--json")
    assert (code, errors) == (0, "")
    found = json.loads(shown)
    assert str(tmp_path / "report.html") in found["files"]
    assert found["calibration"]["runs"] == 2
    claims = [own["claim"] for own in found["calibration"]["cases"][0]["coverages"]]
    readme = (tmp_path / "README.md").read_text()
    page = (tmp_path / "report.html").read_text()
    assert "## Can these intervals be trusted?" in readme
    assert 'id="trust"' in page
    for claim in claims:
        assert claim in readme
    code, shown, _ = answer("report", tmp_path, "--json")
    assert code == 0
    assert json.loads(shown)["calibration"] is None
    assert "Can these intervals be trusted?" not in (tmp_path / "README.md").read_text()


def test_a_run_too_small_to_calibrate_costs_one_line(tmp_path: Path, answer: Callable[..., Answer]) -> None:
    large_run(tmp_path, 3, epochs=2)
    code, shown, errors = answer("report", tmp_path, "--calibrate")
    assert (code, shown) == (2, "")
    assert "at least 8 of its searched networks" in errors


def test_the_papers_tables_as_json_have_the_rows_of_the_csv(answer: Callable[..., Answer]) -> None:
    _, shown, _ = answer("paper", "--table", "1", "--json")
    found = json.loads(shown)
    _, text, _ = answer("paper", "--table", "1", "--csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [list(row) for row in rows] == [list(row) for row in found]
    assert [row["arch"] for row in rows] == [row["arch"] for row in found]
    assert all(isinstance(row["params"], int) for row in found)
    code, _, errors = answer("paper", "--json", "--csv")
    assert code == 2
    assert "give one of --csv and --json" in errors
