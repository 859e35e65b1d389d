"""Static figures: SVG for pages, matplotlib's for paper, and the tables beside them."""

from __future__ import annotations

import csv
import io
import math
import re
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from rksearch.api import Run
from rksearch.errors import RunError, TakenError
from rksearch.report import figures, text, write
from rksearch.report.content import report_content
from rksearch.report.density import count_cells, density_cells
from rksearch.report.figure import LegendEntry, Panel, PlotAxis, PlotMark, StaticFigure
from rksearch.report.figures import BAND_LABEL, all_figures, costs_of, front_figure, stepped, stepped_x
from rksearch.report.interactive import interactive_front
from rksearch.report.page_data import page_data
from rksearch.report.placing import LINE, MOST_COVERED, Rectangle, obstacles, place_labels
from rksearch.report.printing import COLUMN_IN, DOTS_PER_INCH, FORMATS, printed
from rksearch.report.rendering import escape_latex, render
from rksearch.report.sections import ReportTable
from rksearch.report.svg import figure_svg
from rksearch.report.write import figure_files, latex_tables
from rksearch.results.columns import CURVE_FIELDS, curves_csv
from rksearch.results.history import History
from rksearch.results.ledger import Ledger
from rksearch.results.summaries import summarise
from rksearch.results.tables import Tables, tables
from tests.helpers.command_line import rksearch
from tests.helpers.ledgers import BASELINES, begin, candidates, complete, full_run, trial

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "full"
    full_run(path)
    return path


@pytest.fixture(scope="module")
def history(run_dir: Path) -> History:
    return Ledger(run_dir).read()


@pytest.fixture(scope="module")
def derived(history: History) -> Tables:
    return tables(history)


def root_of(figure: StaticFigure) -> ElementTree.Element:
    return ElementTree.fromstring(figure_svg(figure))


def css(element: ElementTree.Element) -> set[str]:
    return set(element.get("class", "").split())


def test_the_figure_of_the_front_marks_every_network_at_its_place(history: History, derived: Tables) -> None:
    figure = front_figure(derived, "run")
    root = root_of(figure)
    items = summarise(history)
    titles = {}
    for mark in root.iter(f"{SVG}path"):
        title = mark.find(f"{SVG}title")
        if "mark" in css(mark) and title is not None:
            x, y = map(float, re.findall(r"-?[\d.]+", mark.get("d", ""))[:2])
            titles[(title.text or "").partition(":")[0]] = (x, y)
    assert set(titles) == {item.arch for item in items}
    # Across, places lie by the logarithm of the cost: a straight line fits them to a pixel's tenth, whatever the shape.
    for shape in ("baseline", "candidate"):
        same = [i for i in items if i.role == shape and figure.panels[0].y.holds(i.error_pct)]
        pixels = np.array([titles[i.arch][0] for i in same])
        values = np.log10([i.params for i in same])
        slope, offset = np.polyfit(values, pixels, 1)
        assert slope > 0
        assert np.abs(slope * values + offset - pixels).max() < 2.1


@pytest.mark.parametrize("cost", ["params", "macs"])
def test_the_figure_for_notebooks_holds_the_numbers_of_the_run(run_dir: Path, history: History, cost: str) -> None:
    """Against the summaries and a naive front: the least error at no more cost."""
    figure = Run(run_dir).figure(cost)
    items = {item.arch: item for item in summarise(history)}
    marks = {}
    for trace in figure.data:
        if trace.mode == "markers":
            for x, y, bar, hover in zip(trace.x, trace.y, trace.error_y.array, trace.text, strict=True):
                marks[re.match("<b>(.*?)</b>", hover)[1]] = (x, y, bar, hover, trace.name)  # type: ignore[index]
    assert marks.keys() == items.keys()
    for arch, item in items.items():
        x, y, bar, hover, group = marks[arch]
        assert (x, y) == (getattr(item, cost), item.error_pct)
        named = item.is_baseline or group == "Runge-Kutta front"
        assert (None if bar is None else y + bar) == (y + item.error_sd_pct if named and item.error_sd_pct else None)
        assert f"{item.params:,} parameters, {item.macs:,} MACs" in hover
        assert f"{item.error_pct:.2f}" in hover
        assert (group == "baselines") == item.is_baseline
    for line, role in (("front of Runge-Kutta networks", "candidate"), ("front of baselines", "baseline")):
        (trace,) = [trace for trace in figure.data if trace.name == line]
        own = [item for item in items.values() if item.role == role]
        for x, y in zip(trace.x, trace.y, strict=True):
            assert y in {item.error_pct for item in own if getattr(item, cost) <= x}
        low = {x: min(item.error_pct for item in own if getattr(item, cost) <= x) for x in trace.x}
        assert {x: min(b for a, b in zip(trace.x, trace.y, strict=True) if a == x) for x in trace.x} == low
    front = {arch for arch, mark in marks.items() if mark[-1] == "Runge-Kutta front"}
    frame = Run(run_dir).frame
    assert front == set(frame["arch"][frame["on_front" if cost == "params" else "on_macs_front"]])
    assert (figure.layout.xaxis.type, figure.layout.yaxis.type) == ("log", "linear")
    assert list(map(text.tick, figure.layout.xaxis.tickvals)) == list(figure.layout.xaxis.ticktext)
    low, high = (10**end for end in figure.layout.xaxis.range)
    assert all(low < getattr(item, cost) < high for item in items.values())
    assert BAND_LABEL in {trace.name for trace in figure.data}


