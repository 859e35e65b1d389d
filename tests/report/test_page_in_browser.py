"""The report's page as a reader meets it: opened from a file in the system's Chromium, pointed at and clicked."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.helpers.command_line import rksearch

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, ConsoleMessage, Page

pytestmark = [pytest.mark.slow, pytest.mark.ci]

LEDGER = Path(__file__).parents[2] / "reports" / "quickstart" / "ledger.jsonl"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--no-sandbox",  # Chromium refuses to run as root with its sandbox
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WIDE = (1280, 900)
PHONE = (390, 844)
"""Width and height of a window in CSS pixels."""

TRACES = """id => {
  const chart = document.getElementById(id);
  const centre = (mark) => {
    const box = mark.getBoundingClientRect();
    return [box.x + box.width / 2, box.y + box.height / 2];
  };
  return chart._fullData.map((trace) => {
    const drawn = chart.querySelector(".trace" + trace.uid);
    return {
      name: trace.showlegend ? trace.name : null,
      marks: drawn ? [...drawn.querySelectorAll(".points .point")].map(centre) : [],
      lines: drawn ? drawn.querySelectorAll(".lines .js-line").length : 0,
    };
  });
}"""
"""For each trace of a chart: its name if the legend has it, its marks' places in the window, how many lines it drew."""


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
    """The mean to the digits of the page's sort keys: sums in another order are equal."""
    return round(mean(values), 6)


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
    """The page in a window, the errors that it reported, and the addresses that it asked for."""

    page: Page
    url: str
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def open(self) -> None:
        """Listen, then load the page; its script has run when this returns."""

        def listen(message: ConsoleMessage) -> None:
            if message.type == "error":
                self.errors.append(message.text)

        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", listen)
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(self.url, wait_until="load")

    def traces(self, chart: str) -> list[Any]:
        """A chart's traces; see `TRACES`."""
        found: list[Any] = self.page.evaluate(TRACES, chart)
        return found

    def marks(self, chart: str) -> dict[str, list[tuple[float, float]]]:
        """Places of a chart's marks, by the legend's name of those traces that show any."""
        return {trace["name"]: trace["marks"] for trace in self.traces(chart) if trace["marks"]}

    def counts(self, chart: str) -> dict[str, int]:
        """Numbers of a chart's marks, by the legend's name."""
        return {name: len(marks) for name, marks in self.marks(chart).items()}

    def lines(self, chart: str) -> list[str]:
        """The legend's names of those traces that show a line."""
        return [trace["name"] for trace in self.traces(chart) if trace["lines"] and trace["name"]]

    def click_legend(self, chart: str, name: str) -> None:
        self.page.locator(f"#{chart} .legend .traces", has_text=name).locator(".legendtoggle").click()

    def until(self, met: Callable[[], bool], what: str) -> None:
        """Wait until the page meets this: charts answer a click after a moment."""
        for _ in range(100):
            if met():
                return
            self.page.wait_for_timeout(50)
        pytest.fail(f"the page must show {what} within 5 s")

    def names(self) -> list[str]:
        """Architectures that the table of all shows, from top to bottom."""
        return self.page.locator("#all tbody tr:not([hidden]) td:first-child").all_inner_texts()

    def sort(self, heading: str) -> list[str]:
        """Click a heading; return the architectures in their new order."""
        self.page.locator("#all th button").get_by_text(heading, exact=True).click()
        return self.names()


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the committed run's ledger, and what the command derives from it."""
    path = tmp_path_factory.mktemp("runs") / "quickstart"
    path.mkdir()
    shutil.copy(LEDGER, path)
    done = rksearch("report", str(path))
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowserContext]:
    """The system's Chromium without a network, with a new profile."""
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        pytest.skip(f"a browser must be on PATH, but none of {', '.join(BROWSERS)} is; install Debian's chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("profile"), executable_path=executable, headless=True, args=FLAGS, offline=True
        )
        yield context
        context.close()


@pytest.fixture
def reader(browser: BrowserContext, run_dir: Path, request: pytest.FixtureRequest) -> Iterator[Reader]:
    """The open page, in a window of size `WIDE` or the parameter's. In the end it has reported no error, nor asked
    for anything but itself."""
    width, height = getattr(request, "param", WIDE)
    page = browser.new_page()
    page.set_viewport_size({"width": width, "height": height})
    reader = Reader(page=page, url=(run_dir / "report.html").as_uri())
    reader.open()
    yield reader
    page.close()
    assert reader.errors == []
    assert reader.requests == [reader.url]


