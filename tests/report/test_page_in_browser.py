"""The report's page as a reader meets it: opened from a file in the system's Chromium, pointed at and clicked."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import numpy as np
import pytest

from tests.helpers.browsers import FLAGS, MISSING, installed_browser
from tests.helpers.command_line import rksearch

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page

pytestmark = [pytest.mark.slow, pytest.mark.ci]

LEDGER = Path(__file__).parent / "data" / "ledger.jsonl"
"""Of a run on digits that no longer changes: marks, rows and names below are of its networks."""

WIDE = (1280, 900)
PHONE = (390, 844)
PAPER = (703, 1000)
"""Width and height of a window in CSS pixels; the last one is what A4 has within its margins."""

Place = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """One architecture with complete trainings, as the ledger's lines give it; errors are means over trainings.

    Attributes:
        baseline: whether it is one.
        params, macs: its costs.
        error_pct: validation error after the last epoch.
        test_error_pct: test error; None where the test set was not read.
    """

    baseline: bool
    params: int
    macs: int
    error_pct: float
    test_error_pct: float | None


@cache
def networks() -> dict[str, Network]:
    """Every network of the run by architecture, read without the package."""
    records = [json.loads(line) for line in LEDGER.read_text().splitlines()]
    trials: dict[str, list[Any]] = {}
    for record in records:
        if record["event"] == "trial" and record["result"]["status"] == "complete":
            trials.setdefault(record["spec"]["arch"], []).append(record)
    tests: dict[str, list[float]] = {}
    for record in records:
        if record["event"] == "test":
            tests.setdefault(record["arch"], []).append(record["result"]["test_error_pct"])
    return {
        arch: Network(
            baseline=trained[0]["spec"]["role"] == "baseline",
            params=trained[0]["result"]["params"],
            macs=trained[0]["result"]["macs"],
            error_pct=_rounded(trial["result"]["epochs"][-1]["val_error_pct"] for trial in trained),
            test_error_pct=_rounded(tests[arch]) if arch in tests else None,
        )
        for arch, trained in trials.items()
    }


def _rounded(values: Iterable[float]) -> float:
    """The mean to the digits of the page's numbers: sums in another order are equal."""
    return round(mean(values), 4)


def baselines() -> list[str]:
    """The run's baselines."""
    return [arch for arch, network in networks().items() if network.baseline]


