"""The page's charts as plain Plotly figures.

Colours are written as names of CSS variables (`--front`); the page's script replaces them by their values, so that the
charts follow the light or dark scheme.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence
from html import escape
from typing import Any

from rksearch.report import axes, text
from rksearch.report.cells import show
from rksearch.results.columns import Metric, arch_metric
from rksearch.results.fronts import BAND, front_band
from rksearch.results.summaries import ArchSummary, CostFunction, by_macs, by_params
from rksearch.results.tables import ArchRow, Tables

Figure = dict[str, Any]

BUNDLE_POINTS = 6_000
"""Approximate number of points of all curves of secondary interest together."""


def front_figure(tables: Tables, cost_field: str) -> Figure:
    """Cost (log scale) against error: all networks, the front as a falling step line, the baselines.

    Args:
        tables: the data that is shown.
        cost_field: `params` or `macs`.
    """
    cost: CostFunction = {"params": by_params, "macs": by_macs}[cost_field]
    front = [row.item for row in (tables.front if cost_field == "params" else tables.macs_front)]
    chosen = {item.arch for item in front}
    items = sorted(tables.items, key=lambda i: (cost(i), i.arch))
    groups = {
        "other": [i for i in items if not i.is_baseline and i.arch not in chosen],
        "base": [i for i in items if i.is_baseline],
        "front": front,
    }
    x_range = axes.log_range([cost(i) for i in items]) if items else (4.0, 6.0)
    y_range = axes.error_range(items, front) if items else (0.0, 100.0)
    traces = [
        *_band(tables, cost, 10 ** x_range[1]),
        _step_line(axes.staircase(front, cost, 10 ** x_range[1])),
        _points(
            tables,
            groups["other"],
            cost,
            "Other Runge-Kutta networks",
            "--muted",
            8 if len(items) <= 100 else 6,
            "circle",
        ),
        _points(tables, groups["base"], cost, "Baselines", "--base", 11, "square"),
        _points(tables, groups["front"], cost, "Runge-Kutta front", "--front", 11, "circle"),
    ]
    if any(i.role == "known" for i in items):
        traces.append(_legend_entry("Configuration of the paper", "diamond"))
    label = arch_metric(cost_field).label
    x_ticks = axes.log_ticks(*x_range)
    layout = {
        **shared_layout(),
        "xaxis": {
            **axis(f"{label} (log scale)"),
            "type": "log",
            "range": _rounded(x_range),
            "tickvals": [_number(t) for t in x_ticks],
            "ticktext": [text.tick(t) for t in x_ticks],
        },
        "yaxis": {**axis(_error_axis(tables)), "range": _rounded(y_range)},
        "annotations": [_name_label(i, cost, y_range[1]) for i in groups["base"]],
    }
    return {"data": [t for t in traces if t], "layout": layout}


def curves_figure(tables: Tables) -> Figure:
    """Error after each epoch, mean over seeds: front and baselines in colour, all others behind them."""
    front = [row.item.arch for row in tables.front]
    baselines = [row.item.arch for row in tables.baselines]
    rest = [row.arch for row in tables.archs if row.arch not in {*front, *baselines}]
    traces = [_bundle(tables, rest)] if rest else []
    for i, arch in enumerate(baselines):
        dash = ("dash", "dot", "dashdot", "longdash")[i % 4]
        traces.append(_curve(tables, arch, {"color": "--base", "width": 2, "dash": dash}))
    for i, arch in enumerate(front):
        traces.append(_curve(tables, arch, {"color": _shade(i, len(front)), "width": 2.25}))
    longest = max((len(c) for c in tables.curves.values()), default=1)
    layout = {
        **shared_layout(),
        "xaxis": {**axis("Epoch"), "range": [0.5 if longest < 3 else 1, longest], "tickformat": "d", "nticks": 12},
        "yaxis": {
            **axis(_error_axis(tables)),
            "range": _rounded(_curve_range(tables, [*front, *baselines])),
        },
        "legend": {"orientation": "v", "x": 1.01, "y": 1, "xanchor": "left", "yanchor": "top", "font": {"size": 11.5}},
    }
    return {"data": traces, "layout": layout}


def _error_axis(tables: Tables) -> str:
    """Title of an axis of the error that the run compares networks by."""
    return f"{tables.metric.title.capitalize()}, %"


def hover(row: ArchRow, metrics: Sequence[Metric]) -> str:
    """Text that is shown when a pointer is over an architecture.

    Args:
        row: the architecture.
        metrics: the columns of the run's architectures.
    """
    lines = [f"<b>{escape(row.arch)}</b>"]
    for metric in metrics:
        if metric.hover and getattr(row, metric.field) not in (None, ()):
            lines.append(f"{metric.label}: {escape(show(metric, row))}")
    if row.role == "known":
        lines.append("a configuration of the paper")
    if row.beaten_by:
        lines.append(f"dominated by {escape(text.listing(row.beaten_by))}")
    return "<br>".join(lines)


def _points(
    tables: Tables, items: Sequence[ArchSummary], cost: CostFunction, name: str, colour: str, size: int, symbol: str
) -> Figure | None:
    if not items:
        return None
    metrics = tables.arch_metrics
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [cost(i) for i in items],
        "y": [_number(i.error_pct) for i in items],
        "error_y": {
            "type": "data",
            "array": [_number(i.error_sd_pct or 0.0) for i in items],
            # The bars of hundreds of networks behind the front would hide everything else.
            "visible": any(i.error_sd_pct for i in items) and (colour != "--muted" or len(items) <= 60),
            "color": colour,
            "thickness": 1.4,
            "width": 4,
        },
        "hovertext": [hover(tables.row(i.arch), metrics) for i in items],
        "hovertemplate": "%{hovertext}<extra></extra>",
        "legendrank": {"--front": 1, "--muted": 2, "--base": 4}[colour],
        "marker": {
            "color": colour,
            "opacity": [_sureness(tables.row(i.arch), cost) for i in items] if colour == "--front" else 1,
            "size": [size + 2 if i.role == "known" else size for i in items],
            "symbol": ["diamond" if i.role == "known" else symbol for i in items],
            "line": {"color": "--card", "width": 1.5},
        },
    }


def _sureness(row: ArchRow, cost: CostFunction) -> float:
    """Opacity of a mark on the front: the lower the probability of being there, the paler, and always visible."""
    share = row.p_front if cost is by_params else row.p_macs_front
    return 1.0 if share is None else round(0.3 + 0.7 * share, 3)


def _band(tables: Tables, cost: CostFunction, right: float) -> list[Figure]:
    """Band that holds the whole front of true errors in 90 % of the draws."""
    searched = sorted((i for i in tables.items if not i.is_baseline), key=cost)
    if not searched or not tables.draws.spread_known:
        return []
    low, high = front_band(tables.draws.of(searched), BAND)
    x = [*(cost(i) for i in searched), right]
    shared = {"type": "scatter", "mode": "lines", "x": x, "hoverinfo": "skip", "line": {"width": 0, "shape": "hv"}}
    ends = [[_number(end) for end in (*values, values[-1])] for values in (low, high)]
    return [
        {**shared, "y": ends[0], "showlegend": False},
        {**shared, "y": ends[1], "fill": "tonexty", "fillcolor": "--band", "name": "90 % band of the whole front",
         "legendrank": 5},
    ]  # fmt: skip


def history_figure(tables: Tables) -> Figure:
    """Epochs spent against regret, one line with its band per arm."""
    traces = []
    for arm, colour, band in zip(tables.histories, ("--front", "--base"), ("--band", "--base-band"), strict=False):
        bound = {"type": "scatter", "mode": "lines", "x": list(arm.epochs), "hoverinfo": "skip", "showlegend": False}
        bound["line"] = {"width": 0, "shape": "hv"}
        traces += [
            {**bound, "y": [_number(v) for v in arm.low]},
            {**bound, "y": [_number(v) for v in arm.high], "fill": "tonexty", "fillcolor": band},
            {
                "type": "scatter",
                "mode": "lines",
                "name": arm.arm,
                "x": list(arm.epochs),
                "y": [_number(v) for v in arm.middle],
                "line": {"color": colour, "width": 2.25, "shape": "hv"},
                "hovertemplate": f"<b>{escape(arm.arm)}</b><br>%{{x}} epochs: %{{y:.3f}}<extra></extra>",
            },
        ]
    layout = {
        **shared_layout(),
        "xaxis": {**axis("Epochs spent"), "rangemode": "tozero"},
        "yaxis": {**axis("Regret to the final front, points"), "type": "log"},
        "showlegend": len(tables.histories) > 1,
    }
    return {"data": traces, "layout": layout}


def _step_line(corners: Sequence[tuple[float, float]]) -> Figure | None:
    if not corners:
        return None
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [_number(cost) for cost, _ in corners],
        "y": [_number(error) for _, error in corners],
        "line": {"color": "--front", "width": 2},
        "opacity": 0.65,
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _legend_entry(name: str, symbol: str) -> Figure:
    marker = {"color": "--muted", "size": 10, "symbol": symbol}
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [None],
        "y": [None],
        "marker": marker,
        "legendrank": 3,
    }


def _name_label(item: ArchSummary, cost: CostFunction, top: float) -> Figure:
    """A baseline's name beside its mark."""
    return {
        "x": _number(math.log10(cost(item))),
        "y": _number(min(item.error_pct, top)),
        "text": escape(item.arch),
        "showarrow": False,
        "xanchor": "left",
        "xshift": 9,
        "font": {"color": "--base-text", "size": 12},
    }


