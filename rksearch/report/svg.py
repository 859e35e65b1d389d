"""The front as a static picture for READMEs: an SVG written by hand, readable on light and dark pages.

It brings its own background, because a page's theme and the viewer's preferred scheme need not agree. Labels are placed
one after the other where they cover the least; marks differ in shape as well as colour.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from rksearch.report import axes, text
from rksearch.results.fronts import rk_front
from rksearch.results.summaries import ArchSummary, by_params
from rksearch.space.plan import TOP1

WIDTH, HEIGHT = 860, 500
LEFT, RIGHT, TOP, BOTTOM = 66, 28, 92, 58
CHARACTER = 6.6
"""Mean width of a character, in user units; an estimate that suits common sans-serif fonts."""
BOLD = 7.7
"""The same for labels, which are bold and must not be thought narrower than they are."""

STYLE = """
.card{fill:#ffffff;stroke:#d9dee7}.grid{stroke:#e8ebf1}.axis{stroke:#9aa3b2}
text{font-family:system-ui,-apple-system,"Segoe UI",Roboto,Helvetica,Arial,sans-serif;font-size:12px;fill:#59626f}
.title{font-size:17px;font-weight:650;fill:#161b24}.name{fill:#a8480c;font-weight:600}.end{fill:#1d4fc4;font-weight:600}
.halo{paint-order:stroke;stroke:#ffffff;stroke-width:4px;stroke-linejoin:round}
.other{fill:#aab3c2}.step{fill:none;stroke:#2b62dd;stroke-width:2.25}.front{fill:#2b62dd;stroke:#ffffff;stroke-width:1.5}
.base{fill:#d9640f;stroke:#ffffff;stroke-width:1.5}.bar{stroke-width:1.5}.bar.f{stroke:#2b62dd}.bar.b{stroke:#d9640f}
@media (prefers-color-scheme:dark){.card{fill:#12161d;stroke:#2b323e}.grid{stroke:#232a35}.axis{stroke:#667083}
text{fill:#a3adbb}.title{fill:#eef1f6}.name{fill:#ffac6b}.end{fill:#9dbcff}.halo{stroke:#12161d}.other{fill:#566073}
.step{stroke:#7ba5ff}.front{fill:#7ba5ff;stroke:#12161d}.base{fill:#ff9a4d;stroke:#12161d}
.bar.f{stroke:#7ba5ff}.bar.b{stroke:#ff9a4d}}
""".replace("\n", "")


@dataclass(frozen=True, slots=True)
class _Box:
    """A rectangle that something on the picture covers."""

    x: float
    y: float
    width: float
    height: float

    def overlap(self, other: _Box) -> float:
        """Area that both cover."""
        across = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        down = min(self.y + self.height, other.y + other.height) - max(self.y, other.y)
        return max(0.0, across) * max(0.0, down)


class _Plot:
    """Maps costs and errors to the picture and collects its elements."""

    def __init__(self, items: Sequence[ArchSummary], front: Sequence[ArchSummary]) -> None:
        self.x_range = axes.log_range([item.params for item in items])
        self.y_range = axes.error_range(items, front)
        self.error = items[0].metric.title
        self.lines: list[str] = []
        self.marks: list[_Box] = []
        self.labels: list[_Box] = []

    def x(self, params: float) -> float:
        low, high = self.x_range
        return LEFT + (math.log10(params) - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    def y(self, error_pct: float) -> float:
        low, high = self.y_range
        inside = min(max(error_pct, low), high)
        return HEIGHT - BOTTOM - (inside - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    def add(self, element: str) -> None:
        self.lines.append(element)

    def frame(self) -> None:
        """Grid, ticks and axis titles."""
        bottom = HEIGHT - BOTTOM
        for value in axes.linear_ticks(*self.y_range):
            y = self.y(value)
            self.add(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            self.add(f'<text x="{LEFT - 10}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
        for value in axes.log_ticks(*self.x_range):
            x = self.x(value)
            self.add(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom}"/>')
            self.add(f'<text x="{x:.1f}" y="{bottom + 20}" text-anchor="middle">{text.tick(value)}</text>')
        self.add(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{bottom}" y2="{bottom}"/>')
        middle = (LEFT + WIDTH - RIGHT) / 2
        self.add(f'<text x="{middle:.0f}" y="{HEIGHT - 14}" text-anchor="middle">parameters (log scale)</text>')
        self.add(f'<text transform="translate(20 {(TOP + bottom) / 2:.0f}) rotate(-90)" text-anchor="middle">'
                 f"{self.error}, %</text>")  # fmt: skip

    def mark(self, item: ArchSummary, kind: str) -> None:
        """The architecture's shape, with its spread where it has one; beyond the top edge a triangle."""
        x, y = self.x(item.params), self.y(item.error_pct)
        tip = f"<title>{escape(item.arch)}: {text.size(item.params)} parameters, {_error(item)}</title>"
        sd = item.error_sd_pct
        if sd and kind != "other":
            y1, y2 = self.y(item.error_pct - sd), self.y(item.error_pct + sd)
            bar = f'class="bar {kind[0]}"'
            self.add(f'<line {bar} x1="{x:.1f}" x2="{x:.1f}" y1="{y1:.1f}" y2="{y2:.1f}"/>')
            for end in (y1, y2):
                self.add(f'<line {bar} x1="{x - 3:.1f}" x2="{x + 3:.1f}" y1="{end:.1f}" y2="{end:.1f}"/>')
        above = item.error_pct > self.y_range[1]
        shape = "up" if above else "square" if kind == "base" else "diamond" if item.role == "known" else "circle"
        self.add(_shape(shape, x, y, 3.6 if kind == "other" else 5.4, kind, tip))
        self.marks.append(_Box(x - 6, y - 6, 12, 12))

    def label(self, item: ArchSummary, words: str, css: str) -> None:
        """The words beside the mark, on the side where they cover the least."""
        x, y = self.x(item.params), self.y(item.error_pct)
        width, height = len(words) * BOLD, 15.0
        sides = [(x + 10, y - 7), (x - 10 - width, y - 7), (x - width / 2, y - 26), (x - width / 2, y + 12)]
        sides += [(x + 7, y - 23), (x + 7, y + 9), (x - 7 - width, y - 23), (x - 7 - width, y + 9)]
        sides += [(x + 12, y - 40), (x + 12, y + 26), (x - 12 - width, y + 26), (x - 12 - width, y - 40)]
        # `min` keeps the first of equals, so that the nearest sides are preferred.
        box = min((_Box(bx, by, width, height) for bx, by in sides), key=self._cover)
        self.labels.append(box)
        self.add(f'<text class="{css} halo" x="{box.x:.1f}" y="{box.y + 11:.1f}">{escape(words)}</text>')

    def _cover(self, box: _Box) -> float:
        inside = _Box(LEFT + 2, TOP - 6, WIDTH - LEFT - RIGHT + 14, HEIGHT - TOP - BOTTOM + 4)
        outside = box.width * box.height - box.overlap(inside)
        return 4 * outside + 3 * sum(map(box.overlap, self.labels)) + sum(map(box.overlap, self.marks))

    def steps(self, corners: Sequence[tuple[float, float]]) -> None:
        """The staircase of the front."""
        ends = [(self.x(cost), self.y(error)) for cost, error in corners]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in ends)
        if ends:
            self.add(f'<polyline class="step" points="{path}"/>')
        for (x1, y1), (x2, y2) in pairwise(ends):
            self.marks.append(_Box(min(x1, x2) - 2, min(y1, y2) - 2, abs(x2 - x1) + 4, abs(y2 - y1) + 4))


def front_svg(items: Sequence[ArchSummary], title: str) -> str:
    """The picture: parameters against mean error, the front as a staircase, baselines with their names."""
    error = (items[0].metric if items else TOP1).title
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        'role="img" aria-labelledby="t">',
        f'<title id="t">{escape(title)}: parameters and {error} of {len(items)} architectures</title>',
        f"<style>{STYLE}</style>",
        f'<rect class="card" x=".5" y=".5" width="{WIDTH - 1}" height="{HEIGHT - 1}" rx="10"/>',
        f'<text class="title" x="24" y="35">{escape(title)}</text>',
    ]
    if not items:
        middle = f'x="{WIDTH // 2}" y="{HEIGHT // 2}" text-anchor="middle"'
        return "\n".join([*head, f"<text {middle}>No network has been trained to the end yet.</text>", "</svg>", ""])
    front = rk_front(items)
    chosen = {item.arch for item in front}
    plot = _Plot(items, front)
    plot.frame()
    plot.steps(axes.staircase(front, by_params, 10 ** plot.x_range[1]))
    baselines = sorted((i for i in items if i.is_baseline), key=lambda i: (i.params, i.arch))
    for kind, group in (
        ("other", [i for i in items if not i.is_baseline and i.arch not in chosen]),
        ("base", baselines),
        ("front", front),
    ):
        for item in group:
            plot.mark(item, kind)
    for item in baselines:
        plot.label(item, item.arch, "name")
    for item in dict.fromkeys([*front[:1], *front[-1:]]):
        plot.label(item, text.pct(item.error_pct), "end")
    return "\n".join([*head, *_legend(items, chosen), *plot.lines, "</svg>", ""])


def _legend(items: Sequence[ArchSummary], chosen: set[str]) -> list[str]:
    entries = [("circle", 5.4, "front", "Runge-Kutta front")] if chosen else []
    if any(not i.is_baseline and i.arch not in chosen for i in items):
        entries.append(("circle", 3.6, "other", "other Runge-Kutta networks"))
    if any(i.role == "known" for i in items):
        entries.append(("diamond", 4.6, "other", "configuration of the paper"))
    if any(i.is_baseline for i in items):
        entries.append(("square", 5.4, "base", "baselines"))
    if any((i.error_sd_pct or 0) > 0 for i in items):
        entries.append(("bar", 5.4, "front", "± sd over seeds"))
    lines, x = [], 30.0
    for shape, radius, css, words in entries:
        lines.append(_shape(shape, x, 60, radius, css, ""))
        lines.append(f'<text x="{x + 11:.1f}" y="64">{words}</text>')
        x += 34 + len(words) * CHARACTER
    return lines


def _shape(shape: str, x: float, y: float, r: float, css: str, tip: str) -> str:
    if shape == "circle":
        return f'<circle class="{css}" cx="{x:.1f}" cy="{y:.1f}" r="{r}">{tip}</circle>'
    if shape == "square":
        corner = f'x="{x - r:.1f}" y="{y - r:.1f}" width="{2 * r:.1f}" height="{2 * r:.1f}"'
        return f'<rect class="{css}" {corner} rx="1.5">{tip}</rect>'
    if shape == "bar":
        return f'<path class="bar {css[0]}" d="M{x:.1f} {y - r:.1f}v{2 * r:.1f}m-3 0h6m-6 -{2 * r:.1f}h6"/>'
    big = r * 1.25
    points = [(x, y - big), (x + big, y), (x, y + big), (x - big, y)]
    if shape == "up":
        points = [(x, y - r), (x + r, y + r), (x - r, y + r)]
    path = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
    return f'<polygon class="{css}" points="{path}">{tip}</polygon>'


def _error(item: ArchSummary) -> str:
    return f"{item.metric.title} {text.mean_sd(item.error_pct, item.error_sd_pct)}"