def test_a_figure_for_notebooks_of_a_crowd_has_cells(derived: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "CROWD", 1)
    figure = interactive_front(derived, "run")
    assert figure.layout.shapes
    assert sum(len(trace.x) for trace in figure.data if trace.mode == "markers") < len(derived.items)


def test_a_figure_for_notebooks_needs_a_cost_and_a_network(run_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"one of params, macs, but got 'param' \(did you mean 'params'\?\)"):
        Run(run_dir).figure("param")
    begin(tmp_path)
    with pytest.raises(RunError, match="a figure needs a complete training"):
        Run(tmp_path).figure()


def test_labels_keep_apart_and_within_the_picture(derived: Tables) -> None:
    root = root_of(front_figure(derived, "run"))
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    labels = [e for e in root.iter(f"{SVG}text") if "label" in css(e)]
    assert {e.text for e in labels} & set(BASELINES)
    boxes = [Rectangle(float(e.attrib["x"]), float(e.attrib["y"]) - 11, 6.6 * len(e.text or ""), 12) for e in labels]
    assert all(b.x >= 0 and b.x + b.width <= width and b.y >= 0 and b.y + b.height <= height for b in boxes)
    assert not any(a.overlap(b) for a, b in combinations(boxes, 2))


@given(
    st.lists(st.tuples(st.floats(0, 600), st.floats(0, 300), st.text("abc-k8", min_size=1, max_size=24)), max_size=20)
)
def test_placed_labels_never_touch_nor_leave_their_room(labels: list[tuple[float, float, str]]) -> None:
    room = Rectangle(0, 0, 600, 300)
    placed = place_labels(labels, [Rectangle(x - 5, y - 5, 10, 10) for x, y, _ in labels], room)
    boxes = [box for box in placed if box is not None]
    assert len(placed) == len(labels)
    assert all(room.holds(box) and box.height == LINE for box in boxes)
    assert not any(a.overlap(b) for a, b in combinations(boxes, 2))


@given(st.lists(st.tuples(st.floats(0, 600), st.floats(0, 300)), max_size=60))
def test_a_placed_label_hides_little_and_one_in_a_crowd_is_left_out(places: list[tuple[float, float]]) -> None:
    room, crowd = Rectangle(0, 0, 600, 300), obstacles(places, [])
    for (x, y), box in zip(places, place_labels([(x, y, "ResNet-8") for x, y in places], crowd, room), strict=True):
        if box is not None:
            assert sum(map(box.overlap, crowd)) <= MOST_COVERED * box.width * box.height
            assert math.hypot(box.x - x, box.y - y) < 120
    everywhere = obstacles([(x, y) for x in range(0, 600, 12) for y in range(0, 300, 12)], [])
    assert place_labels([(300.0, 150.0, "ResNet-8")], everywhere, room) == [None]


def test_a_label_alone_finds_its_place_beside_the_mark() -> None:
    (box,) = place_labels([(300.0, 150.0, "ResNet-8")], [], Rectangle(0, 0, 600, 300))
    assert box is not None
    assert (box.x, box.y) == (310.0, 143.0)