def test_a_chart_of_costs_marks_every_network_at_its_place(reader: Reader) -> None:
    for cost in ("params", "macs"):
        on_front = front(cost)
        marks = reader.marks(cost)
        assert {name: len(places) for name, places in marks.items()} == {
            "Runge-Kutta front": len(on_front),
            "Baselines": len(baselines()),
            "Other Runge-Kutta networks": len(networks()) - len(on_front) - len(baselines()),
        }
        # Across, marks lie by the logarithm of the cost; down, by the error: a straight line fits them.
        across, down = np.array(marks["Runge-Kutta front"]).T
        costs = np.log10([getattr(networks()[arch], cost) for arch in on_front])
        errors = np.array([networks()[arch].error_pct for arch in on_front])
        for pixels, values, sign in ((across, costs, 1), (down, errors, -1)):
            slope, offset = np.polyfit(values, pixels, 1)
            assert np.sign(slope) == sign
            assert np.abs(slope * values + offset - pixels).max() < 0.5


def test_the_other_charts_draw_what_was_found(reader: Reader, run_dir: Path) -> None:
    assert sorted(reader.lines("curves")) == sorted([*front("params"), *baselines()])
    # One arm: its line and the two bounds of its band.
    assert [trace["lines"] for trace in reader.traces("progress")] == [1, 1, 1]
    with (run_dir / "effects.csv").open() as file:
        answered = [row["design"] for row in csv.DictReader(file) if row["low"]]
    assert answered
    assert reader.counts("effects") == {d[0].upper() + d[1:]: answered.count(d) for d in answered}


def test_pointing_at_a_mark_names_the_architecture(reader: Reader) -> None:
    from playwright.sync_api import expect

    for cost in ("params", "macs"):
        reader.page.locator(f"#{cost}").scroll_into_view_if_needed()
        label = reader.page.locator(f"#{cost} .hoverlayer .hovertext tspan.line").first
        for arch, (x, y) in zip(front(cost), reader.marks(cost)["Runge-Kutta front"], strict=True):
            reader.page.mouse.move(x, y)
            expect(label).to_have_text(arch)


def test_a_click_in_the_legend_hides_a_trace_and_shows_it_again(reader: Reader) -> None:
    before = reader.counts("params")
    rest = {name: count for name, count in before.items() if name != "Baselines"}
    reader.click_legend("params", "Baselines")
    reader.until(lambda: reader.counts("params") == rest, "all but the baselines")
    reader.click_legend("params", "Baselines")
    reader.until(lambda: reader.counts("params") == before, "the baselines again")
    # Curves of secondary interest wait behind the legend.
    others = f"{len(networks()) - len(front('params')) - len(baselines())} other networks"
    assert others not in reader.lines("curves")
    reader.click_legend("curves", others)
    reader.until(lambda: others in reader.lines("curves"), "the other networks' curves")


def test_a_heading_sorts_up_and_then_down_with_missing_values_last(reader: Reader) -> None:
    for heading, attribute in (
        ("Parameters", "params"),
        ("Validation error", "error_pct"),
        ("Test error", "test_error_pct"),
    ):
        values = {arch: getattr(network, attribute) for arch, network in networks().items()}
        known = sorted(value for value in values.values() if value is not None)
        missing = [None] * (len(values) - len(known))
        for expected in (known, known[::-1]):
            shown = reader.sort(heading)
            assert sorted(shown) == sorted(values)
            assert [values[arch] for arch in shown] == [*expected, *missing]


def test_words_and_groups_filter_the_table(reader: Reader) -> None:
    words, group, count = (reader.page.locator(f"#{name}") for name in ("filter", "group", "shown"))
    total = len(networks())
    assert sorted(reader.names()) == sorted(networks())
    for value, expected in (("baseline", baselines()), ("front", front("params")), ("macs", front("macs"))):
        group.select_option(value)
        assert sorted(reader.names()) == sorted(expected)
        assert count.inner_text() == f"{len(expected)} of {total} shown"
    group.select_option("")
    for text in ("k4", "k6", "k8", "BC k8", "k4 2x3s"):
        words.fill(text)
        found = [arch for arch in networks() if all(word in arch for word in text.split())]
        assert found
        assert sorted(reader.names()) == sorted(found)
        assert count.inner_text() == f"{len(found)} of {total} shown"


@pytest.mark.parametrize("reader", [PHONE], indirect=True)
def test_a_phone_shows_the_whole_width(reader: Reader) -> None:
    assert reader.page.evaluate("document.documentElement.scrollWidth") == PHONE[0]
    for chart in ("params", "macs", "curves", "progress", "effects"):
        drawing = reader.page.locator(f"#{chart} .main-svg").first.bounding_box()
        assert drawing is not None
        assert drawing["x"] >= 0
        assert drawing["x"] + drawing["width"] <= PHONE[0]
        assert drawing["width"] > 0.8 * PHONE[0]
    assert sum(reader.counts("params").values()) == len(networks())