def front(cost: str) -> list[str]:
    """Searched networks that no other one equals or betters in cost and error, from cheap to dear."""
    searched = [arch for arch, network in networks().items() if not network.baseline]
    searched.sort(key=lambda arch: (getattr(networks()[arch], cost), networks()[arch].error_pct))
    found: list[str] = []
    for arch in searched:
        if not found or networks()[arch].error_pct < networks()[found[-1]].error_pct:
            found.append(arch)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """The page in a window, what it said in the console, and the addresses that it asked for."""

    page: Page
    url: str
    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def open(self, fragment: str = "") -> None:
        """Listen, then load the page; its script has run when this returns."""

        def listen(message: ConsoleMessage) -> None:
            self.messages.append(f"{message.type}: {message.text}")

        self.page.on("pageerror", lambda error: self.messages.append(str(error)))
        self.page.on("console", listen)
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(self.url + fragment, wait_until="load")

    def until(self, met: Callable[[], bool], what: str) -> None:
        """Wait until the page meets this: it draws before the next picture."""
        for _ in range(200):
            if met():
                return
            self.page.wait_for_timeout(50)
        pytest.fail(f"the page must show {what} within 10 s")

    def marks(self, css: str) -> list[Place]:
        """Places in the window of the chart's marks with these classes, from left to right."""
        found = self.page.evaluate(
            """css => { const at = document.getElementById("chart").getBoundingClientRect();
            return [...document.querySelectorAll("#chart .paper svg path.mark" + css)].map(mark => {
              const place = mark.getAttribute("transform").match(/-?[0-9.]+/g).map(Number);
              return [at.x + place[0], at.y + place[1]]; }); }""",
            css,
        )
        return sorted((x, y) for x, y in found)

    def switch(self, name: str, value: str) -> None:
        """Choose one of a switch's options above the chart."""
        self.page.locator(f'#switches input[name="{name}"][value="{value}"]').check(force=True)
        self.page.wait_for_timeout(60)

    def chip(self, group: str, value: str) -> None:
        """Press or release a chip."""
        self.page.locator(f'#chips button[data-group="{group}"][data-value="{value}"]').click()
        self.page.wait_for_timeout(60)

    def rows(self) -> list[str]:
        """Architectures that the table of all shows, from top to bottom; all of them, as there are few."""
        return self.page.locator("#all tbody tr[data-net] th").all_inner_texts()

    def sort(self, heading: str) -> list[str]:
        """Click a heading; return the architectures in their new order."""
        self.page.locator("#all th button").get_by_text(heading, exact=True).click()
        self.page.wait_for_timeout(60)
        return self.rows()

    def selected(self) -> str:
        """What the page says of the selection."""
        return self.page.locator("[data-shown]").first.inner_text()

    def drag(self, start: Place, end: Place) -> None:
        self.page.mouse.move(*start)
        self.page.mouse.down()
        self.page.mouse.move((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
        self.page.mouse.move(*end)
        self.page.mouse.up()
        self.page.wait_for_timeout(60)

    def ticks(self) -> list[str]:
        """Labels of the chart's axes."""
        return self.page.locator("#chart .paper text.tick").all_inner_texts()

    @property
    def card(self) -> str | None:
        """Title of the open card."""
        if not self.page.locator("dialog[open]").count():
            return None
        return self.page.locator("#card-title").inner_text()


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with that ledger, and what the command derives from it."""
    path = tmp_path_factory.mktemp("runs") / "quickstart"
    path.mkdir()
    shutil.copy(LEDGER, path)
    done = rksearch("report", str(path))
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's Chromium."""
    executable = installed_browser()
    if executable is None:
        pytest.skip(MISSING)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=executable, headless=True, args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def reader(browser: Browser, run_dir: Path, request: pytest.FixtureRequest) -> Iterator[Reader]:
    """The open page, in a window of size `WIDE` or the parameter's, without a network.

    In the end it has said nothing in the console, nor asked for anything but itself.
    """
    width, height = getattr(request, "param", WIDE)
    context = browser.new_context(viewport={"width": width, "height": height}, offline=True)
    reader = Reader(page=context.new_page(), url=(run_dir / "report.html").as_uri())
    reader.open()
    yield reader
    context.close()
    assert reader.messages == []
    assert {url.partition("#")[0] for url in reader.requests} == {reader.url}


def test_the_chart_marks_every_network_at_its_place(reader: Reader) -> None:
    for cost in ("params", "macs"):
        reader.switch("cost", cost)
        on_front = front(cost)
        others = len(networks()) - len(on_front) - len(baselines())
        assert [len(reader.marks(f".{css}:not(.edge)")) + len(reader.marks(f".{css}.edge")) for css in
                ("front", "base", "other")] == [len(on_front), len(baselines()), others]  # fmt: skip
        # Across, marks lie by the logarithm of the cost; down, by the error: a straight line fits them.
        across, down = np.array(reader.marks(".front")).T
        costs = np.log10([getattr(networks()[arch], cost) for arch in on_front])
        errors = np.array([networks()[arch].error_pct for arch in on_front])
        for pixels, values, sign in ((across, costs, 1), (down, errors, -1)):
            slope, offset = np.polyfit(values, pixels, 1)
            assert np.sign(slope) == sign
            assert np.abs(slope * values + offset - pixels).max() < 0.5


def test_the_chart_shows_other_errors_and_a_log_scale(reader: Reader) -> None:
    reader.switch("error", "test_error_pct")
    read = [(n, n.test_error_pct) for n in networks().values() if n.test_error_pct is not None]
    assert len(reader.marks("")) == len(read)
    reader.switch("scale", "log")
    down = np.array(reader.marks(".base"))[:, 1]
    tested = sorted((n.params, error) for n, error in read if n.baseline)
    logs = np.log10([error for _, error in tested])
    slope, offset = np.polyfit(logs, down, 1)
    assert slope < 0
    assert np.abs(slope * logs + offset - down).max() < 0.5
    reader.switch("error", "expected_error_pct")
    assert len(reader.marks("")) == len(networks())


def test_pointing_at_a_mark_names_the_network_and_a_click_opens_its_card(reader: Reader) -> None:
    from playwright.sync_api import expect

    for cost in ("params", "macs"):
        reader.switch("cost", cost)
        for arch, place in zip(front(cost), reader.marks(".front"), strict=True):
            reader.page.mouse.move(*place)
            expect(reader.page.locator("#tip b")).to_have_text(arch)
    arch, place = front("macs")[2], reader.marks(".front")[2]
    reader.page.mouse.click(*place)
    reader.until(lambda: reader.card == arch, "the card")
    assert unquote(reader.page.evaluate("location.hash")) == f"#net={arch}"
    reader.page.keyboard.press("Escape")
    reader.until(lambda: reader.card is None, "no card")
    # Going back in the history takes a moment of the browser's own.
    reader.until(lambda: reader.page.evaluate("location.hash") == "", "the address without a card")


def test_a_card_shows_drawing_curves_neighbours_and_commands(reader: Reader) -> None:
    arch = front("params")[1]
    reader.page.evaluate("name => { location.hash = '#net=' + encodeURIComponent(name); }", arch)
    reader.until(lambda: reader.card == arch, "the card")
    body = reader.page.locator("#card-body")
    assert body.locator("svg.figure rect.part").count() >= 5
    records = [json.loads(line) for line in LEDGER.read_text().splitlines()]
    trained = [r for r in records if r["event"] == "trial" and r["spec"]["arch"] == arch]
    assert body.locator("#card-curves path.curve").count() == len(trained)
    words = body.inner_text()
    assert "P(front) is the probability, among the networks trained and given these seeds" in words
    for part in (f"rksearch describe {arch}", f"rksearch export .:{arch}@0", f"rksearch final . --arch {arch}"):
        assert part in words
    assert "rksearch train" not in words, "the space's own batch size is in no recipe that ships with rksearch"
    other = body.locator("h3 ~ .scroll a").first
    name = other.inner_text()
    other.click()
    reader.until(lambda: reader.card == name, "the neighbour's card")
    reader.page.locator("#card-close").click()
    reader.until(lambda: reader.card is None, "no card")


def test_a_link_opens_a_card_and_an_unknown_name_opens_none(browser: Browser, run_dir: Path) -> None:
    context = browser.new_context(offline=True)
    for name, shown in ((baselines()[0], baselines()[0]), ("Nothing-1", None)):
        reader = Reader(page=context.new_page(), url=(run_dir / "report.html").as_uri())
        reader.open(f"#net={quote(name, safe='')}")
        assert reader.card == shown
        assert reader.messages == []
    context.close()


def test_the_keyboard_walks_the_chart_and_opens_a_card(reader: Reader) -> None:
    chart, said = reader.page.locator("#chart"), reader.page.locator("#said")
    chart.focus()
    for arch in front("params")[:3]:
        reader.page.keyboard.press("ArrowDown")
        assert said.inner_text().startswith(arch)
    everyone = sorted(networks(), key=lambda arch: networks()[arch].params)
    reader.page.keyboard.press("Home")
    assert said.inner_text().startswith(everyone[0])
    reader.page.keyboard.press("ArrowRight")
    assert said.inner_text().startswith(everyone[1])
    reader.page.keyboard.press("Enter")
    reader.until(lambda: reader.card == everyone[1], "the card")
    reader.page.keyboard.press("Escape")
    reader.until(lambda: reader.card is None, "no card")
    assert reader.page.evaluate("document.activeElement.id") == "chart"
    assert reader.page.locator("#tip b").inner_text() == everyone[1]
    reader.page.keyboard.press("ArrowRight")
    assert said.inner_text().startswith(everyone[2]), "it walks on from the network whose card was open"
    reader.page.locator("#filter").focus()
    assert not reader.page.locator("#tip").is_visible()


def test_everything_that_can_be_pressed_has_a_name(reader: Reader) -> None:
    nameless = reader.page.evaluate(
        """() => [...document.querySelectorAll(
            "button, a, input, [role=region], [role=img], [role=application], summary")]
          .filter(e => !(e.getAttribute("aria-label") || e.textContent.trim() || e.labels?.[0]?.textContent.trim()))
          .map(e => e.outerHTML.slice(0, 120))"""
    )
    assert nameless == []


def test_chips_select_for_chart_table_and_distribution(reader: Reader) -> None:
    lines = reader.page.locator("#edf svg[role=img] path.edf").count()
    reader.chip("Role", "baseline")
    assert sorted(reader.rows()) == sorted(baselines())
    assert reader.selected() == f"{len(baselines())} of {len(networks())} networks selected"
    assert len(reader.marks(".base:not(.dim)")) == len(baselines())
    assert reader.marks(".front:not(.dim)") == []
    reader.chip("Role", "candidate")
    assert len(reader.rows()) > len(baselines())
    reader.chip("Role", "baseline")
    reader.chip("Front", "parameters")
    assert set(reader.rows()) <= set(front("params"))
    assert reader.page.locator("#edf svg[role=img] path.edf").count() == lines + 1
    reader.page.locator("#clear").click()
    reader.until(lambda: reader.selected() == f"all {len(networks())} networks", "all networks")
    assert sorted(reader.rows()) == sorted(networks())


def test_a_rectangle_on_the_chart_selects_what_it_holds(reader: Reader) -> None:
    places = reader.marks(".front")
    (x0, y0), (x1, y1) = places[1], places[3]
    start, end = (x0 - 7, min(y0, y1) - 7), (x1 + 7, max(y0, y1) + 7)
    held = [p for p in reader.marks("") if start[0] <= p[0] <= end[0] and start[1] <= p[1] <= end[1]]
    reader.drag(start, end)
    assert len(reader.rows()) == len(held) >= 3
    assert set(front("params")[1:4]) <= set(reader.rows())
    assert reader.page.locator("#chips .range").count() == 2
    reader.page.locator("#chips .range").first.click()
    reader.until(lambda: len(reader.rows()) > len(held), "more networks")
    reader.page.locator("#chart").focus()
    reader.page.keyboard.press("Escape")
    reader.until(lambda: len(reader.rows()) == len(networks()), "all networks")


def test_zoom_stays_when_the_scheme_changes_and_can_be_taken_back(reader: Reader) -> None:
    home = reader.ticks()
    ground = reader.page.evaluate("getComputedStyle(document.body).backgroundColor")
    reader.switch("drag", "zoom")
    places = reader.marks(".front")
    reader.drag((places[0][0] - 12, places[0][1] - 12), (places[2][0] + 12, places[2][1] + 12))
    zoomed = reader.ticks()
    assert zoomed != home
    assert len(reader.marks(".front")) == 3
    assert len(reader.rows()) == len(networks())
    reader.page.emulate_media(color_scheme="dark")
    reader.page.wait_for_timeout(60)
    assert reader.ticks() == zoomed
    assert reader.page.evaluate("getComputedStyle(document.body).backgroundColor") != ground
    reader.page.locator("#unzoom").click()
    reader.until(lambda: reader.ticks() == home, "the whole chart")


def test_dragging_along_a_parallel_axis_selects(reader: Reader) -> None:
    reader.page.locator("#parallel .paper text.axis-title").last.scroll_into_view_if_needed()
    reader.page.locator("#curves").scroll_into_view_if_needed()
    x, top, bottom = reader.page.locator("#parallel .paper line.axis").last.evaluate(
        "line => { const box = line.getBoundingClientRect(); return [box.x, box.top, box.bottom]; }"
    )
    # The lower half of the last axis, which is the error's.
    reader.drag((x, (top + bottom) / 2), (x, bottom))
    errors = [network.error_pct for network in networks().values()]
    half = (min(errors) + max(errors)) / 2
    expected = [arch for arch, network in networks().items() if network.error_pct <= half + 0.01 * half]
    assert set(reader.rows()) <= set(expected)
    assert len(reader.rows()) >= len(expected) - 1


def test_a_heading_sorts_up_and_then_down_with_missing_values_last(reader: Reader) -> None:
    for heading, attribute in (
        ("Validation error", "error_pct"),
        ("Test error", "test_error_pct"),
        ("MACs", "macs"),
    ):
        values = {arch: getattr(network, attribute) for arch, network in networks().items()}
        known = sorted(value for value in values.values() if value is not None)
        missing = [None] * (len(values) - len(known))
        for expected in (known, known[::-1]):
            shown = reader.sort(heading)
            assert sorted(shown) == sorted(values)
            assert [values[arch] for arch in shown] == [*expected, *missing]


def test_cells_are_formatted_as_in_the_readme(reader: Reader, run_dir: Path) -> None:
    from rksearch.report.cells import show
    from rksearch.results.columns import columns
    from rksearch.results.run_dir import read_run
    from rksearch.results.tables import tables

    derived = tables(read_run(run_dir))
    metrics = columns(derived.arch_metrics)
    for cells in reader.page.locator("#all tbody tr[data-net]").all():
        shown = cells.locator("th, td").all_inner_texts()
        row = derived.row(shown[0])
        # A probability that is certain by size is in words in tables; the script shows the share.
        expected = {m.field: show(m, row) for m in metrics if m.field not in ("p_front", "p_macs_front")}
        assert {
            m.field: text.strip() for m, text in zip(metrics, shown, strict=True) if m.field in expected
        } == expected


def test_words_select_and_a_row_opens_its_card(reader: Reader) -> None:
    words = reader.page.locator("#filter")
    for text in ("k4", "k6", "k8", "BC k8", "k4 2x3s"):
        words.fill(text)
        found = [arch for arch in networks() if all(word in arch for word in text.split())]
        assert found

        def shows(found: list[str] = found) -> bool:
            return sorted(reader.rows()) == sorted(found)

        reader.until(shows, text)
    words.fill("")
    reader.until(lambda: len(reader.rows()) == len(networks()), "all networks")
    link = reader.page.locator("#all tbody a").nth(2)
    name = link.inner_text()
    link.focus()
    reader.page.keyboard.press("Enter")
    reader.until(lambda: reader.card == name, "the card")


def test_the_ladder_follows_the_cost(reader: Reader) -> None:
    assert reader.page.locator("#table-ladder-params").is_visible()
    assert not reader.page.locator("#table-ladder-macs").is_visible()
    reader.switch("cost", "macs")
    assert reader.page.locator("#table-ladder-macs").is_visible()
    assert not reader.page.locator("#table-ladder-params").is_visible()


def test_the_first_screen_has_verdict_ladder_and_chart(reader: Reader) -> None:
    """At 1280 x 900 the chart's marks begin above the fold."""
    assert reader.page.locator(".verdict li").count() in (2, 3)
    for css in (".verdict", "#table-ladder-params", "#switches"):
        box = reader.page.locator(css).bounding_box()
        assert box is not None
        assert box["y"] + box["height"] < WIDE[1], css
    chart = reader.page.locator("#chart").bounding_box()
    assert chart is not None
    assert chart["y"] + chart["height"] / 2 < WIDE[1]


@pytest.mark.parametrize("reader", [PHONE], indirect=True)
def test_a_phone_shows_the_whole_width(reader: Reader) -> None:
    assert reader.page.evaluate("document.documentElement.scrollWidth") == PHONE[0]
    for chart in ("chart", "edf", "curves"):
        drawing = reader.page.locator(f"#{chart} svg").first.bounding_box()
        assert drawing is not None
        assert drawing["x"] >= 0
        assert drawing["x"] + drawing["width"] <= PHONE[0]
        assert drawing["width"] > 0.8 * PHONE[0]
    assert len(reader.marks("")) == len(networks())
    # What does not fit scrolls, with its first column in place and a cue at the edge.
    scroller = reader.page.locator("#all-scroll")
    assert "more" in (scroller.get_attribute("class") or "")
    scroller.evaluate("e => { e.scrollLeft = 400; }")
    first = reader.page.locator("#all tbody th").first.bounding_box()
    assert first is not None
    assert 0 <= first["x"] < 60
    reader.page.locator("#all tbody a").first.click()
    reader.until(lambda: reader.card is not None, "a card")
    box = reader.page.locator("dialog").bounding_box()
    assert box is not None
    assert box["width"] <= PHONE[0]


@pytest.mark.parametrize("reader", [PAPER], indirect=True)
def test_paper_is_white_and_cuts_nothing(reader: Reader) -> None:
    reader.page.emulate_media(media="print", color_scheme="dark")
    reader.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    reader.page.wait_for_timeout(120)
    colours = reader.page.evaluate(
        "() => [getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
    )
    text, ground = ([int(n) for n in re.findall(r"\d+", colour)[:3]] for colour in colours)
    assert max(text) < 60
    assert min(ground) > 240
    assert reader.page.evaluate("document.documentElement.scrollWidth") <= PAPER[0]
    cut = reader.page.evaluate(
        """() => [...document.querySelectorAll("table, svg")]
          .filter(e => e.getBoundingClientRect().right > innerWidth + 1 && e.checkVisibility())
          .map(e => e.id || e.parentElement.id || e.outerHTML.slice(0, 80))"""
    )
    assert cut == []
    assert len(reader.page.pdf(format="A4")) > 20_000


def test_without_scripts_the_page_has_pictures_and_tables(browser: Browser, run_dir: Path) -> None:
    context = browser.new_context(java_script_enabled=False, offline=True)
    page = context.new_page()
    page.goto((run_dir / "report.html").as_uri())
    assert page.locator("noscript svg.figure").first.is_visible()
    assert page.locator("#table-ladder-params").is_visible()
    assert page.locator("#table-ladder-macs").is_visible()
    assert page.locator("#table-front tbody tr").count() == len(front("params"))
    assert not page.locator("#switches").is_visible()
    assert "trials.csv" in page.inner_text("body")
    context.close()


def many(page: str, number: int) -> str:
    """The page with its networks repeated, as candidates with other names and errors, until there are this many."""
    opening = '<script type="application/json" id="payload">'
    start = page.index(opening) + len(opening)
    end = page.index("</script>", start)
    data = json.loads(page[start:end])
    old = len(data["values"]["arch"])
    for name, column in data["values"].items():
        data["values"][name] = [column[i % old] for i in range(number)]
    data["values"]["arch"] = [f"{name}-{i // old}" for i, name in enumerate(data["values"]["arch"])]
    data["values"]["params"] = [p + i for i, p in enumerate(data["values"]["params"])]
    for name in ("on_front", "on_macs_front"):
        data["values"][name] = [on and i < old for i, on in enumerate(data["values"][name])]
    data["values"]["role"] = [role if i < old else "candidate" for i, role in enumerate(data["values"]["role"])]
    errors = data["values"]["val_error_pct"]
    data["values"]["val_error_pct"] = [e if i < old else 40 + ((i * 37) % 1000) / 25 for i, e in enumerate(errors)]
    data["curves"] = [data["curves"][i % old] for i in range(number)]
    return page[:start] + json.dumps(data).replace("<", "\\u003c") + page[end:]


def test_ten_thousand_networks_are_a_canvas_and_some_rows(browser: Browser, run_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "many.html"
    path.write_text(many((run_dir / "report.html").read_text(), 10_000))
    context = browser.new_context(viewport={"width": WIDE[0], "height": WIDE[1]}, offline=True)
    reader = Reader(page=context.new_page(), url=path.as_uri())
    reader.open()
    assert reader.selected() == "all 10,000 networks"
    assert reader.page.locator("#chart canvas").is_visible()
    assert reader.page.locator("*").count() < 12_000
    assert reader.page.locator("#all tbody tr[data-net]").count() < 80
    scroller = reader.page.locator("#all-scroll")
    scroller.evaluate("e => { e.scrollTop = e.scrollHeight; }")
    reader.until(lambda: reader.page.locator('#all tbody tr[aria-rowindex="10001"]').count() == 1, "the last row")
    assert reader.page.locator("#all tbody tr[data-net]").count() < 80
    reader.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert reader.page.locator("#all tbody tr[data-net]").count() == 200
    assert (
        reader.page.locator("#all tbody tr").last.inner_text()
        == "9,800 further networks of the selection in trials.csv"
    )
    reader.page.evaluate("dispatchEvent(new Event('afterprint'))")
    reader.page.locator("#filter").fill(f"{front('params')[0]}-7")
    reader.until(lambda: 0 < len(reader.rows()) < 40, "few rows")
    assert all(name.startswith(f"{front('params')[0]}-7") for name in reader.rows())
    assert reader.messages == []
    context.close()


def test_numbers_are_written_as_python_writes_them(browser: Browser) -> None:
    import random

    from rksearch.report import text
    from rksearch.report.rendering import asset

    page = browser.new_page()
    write = f"values => {{ {asset('page/format.js')} return values.map(([v, p, s]) => [size(v), meanSd(p, p / 8), "
    write += "share(p / 100), duration(s), tick(v)]); }"
    rng = random.Random(3)
    # Eighths of a percent are exact in binary, so that their halves must go to the even digit.
    numbers = [[round(10 ** rng.uniform(0, 9.5)), rng.randrange(801) / 8, rng.uniform(0, 2e5)] for _ in range(2000)]
    numbers += [[rng.uniform(0.001, 12), 0.0, 0.0] for _ in range(500)]
    written = page.evaluate(write, numbers)
    expected = [
        [text.size(v), text.mean_sd(p, p / 8), text.share(p / 100), text.duration(s), text.tick(v)]
        for v, p, s in numbers
    ]
    assert written == expected
    page.close()


def test_a_reload_keeps_the_selection_and_the_switches(reader: Reader) -> None:
    reader.switch("cost", "macs")
    reader.chip("Role", "baseline")
    reader.page.reload()
    assert sorted(reader.rows()) == sorted(baselines())
    assert reader.page.locator('#switches input[value="macs"]').is_checked()
    assert reader.page.locator('#chips button[data-value="baseline"]').get_attribute("aria-pressed") == "true"
    ladders = [reader.page.locator(f"#table-ladder-{cost}") for cost in ("params", "macs")]
    assert [ladder.is_visible() for ladder in ladders] == [False, True], "the ladder of the chart's cost"
    reader.page.locator('input[name="ladder"][value="ladder-params"]').check(force=True)
    reader.page.reload()
    assert reader.page.locator('#switches input[value="macs"]').is_checked()
    assert [ladder.is_visible() for ladder in ladders] == [True, False], "the ladder that was chosen"


def test_the_comparison_names_its_marks_hides_sides_and_shows_one_cost(browser: Browser, tmp_path: Path) -> None:
    from rksearch.report.comparison_files import comparison_files
    from rksearch.results.ledger import Ledger
    from rksearch.results.run_comparison import compare_runs
    from tests.helpers.ledgers import large_run

    runs = {name: large_run(tmp_path / name, 40, epochs=4, seed=seed) for seed, name in enumerate(("a", "b"))}
    found = compare_runs({name: Ledger(path).read() for name, path in runs.items()})
    path = tmp_path / "comparison.html"
    path.write_text(comparison_files(found)["comparison.html"])
    context = browser.new_context(viewport={"width": WIDE[0], "height": WIDE[1]}, offline=True)
    reader = Reader(page=context.new_page(), url=path.as_uri())
    reader.open()
    page = reader.page
    shown, other = page.locator("#figure-comparison_params"), page.locator("#figure-comparison_macs")
    assert (shown.is_visible(), other.is_visible()) == (True, False)
    mark = shown.locator('path.mark[data-group="b"]').first
    mark.hover()
    assert page.locator(".tip").inner_text().startswith(f"b: {found.sides[1].front[0].arch}, ")
    page.mouse.move(2, 2)
    assert not page.locator(".tip").is_visible()
    mark.focus()
    assert page.locator(".tip").is_visible()
    page.locator('#compare-switches input[name="side"][value="b"]').uncheck()
    assert not mark.is_visible()
    assert shown.locator('path.mark[data-group="a"]').first.is_visible()
    page.locator('#compare-switches input[value="macs"]').check(force=True)
    assert (shown.is_visible(), other.is_visible()) == (False, True)
    assert page.locator("#table-fronts tbody tr").count() == sum(
        len({item.arch for item in (*side.front, *side.macs_front)}) for side in found.sides
    )
    assert reader.messages == []
    assert {url.partition("#")[0] for url in reader.requests} == {reader.url}
    context.close()


def test_a_network_that_failed_once_and_one_of_the_control_arm_alone(browser: Browser, tmp_path: Path) -> None:
    from dataclasses import replace

    from rksearch.report import write_report
    from tests.helpers.ledgers import begin, candidates, complete, trial

    ledger = begin(tmp_path)
    kept, drawn = (spec.name for spec in candidates(2))
    ledger.write_trial(trial(kept), complete(20.0), wall_time_s=1.0)
    cut_short = replace(complete(60.0), status="failed", failure="hung", epochs=complete(60.0).epochs[:2])
    ledger.write_trial(trial(kept, 1), cut_short, wall_time_s=1.0)
    ledger.write_trial(trial(drawn, role="control"), complete(25.0), wall_time_s=1.0)
    write_report(tmp_path, ledger.read())
    context = browser.new_context(viewport={"width": WIDE[0], "height": WIDE[1]}, offline=True)
    reader = Reader(page=context.new_page(), url=(tmp_path / "report.html").as_uri())
    reader.open(f"#net={quote(kept, safe='')}")
    drawn_curve = str(reader.page.locator("#curves path.curve.front").get_attribute("d"))
    assert len(re.findall("[ML]", drawn_curve)) == 8, "the training that failed after two epochs ends no other's curve"
    assert reader.page.locator("#card-curves path.curve").count() == 2
    words = reader.page.locator("#card-body").inner_text()
    assert f"rksearch final . --arch {kept}" in words
    assert "--fresh" not in words
    reader.page.evaluate("name => { location.hash = '#net=' + encodeURIComponent(name); }", drawn)
    reader.until(lambda: reader.card == drawn, "the card")
    assert f"rksearch final . --arch {drawn} --fresh 3" in reader.page.locator("#card-body").inner_text()
    assert reader.messages == []
    context.close()
