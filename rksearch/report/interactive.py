"""The figure of a front for notebooks, by plotly: to point at, to zoom into and to change."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rksearch.report import text
from rksearch.report.figure import PlotAxis, PlotMark
from rksearch.report.figures import BAND_LABEL, BY_PARAMS, CostAxis, front_figure
from rksearch.report.printing import COLOURS, SHADE
from rksearch.results.summaries import ArchSummary
from rksearch.results.tables import Tables

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

SYMBOLS = {"circle": "circle", "square": "square", "diamond": "diamond", "triangle": "triangle-up", "cross": "x"}
FRONTS = {"front": "front of Runge-Kutta networks", "base": "front of baselines"}


def interactive_front(tables: Tables, name: str, cost: CostAxis = BY_PARAMS) -> Figure:
    """`front_figure` as a figure of plotly's: the same networks, fronts, band, bars and axes.

    Args:
        tables: of a run with a complete training.
        name: of the run.
        cost: the cost across.
    """
    from plotly.graph_objects import Figure

    static = front_figure(tables, name, cost)
    (panel,) = static.panels
    figure = Figure()
    for area in panel.areas:
        corners = {"x": [*area.x, *reversed(area.x)], "y": [*area.high, *reversed(area.low)]}
        looks = {"mode": "lines", "line_width": 0, "fill": "toself", "fillcolor": COLOURS[area.kind], "opacity": SHADE}
        figure.add_scatter(**corners, **looks, name=BAND_LABEL, hoverinfo="skip")
    for cell in panel.cells:  # in place of the marks of very many networks
        ends = {"x0": cell.x[0], "x1": cell.x[1], "y0": cell.y[0], "y1": cell.y[1]}
        figure.add_shape(**ends, fillcolor=COLOURS["other"], opacity=cell.strength, line_width=0, layer="below")
    for line in panel.lines:
        x, y = zip(*line.points, strict=True)
        figure.add_scatter(
            x=x, y=y, mode="lines", line_color=COLOURS[line.kind], name=FRONTS[line.kind], hoverinfo="skip"
        )
    items = {item.arch: item for item in tables.items}
    words = {(entry.sample, entry.kind): entry.words for entry in static.legend}
    groups: dict[str, list[PlotMark]] = {}
    for mark in panel.marks:
        groups.setdefault(words.get((mark.shape, mark.kind)) or words["circle", mark.kind], []).append(mark)
    for label, marks in groups.items():
        figure.add_scatter(**_marks(marks, items), name=label)
    figure.update_layout(title=static.title, template="plotly_white", xaxis=_axis(panel.x), yaxis=_axis(panel.y))
    return figure


def _marks(marks: list[PlotMark], items: Mapping[str, ArchSummary]) -> dict[str, Any]:
    """Marks of one kind, with bars of a standard deviation where several seeds are known."""
    return {
        "x": [mark.x for mark in marks],
        "y": [mark.y for mark in marks],
        "mode": "markers",
        "marker": {
            "color": COLOURS[marks[0].kind],
            "symbol": [SYMBOLS[mark.shape] for mark in marks],
            "size": 9 if marks[0].large else 6,
        },
        "error_y": {"type": "data", "array": [mark.spread and mark.spread[1] - mark.y for mark in marks]},
        "text": [_hover(items[mark.arch]) for mark in marks],
        "hovertemplate": "%{text}<extra></extra>",
    }


def _hover(item: ArchSummary) -> str:
    error = f"{item.metric.title} {text.mean_sd(item.error_pct, item.error_sd_pct)}"
    counts = f"{item.params:,} parameters, {item.macs:,} MACs"
    return f"<b>{item.arch}</b><br>{counts}<br>{error}, {text.count(item.seeds, 'seed')}"


def _axis(axis: PlotAxis) -> dict[str, Any]:
    ends = (axis.low, axis.high)
    return {
        "title": axis.title,
        "type": "log" if axis.log else "linear",
        "range": [math.log10(end) for end in ends] if axis.log else list(ends),
        "tickvals": [value for value, _ in axis.ticks],
        "ticktext": [label for _, label in axis.ticks],
    }