def test_marks_beyond_the_axis_stand_at_its_edge_and_are_counted() -> None:
    axis = PlotAxis(title="error, %", low=0.0, high=10.0, ticks=((5.0, "5"),))
    marks = tuple(
        PlotMark(x=float(i), y=y, kind="other", shape="circle", title=f"n{i}")
        for i, y in enumerate((5.0, 99.0, 11.0, -3.0))
    )
    figure = StaticFigure(name="f", title="t", alt="a", panels=(Panel(x=axis, y=axis, marks=marks),))
    root = root_of(figure)
    (words,) = [e.text for e in root.iter(f"{SVG}text") if "beyond" in css(e)]
    assert words == "2 above the axis, 1 below the axis"
    outlines = [e.get("d", "") for e in root.iter(f"{SVG}path") if "mark" in css(e)]
    tops = [float(re.findall(r"-?[\d.]+", d)[1]) for d in outlines]
    assert tops[1] == tops[2] < tops[0] < tops[3]


def test_every_figure_is_well_formed_with_ids_of_its_own(derived: Tables) -> None:
    figures = all_figures(derived, "run")
    assert [f.name for f in figures] == ["front", "front_macs", "curves", "distribution", "progress", "effects"]
    ids = []
    for figure in figures:
        root = root_of(figure)
        assert root.get("aria-label")
        assert root[0].tag == f"{SVG}title"
        ids += [e.attrib["id"] for e in root.iter() if "id" in e.attrib]
        text = figure_svg(figure, standalone=False)
        assert "<style" not in text
        ElementTree.fromstring(text)
    assert len(ids) == len(set(ids))


def test_hostile_names_stay_text() -> None:
    evil = '"><script>alert(1)</script>&'
    axis = PlotAxis(title=evil, low=0.0, high=1.0, ticks=((0.5, evil),))
    mark = PlotMark(x=0.5, y=0.5, kind="base", shape="square", title=evil, label=evil[:9])
    root = root_of(
        StaticFigure(name="f", title=evil, alt=evil, panels=(Panel(x=axis, y=axis, marks=(mark,), title=evil),))
    )
    assert not list(root.iter(f"{SVG}script"))
    assert sum(e.text == evil for e in root.iter()) >= 5


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=12, unique=True))
def test_steps_are_level_from_each_place_to_the_next(places: list[float]) -> None:
    places.sort()
    heights = [float(i) for i in range(len(places))]
    x, y = stepped_x(places), stepped(heights)
    assert len(x) == len(y) == 2 * len(places) - 1
    # Just right of each place stands its height.
    for place, height in zip(places, heights, strict=True):
        assert y[max(i for i, v in enumerate(x) if v == place)] == height


