"""Figures as SVG: text as text, a title for each mark, light or dark by the reader's preference.

A picture brings its own ground, because the colour of a page and the viewer's preferred scheme need not agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rksearch.report.figure import LegendEntry, Panel, PlotArea, PlotCell, PlotMark, StaticFigure, firm
from rksearch.report.placing import Rectangle, obstacles, place_labels
from rksearch.report.rendering import asset, render
from rksearch.results.own_files import PICTURE_HEAD

HEAD, FOOT, SIDE = 76, 14, 14
"""Room above, below and beside the panels, in pixels."""

RIGHT, TOP, BOTTOM = 14, 26, 48
"""Margins of a panel's frame within the panel, in pixels; the left one is the figure's."""

CHARACTER = 6.6
"""Mean width of a character of the legend."""

ROW = 18
"""Height of a row of the legend, and of the lead, in pixels."""

SMALL, LARGE = 3.6, 5.4
"""Radius of marks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Places of values in a panel, in pixels.

    Attributes:
        panel: the panel.
        left, right, top, bottom: its frame.
    """

    panel: Panel
    left: float
    right: float
    top: float
    bottom: float

    def x(self, value: float) -> float:
        """Place across; a line that leaves the frame is cut by the picture, not here."""
        return self.left + self.panel.x.place(value) * (self.right - self.left)

    def y(self, value: float) -> float:
        """Place down."""
        return self.bottom - self.panel.y.place(value) * (self.bottom - self.top)

    def kept(self, value: float) -> float:
        """Place down of a mark: at the edge for values beyond it."""
        return min(max(self.y(value), self.top), self.bottom)

    @property
    def room(self) -> Rectangle:
        """The room for labels."""
        return Rectangle(self.left + 2, self.top - 4, self.right - self.left, self.bottom - self.top + 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class _PlacedMark:
    """A mark with its place, as the template writes it."""

    mark: PlotMark
    outline: str
    bars: tuple[str, ...]
    seeds: tuple[str, ...]


def figure_svg(figure: StaticFigure, *, standalone: bool = True) -> str:
    """The figure.

    Args:
        figure: what to draw.
        standalone: whether it is a file of its own, with style sheet and heading, or part of a page that has them.
    """
    rows = -(-len(figure.panels) // figure.columns)
    columns = min(figure.columns, max(1, len(figure.panels)))
    width = 2 * SIDE + columns * figure.width if figure.panels else 860
    lead = ROW if figure.lead else 0
    legend = _legend(figure.legend, *((30.0, 60.0 + lead) if standalone else (16.0, 16.0)), width - SIDE)
    further = legend[-1][3] - legend[0][3] if legend else 0  # rows of the legend below its first
    head = further + ((HEAD + lead) if standalone else (30 if figure.legend else 0))
    height = head + max(1, rows) * figure.height + FOOT
    frames = []
    for i, panel in enumerate(figure.panels):
        x, y = SIDE + i % columns * figure.width, head + i // columns * figure.height
        frames.append(
            Frame(
                panel=panel,
                left=x + figure.left,
                right=x + figure.width - RIGHT,
                top=y + TOP,
                bottom=y + figure.height - BOTTOM,
            )
        )
    return render(
        "figure.svg",
        figure=figure,
        standalone=standalone,
        head=PICTURE_HEAD,
        style=asset("templates/figure.css") if standalone else "",
        width=width,
        height=height,
        panels=[_panel(frame) for frame in frames],
        legend=legend,
    )


def _panel(frame: Frame) -> dict[str, object]:
    """What the template needs to know of a panel."""
    panel = frame.panel
    marks = [_mark(frame, mark) for mark in panel.marks]
    named = [mark for mark in panel.marks if mark.label]
    boxes = place_labels(
        [(frame.x(mark.x), frame.kept(mark.y), mark.label) for mark in named], _obstacles(frame), frame.room
    )
    above, below = panel.beyond
    beyond = [f"{number:,} {where} the axis" for number, where in ((above, "above"), (below, "below")) if number]
    return {
        "frame": frame,
        "title": panel.title,
        "x_ticks": [(_px(frame.x(value)), label) for value, label in panel.x.ticks],
        "y_ticks": [(_px(frame.y(value)), label) for value, label in panel.y.ticks],
        "cells": [(cell, *_corner(frame, cell)) for cell in panel.cells],
        "levels": [_px(frame.y(value)) for value in panel.levels],
        "areas": [(area.kind, _area(frame, area)) for area in panel.areas],
        "lines": [(line, _path(frame, line.points)) for line in panel.lines],
        "rules": [_px(frame.x(value)) for value in panel.rules],
        "marks": marks,
        "labels": [
            (mark.kind, mark.label, _px(box.x), _px(box.y + 11))
            for mark, box in zip(named, boxes, strict=True)
            if box is not None
        ],
        "beyond": ", ".join(beyond),
    }


def _corner(frame: Frame, cell: PlotCell) -> tuple[str, str, str, str]:
    """Upper left corner, width and height of a cell, as text."""
    left, right = (frame.x(value) for value in cell.x)
    bottom, top = (frame.y(value) for value in cell.y)
    return _px(left), _px(top), _px(max(0.5, right - left)), _px(max(0.0, bottom - top))


def _obstacles(frame: Frame) -> list[Rectangle]:
    marks = [(frame.x(mark.x), frame.kept(mark.y)) for mark in frame.panel.marks]
    lines = [[(frame.x(x), frame.y(y)) for x, y in line.points] for line in firm(frame.panel)]
    return obstacles(marks, lines)


def _mark(frame: Frame, mark: PlotMark) -> _PlacedMark:
    x, y = frame.x(mark.x), frame.kept(mark.y)
    bars = []
    if mark.spread is not None:
        y1, y2 = (frame.kept(end) for end in mark.spread)
        bars.append(f"M{_px(x)} {_px(y1)}V{_px(y2)}M{_px(x - 3)} {_px(y1)}h6M{_px(x - 3)} {_px(y2)}h6")
    if mark.across is not None:
        x1, x2 = (min(max(frame.x(end), frame.left), frame.right) for end in mark.across)
        bars.append(f"M{_px(x1)} {_px(y)}H{_px(x2)}")
    radius = LARGE if mark.large else SMALL
    if mark.y > frame.panel.y.high:
        outline = _polygon([(x, y), (x + radius, y + 1.7 * radius), (x - radius, y + 1.7 * radius)])
    elif mark.y < frame.panel.y.low:
        outline = _polygon([(x, y), (x + radius, y - 1.7 * radius), (x - radius, y - 1.7 * radius)])
    else:
        outline = shape_path(mark.shape, x, y, radius)
    seeds = tuple(_px(frame.y(value)) for value in mark.seeds if frame.panel.y.holds(value))
    return _PlacedMark(mark=mark, outline=outline, bars=tuple(bars), seeds=seeds)


def _legend(
    entries: Sequence[LegendEntry], left: float, y: float, right: float
) -> list[tuple[LegendEntry, str, float, float]]:
    """Of each entry the outline of its sample and the place of its words, in as many rows as they need."""
    found, x = [], left
    for entry in entries:
        if x > left and x + 14 + len(entry.words) * CHARACTER > right:
            x, y = left, y + ROW
        if entry.sample == "line":
            outline = f"M{_px(x - 8)} {_px(y)}h18"
        elif entry.sample == "area":
            outline = f"M{_px(x - 8)} {_px(y - 6)}h18v12h-18z"
        elif entry.sample == "bar":
            outline = f"M{_px(x)} {_px(y - 6)}v12m-3 0h6m-6 -12h6"
        else:
            outline = shape_path(entry.sample, x, y, LARGE if entry.kind in ("front", "base") else SMALL)
        found.append((entry, outline, x + 14, y + 4))
        x += 40 + len(entry.words) * CHARACTER
    return found


def shape_path(shape: str, x: float, y: float, radius: float) -> str:
    """The outline of a shape around a place, as the data of an SVG path."""
    r = radius
    if shape == "circle":
        return f"M{_px(x - r)} {_px(y)}a{r:g} {r:g} 0 1 0 {2 * r:g} 0a{r:g} {r:g} 0 1 0 {-2 * r:g} 0z"
    if shape == "cross":
        return f"M{_px(x - r)} {_px(y - r)}l{2 * r:g} {2 * r:g}m0 {-2 * r:g}l{-2 * r:g} {2 * r:g}"
    corners = {
        "square": [(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)],
        "diamond": [(0.0, -1.3), (1.3, 0.0), (0.0, 1.3), (-1.3, 0.0)],
        "triangle": [(0.0, -1.2), (1.1, 0.9), (-1.1, 0.9)],
    }[shape]
    return _polygon([(x + dx * r, y + dy * r) for dx, dy in corners])


def _polygon(corners: Sequence[tuple[float, float]]) -> str:
    return f"M{'L'.join(f'{_px(x)} {_px(y)}' for x, y in corners)}z"


def _path(frame: Frame, points: Sequence[tuple[float, float]]) -> str:
    return f"M{'L'.join(f'{_px(frame.x(x))} {_px(_near(frame, y))}' for x, y in points)}" if points else ""


def _area(frame: Frame, area: PlotArea) -> str:
    upper = [(frame.x(x), _near(frame, y)) for x, y in zip(area.x, area.high, strict=True)]
    lower = [(frame.x(x), _near(frame, y)) for x, y in zip(area.x, area.low, strict=True)]
    return _polygon([*upper, *lower[::-1]]) if upper else ""


def _near(frame: Frame, value: float) -> float:
    """Place down, not farther from the frame than its height: logarithms of nothing are infinite."""
    tall = frame.bottom - frame.top
    return min(max(frame.y(value), frame.top - tall), frame.bottom + tall)


def _px(value: float) -> str:
    return f"{value:.1f}"