def _curve(tables: Tables, arch: str, line: Figure) -> Figure:
    errors = tables.curves[arch]
    seeds = text.count(tables.row(arch).seeds, "seed")
    return {
        "type": "scatter",
        "mode": "lines",
        "name": escape(arch),
        "x": list(range(1, len(errors) + 1)),
        "y": [_number(e) for e in errors],
        "line": line,
        "hovertemplate": f"<b>{escape(arch)}</b><br>epoch %{{x}}: %{{y:.2f}} %<br>mean of {seeds}<extra></extra>",
    }


def _bundle(tables: Tables, archs: Sequence[str]) -> Figure:
    """All curves of secondary interest as one trace, so that one click in the legend shows or hides them."""
    x: list[float | None] = []
    y: list[float | None] = []
    names: list[str] = []
    # A few points of each show the course of a curve, and the page stays small.
    each = max(2, BUNDLE_POINTS // len(archs))
    for arch in archs:
        errors = tables.curves[arch]
        last = len(errors) - 1
        shown = sorted({round(i * last / (each - 1)) for i in range(each)}) if last >= each else range(last + 1)
        x += [*(i + 1 for i in shown), None]
        y += [*(_number(errors[i]) for i in shown), None]
        names += [escape(arch)] * (len(shown) + 1)
    return {
        "type": "scatter",
        "mode": "lines",
        "name": f"{text.count(len(archs), 'other network')}",
        "x": x,
        "y": y,
        "text": names,
        "line": {"color": "--muted", "width": 1},
        "opacity": 0.5,
        "visible": "legendonly",
        "hovertemplate": "<b>%{text}</b><br>epoch %{x}: %{y:.2f} %<extra></extra>",
    }


def _curve_range(tables: Tables, archs: Sequence[str]) -> tuple[float, float]:
    errors = [e for arch in archs for e in tables.curves[arch]]
    if not errors:
        return 0.0, 100.0
    room = max(0.5, axes.PADDING * (max(errors) - min(errors)))
    return max(0.0, min(errors) - room), min(100.0, max(errors) + room)


def _shade(i: int, total: int) -> str:
    """The i-th colour from teal to violet, of a lightness that reads on white and on black."""
    hue = 0.50 + 0.30 * (i / max(1, total - 1))
    red, green, blue = (round(255 * c) for c in colorsys.hls_to_rgb(hue, 0.52, 0.58))
    return f"#{red:02x}{green:02x}{blue:02x}"


def shared_layout() -> Figure:
    """Layout that all charts share."""
    return {
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "size": 13, "color": "--text-2"},
        "margin": {"l": 58, "r": 18, "t": 40, "b": 52},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "xanchor": "left", "yanchor": "bottom"},
        "hovermode": "closest",
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": "--text-3", "activecolor": "--front"},
        "hoverlabel": {
            "align": "left",
            "bgcolor": "--card",
            "bordercolor": "--line",
            "font": {"color": "--text", "size": 13},
        },
    }


def axis(title: str) -> Figure:
    """An axis with this title, in the page's colours."""
    return {
        "title": {"text": title, "standoff": 12},
        "gridcolor": "--grid",
        "linecolor": "--line",
        "zeroline": False,
        "automargin": True,
    }


def _number(value: float) -> float:
    """The value with four decimals: more would be invisible and make the page larger."""
    return round(value, 4)


def _rounded(ends: tuple[float, float]) -> list[float]:
    return [_number(end) for end in ends]