def check_printed(files: dict[str, bytes], title: str) -> None:
    """PNG on white at the width of a column; SVG with text as text; a title in each."""
    image = Image.open(io.BytesIO(files["png"])).convert("RGB")
    assert image.width == round(COLUMN_IN * DOTS_PER_INCH)
    corners = [image.getpixel((x, y)) for x in (0, image.width - 1) for y in (0, image.height - 1)]
    assert corners == [(255, 255, 255)] * 4
    assert len({image.getpixel((x, image.height // 2)) for x in range(image.width)}) > 1
    root = ElementTree.fromstring(files["svg"].decode())
    assert title in [e.text for e in root.iter(f"{SVG}text")]
    assert files["pdf"].startswith(b"%PDF")
    assert title.encode() in files["pdf"]


@pytest.mark.parametrize("standalone", [True, False])
@pytest.mark.parametrize("words", [("front",), ("Runge-Kutta front", "other Runge-Kutta", "± sd over seeds") * 3])
def test_a_legend_stays_within_its_picture_and_above_its_panel(
    derived: Tables, words: tuple[str, ...], standalone: bool
) -> None:
    entries = tuple(LegendEntry(sample="circle", kind="front", words=word) for word in words)
    figure = replace(front_figure(derived, "a run"), legend=entries)
    root = ElementTree.fromstring(figure_svg(figure, standalone=standalone))
    shown = [element for element in root.iter() if element.text in words]
    assert len(shown) == len(words)
    places = [(float(element.get("x", "")), float(element.get("y", ""))) for element in shown]
    ends = [x + 7 * len(element.text or "") for (x, _), element in zip(places, shown, strict=True)]
    assert max(ends) < float(root.get("width", ""))
    assert len(set(places)) == len(words)
    frame = next(element for element in root.iter() if element.tag.endswith("clipPath"))
    assert max(y for _, y in places) < float(frame[0].get("y", ""))


def test_a_name_with_signs_of_mathematics_is_printed_as_it_is(derived: Tables) -> None:
    name = r"costs $5 to $\frac{6}$, a long name that takes two lines"
    written = printed(front_figure(derived, name), "svg").decode()
    assert r"$\frac{6}$" in written


def test_a_printed_figure_does_not_follow_the_user_s_own_style(derived: Tables) -> None:
    figure = front_figure(derived, "a run")
    before = [printed(figure, kind) for kind in FORMATS]
    theirs: dict[Any, Any] = {"text.usetex": True, "lines.linewidth": 9.0, "savefig.bbox": "tight", "savefig.dpi": 20}
    with mpl.rc_context(theirs):
        assert [printed(figure, kind) for kind in FORMATS] == before
        assert mpl.rcParams["lines.linewidth"] == 9.0


def test_a_printed_figure_is_titled_on_white_and_the_same_bytes_every_time(derived: Tables) -> None:
    figure = front_figure(derived, "A run")
    files = {kind: printed(figure, kind) for kind in FORMATS}
    check_printed(files, "A run")
    assert {kind: printed(figure, kind) for kind in FORMATS} == files


@pytest.mark.slow
def test_report_writes_figures_and_tables_for_latex(
    run_dir: Path, tmp_path: Path, history: History, derived: Tables
) -> None:
    done = rksearch("report", str(run_dir), "--figures", "--to", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    written = {path.name: path.read_bytes() for path in (tmp_path / "out" / "figures").iterdir()}
    assert {"ladder_params.tex", "ladder_macs.tex", "front.tex"} <= set(written)
    assert written == figure_files(history)
    for figure in all_figures(derived, history.name):
        check_printed({kind: written[f"{figure.name}.{kind}"] for kind in FORMATS}, figure.title)
    assert str(tmp_path / "out" / "figures" / "front.pdf") in done.stdout


def test_figures_of_the_users_stay(run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = render("table.tex", table=ReportTable(id="front", caption="", columns=(), rows=()), name="a run").encode()
    monkeypatch.setattr(write, "figure_files", lambda *_: {"front.tex": table, "front.png": b"ours"})
    own = tmp_path / "figures"
    own.mkdir()
    (own / "front.png").write_bytes(b"mine")
    with pytest.raises(TakenError, match=r"front.png stands where a figure of the report would"):
        Run(run_dir).write_figures(tmp_path)
    for mine in (b"mine", b"% Mine. Needs \\usepackage{booktabs}.\n\\begin{tabular}{l}"):
        (own / "front.tex").write_bytes(mine)
        with pytest.raises(TakenError):
            Run(run_dir).write_figures(tmp_path)
        assert {path.read_bytes() for path in own.iterdir()} == {b"mine", mine}
    for path in own.iterdir():
        path.unlink()
    for _ in range(2):  # its own are replaced
        Run(run_dir).write_figures(tmp_path)
        assert (own / "front.png").read_bytes() == b"ours"


def test_figures_of_a_run_without_networks_are_one_line(tmp_path: Path) -> None:
    begin(tmp_path / "run")
    done = rksearch("report", str(tmp_path / "run"), "--figures")
    assert done.returncode != 0
    assert "figures need a network that was trained to the end" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_latex_table_has_the_front_with_every_row_whole(derived: Tables, history: History) -> None:
    (table,) = [t for t in latex_tables(report_content(history, derived)) if t.id == "front"]
    text = render("table.tex", table=table, name="a_run")
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 1 + len(derived.front)
    columns = re.search(r"tabular\}\{([lr]+)\}", text)
    assert columns is not None
    for row in rows:
        assert len(re.findall(r"(?<!\\)&", row)) == len(columns[1]) - 1
        assert not re.search(r"(?<!\\)[%#_]", row)
    for front, row in zip(derived.front, rows[1:], strict=True):
        assert row.startswith(front.item.arch.replace("_", r"\_"))


def test_what_means_something_in_latex_is_escaped() -> None:
    assert escape_latex("a_b 5 % & {x} $ # ^ ~ \\") == (
        r"a\_b 5 \% \& \{x\} \$ \# \textasciicircum{} \textasciitilde{} \textbackslash{}"
    )
    assert escape_latex("12.3 ± 0.1, < 1 %") == r"12.3 $\pm$ 0.1, $<$ 1 \%"
    assert escape_latex(7) == 7


def test_curves_csv_has_every_epoch_of_every_training(history: History) -> None:
    rows = list(csv.DictReader(io.StringIO(curves_csv(history))))
    expected = [(s, r, e) for s, r in history.trials.values() for e in r.epochs]
    assert len(rows) == len(expected)
    assert list(rows[0]) == ["trial", "arch", "role", "replicate", *CURVE_FIELDS]
    for row, (spec, _, epoch) in zip(rows, expected, strict=True):
        assert (row["trial"], int(row["epoch"])) == (spec.id, epoch.epoch)
        assert float(row["val_error_pct"]) == pytest.approx(epoch.val_error_pct, abs=1e-6)
        assert row["top5_val_error_pct"] == ""


def test_curves_csv_writes_nan_for_what_is_not_finite_and_no_validation_of_a_final_training(tmp_path: Path) -> None:
    ledger = begin(tmp_path)
    whole = complete(20.0)
    done = replace(whole, epochs=(replace(whole.epochs[0], train_loss=math.nan), *whole.epochs[1:]))
    name = candidates(1)[0].name
    ledger.write_trial(trial(name), done, wall_time_s=1.0)
    ledger.write_trial(trial(name, 50, "final"), whole, wall_time_s=1.0)
    rows = list(csv.DictReader(io.StringIO(curves_csv(ledger.read()))))
    assert rows[0]["train_loss"] == "nan"
    assert {row["val_error_pct"] for row in rows if row["role"] == "final"} == {""}
    assert all(row["train_error_pct"] for row in rows)


@pytest.mark.parametrize("log", [False, True])
def test_cells_of_a_density_hold_every_point_within_the_axes_once(log: bool) -> None:
    rng = np.random.default_rng(5)
    x = PlotAxis(title="x", low=1.0, high=1000.0, ticks=(), log=log)
    y = PlotAxis(title="y", low=0.0, high=50.0, ticks=())
    xs, ys = rng.uniform(0.5, 1200, 4000), rng.uniform(-5, 60, 4000)
    counts = count_cells(xs, ys, x, y)
    inside = [(a, b) for a, b in zip(xs, ys, strict=True) if x.low <= a < x.high and y.low <= b < y.high]
    assert sum(counts.values()) == len(inside)
    cells = density_cells(counts, x, y)
    assert [int(cell.title) for cell in cells] == [counts[key] for key in sorted(counts)]
    for cell in rng.choice(np.arange(len(cells)), 20):
        found = cells[cell]
        held = sum(found.x[0] <= a < found.x[1] and found.y[0] <= b < found.y[1] for a, b in inside)
        assert abs(held - int(found.title)) <= 1  # a point on an edge may round to either side
    assert max(cell.strength for cell in cells) == 1.0


def test_thousands_of_networks_are_cells_and_the_front_is_marks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rksearch.report import figures

    monkeypatch.setattr(figures, "CROWD", 10)
    full_run(tmp_path)
    derived = tables(Ledger(tmp_path).read())
    panel = front_figure(derived, "run").panels[0]
    assert len(panel.marks) == len(derived.front) + len(BASELINES)
    shown = [i for i in derived.searched if i.arch not in {r.item.arch for r in derived.front}]
    within = [i for i in shown if panel.y.low <= i.error_pct < panel.y.high]
    assert sum(int(cell.title) for cell in panel.cells) == len(within)


def test_activation_memory_has_a_band_and_pictures_where_the_run_minimises_it(
    history: History, derived: Tables
) -> None:
    assert history.run is not None
    plan = replace(history.run.plan, objectives=("val_error_pct", "activation_bytes"))
    history = replace(history, run=replace(history.run, plan=plan))
    derived = tables(history, {item.arch: 3 * item.params for item in derived.items})
    assert [cost.field for cost in costs_of(derived)] == ["params", "macs", "activation_bytes"]
    figures = {figure.name: figure for figure in all_figures(derived, "run")}
    (panel,), (by_params,) = figures["front_activation_bytes"].panels, figures["front"].panels
    # Memory is a multiple of the parameters here: the same picture on a longer axis.
    assert [(mark.x, mark.y) for mark in panel.marks] == [(3 * mark.x, mark.y) for mark in by_params.marks]
    assert len(panel.areas) == 1
    data = page_data(history, derived)
    assert data["band"]["activation_bytes"]["low"] == data["band"]["params"]["low"]
