"""The curves of a replay as a static picture: one panel per way of proposing, with and without early stopping.

An SVG with a background of its own, in the colours of `rksearch.report.svg`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from rksearch.bench.replay.standings import Curve
from rksearch.report import axes, text

COLUMNS = 3
PANEL_WIDTH, PANEL_HEIGHT = 306, 214
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 34, 34
"""Margins within a panel."""
MARGIN, HEAD, FOOT = 14, 92, 16
"""Around all panels."""
LEAST_MISSING, MOST_MISSING = 0.002, 0.5
"""Ends of the vertical axis: the share of the true front's area that is still missing."""

STYLE = """
.card{fill:#ffffff;stroke:#d9dee7}.grid{stroke:#e8ebf1}.axis{stroke:#9aa3b2}
text{font-family:system-ui,-apple-system,"Segoe UI",Roboto,Helvetica,Arial,sans-serif;font-size:11px;fill:#59626f}
.title{font-size:17px;font-weight:650;fill:#161b24}.panel{font-size:13px;font-weight:650;fill:#161b24}
.lead{font-size:12px}polyline{fill:none}polygon{stroke:none}
.random{stroke:#8d97a8;stroke-width:1.75}.plain{stroke:#2b62dd;stroke-width:1.75;stroke-dasharray:5 3}
.early{stroke:#d9640f;stroke-width:2.25}.goal{stroke:#8d97a8;stroke-dasharray:2 3}
.band-plain{fill:#2b62dd;opacity:.12}.band-early{fill:#d9640f;opacity:.17}.band-random{fill:#8d97a8;opacity:.18}
@media (prefers-color-scheme:dark){.card{fill:#12161d;stroke:#2b323e}.grid{stroke:#232a35}.axis{stroke:#667083}
text{fill:#a3adbb}.title,.panel{fill:#eef1f6}.plain{stroke:#7ba5ff}.early{stroke:#ff9a4d}
.band-plain{fill:#7ba5ff}.band-early{fill:#ff9a4d}}
""".replace("\n", "")


def curves_svg(
    curves: Sequence[Curve], *, title: str, lead: str, goal: float, reference: str, early: tuple[str, ...]
) -> str:
    """The picture.

    Args:
        curves: of all strategies; those of one name up to a `+` share a panel.
        title, lead: heading, and a sentence below it.
        goal: median final hypervolume of the reference.
        reference: strategy that every panel shows.
        early: ends of the names of strategies that stop trainings early.
    """
    groups: dict[str, list[Curve]] = {}
    for curve in curves:
        groups.setdefault(curve.strategy.partition("+")[0], []).append(curve)
    rows = math.ceil(len(groups) / COLUMNS)
    columns = min(COLUMNS, len(groups))
    width = max(2 * MARGIN + columns * PANEL_WIDTH, 640)
    height = HEAD + rows * PANEL_HEIGHT + FOOT
    known = next((c for c in curves if c.strategy == reference), None)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'role="img" aria-labelledby="t">',
        f'<title id="t">{escape(title)}</title>',
        f"<style>{STYLE}</style>",
        f'<rect class="card" x=".5" y=".5" width="{width - 1}" height="{height - 1}" rx="10"/>',
        f'<text class="title" x="24" y="32">{escape(title)}</text>',
        f'<text class="lead" x="24" y="53">{escape(lead)}</text>',
        *_legend(reference),
    ]
    for i, (name, group) in enumerate(groups.items()):
        x = MARGIN + (i % COLUMNS) * PANEL_WIDTH
        y = HEAD + (i // COLUMNS) * PANEL_HEIGHT
        lines.append(f'<g transform="translate({x} {y})">')
        lines += _Panel(group[0].epochs[-1], early).draw(name, group, known, goal)
        lines.append("</g>")
    return "\n".join([*lines, "</svg>", ""])


class _Panel:
    """Maps epochs and missing area to one panel."""

    def __init__(self, budget: float, early: tuple[str, ...]) -> None:
        self._budget = budget
        self._early = early

    def draw(self, title: str, group: Sequence[Curve], reference: Curve | None, goal: float) -> list[str]:
        """Frame, the reference for comparison, and the group's curves with their quartiles."""
        lines = [*self._frame(), f'<text class="panel" x="{LEFT}" y="{TOP - 12}">{escape(title)}</text>']
        y = self._y(goal)
        lines.append(f'<line class="goal" x1="{LEFT}" x2="{PANEL_WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        drawn = [
            (c, "random" if c is reference else "early" if c.strategy.endswith(self._early) else "plain") for c in group
        ]
        if reference is not None and all(c is not reference for c in group):
            lines.append(self._line(reference, "random"))
        lines += [self._band(c, css) for c, css in drawn]
        lines += [self._line(c, css) for c, css in drawn]
        return lines

    def _x(self, epochs: float) -> float:
        return LEFT + epochs / self._budget * (PANEL_WIDTH - LEFT - RIGHT)

    def _y(self, value: float) -> float:
        low, high = math.log10(LEAST_MISSING), math.log10(MOST_MISSING)
        missing = math.log10(min(max(1 - value, LEAST_MISSING), MOST_MISSING))
        return TOP + (missing - low) / (high - low) * (PANEL_HEIGHT - TOP - BOTTOM)

    def _frame(self) -> list[str]:
        lines = []
        for missing in (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5):
            y = self._y(1 - missing)
            lines.append(f'<line class="grid" x1="{LEFT}" x2="{PANEL_WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            lines.append(f'<text x="{LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{100 * missing:g} %</text>')
        bottom = PANEL_HEIGHT - BOTTOM
        for epochs in axes.linear_ticks(0, self._budget, 4):
            x = self._x(epochs)
            lines.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom}"/>')
            lines.append(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{text.tick(epochs)}</text>')
        lines.append(f'<line class="axis" x1="{LEFT}" x2="{PANEL_WIDTH - RIGHT}" y1="{bottom}" y2="{bottom}"/>')
        return lines

    def _line(self, curve: Curve, css: str) -> str:
        points = [(self._x(e), self._y(v.median)) for e, v in zip(curve.epochs, curve.values, strict=True)]
        return f'<polyline class="{css}" points="{_steps(points)}"/>'

    def _band(self, curve: Curve, css: str) -> str:
        upper = [(self._x(e), self._y(v.high)) for e, v in zip(curve.epochs, curve.values, strict=True)]
        lower = [(self._x(e), self._y(v.low)) for e, v in zip(curve.epochs, curve.values, strict=True)]
        outline = upper + lower[::-1]
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in outline)
        return f'<polygon class="band-{css}" points="{points}"/>'


def _steps(points: Sequence[tuple[float, float]]) -> str:
    """A polyline that leaves out points in the midst of a level stretch."""
    kept = [
        point
        for i, point in enumerate(points)
        if i in (0, len(points) - 1) or not points[i - 1][1] == point[1] == points[i + 1][1]
    ]
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in kept)


def _legend(reference: str) -> list[str]:
    entries = [
        ("early", "with early stopping"),
        ("plain", "every training to its end"),
        ("random", reference),
        ("goal", f"where {reference} ends"),
    ]
    lines, x = [], 26.0
    for css, words in entries:
        lines.append(f'<line class="{css}" x1="{x:.0f}" x2="{x + 26:.0f}" y1="74" y2="74"/>')
        lines.append(f'<text x="{x + 32:.0f}" y="78">{words}</text>')
        x += 56 + 6.1 * len(words)
    return lines
