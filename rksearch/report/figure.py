"""Static figures as values: panels with axes, marks, lines and areas.

Whoever makes a figure (`rksearch.report.figures`) knows what it shows; `rksearch.report.svg` writes it for pages and
`rksearch.report.printing` for paper. A kind (`front`, `base`, `other`, ...) is a class of the one style sheet.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rksearch.report import text

MOST_CORNERS = 200
"""Number of corners from which on a line is no obstacle to labels: it is everywhere."""

Shape = Literal["circle", "square", "diamond", "triangle", "cross"]

PlotKind = Literal["front", "base", "other", "control", "plain", "goal"]
"""What a mark, line or area stands for: the front, baselines, other networks, the control arm; `plain` and `goal` are
lines for comparison."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlotAxis:
    """An axis.

    Attributes:
        title: quantity with its unit.
        low, high: its ends.
        ticks: values with their labels, inside the ends.
        log: whether it is logarithmic; its ends are then positive.
    """

    title: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    log: bool = False

    def place(self, value: float) -> float:
        """The value's place: 0 at the low end, 1 at the high one; beyond them for values that lie outside."""
        if self.log:
            low, high = math.log10(self.low), math.log10(self.high)
            value = math.log10(value) if value > 0 else low - (high - low)
            return (value - low) / (high - low)
        return (value - self.low) / (self.high - self.low)

    def holds(self, value: float) -> bool:
        """Whether the value lies between the ends."""
        return self.low <= value <= self.high


def axis_of(
    title: str, low: float, high: float, ticks: Sequence[float], *, log: bool = False, sizes: bool = False
) -> PlotAxis:
    """An axis whose ticks are labelled as numbers, or as sizes (`12k`)."""
    label = text.tick if sizes else "{:g}".format
    return PlotAxis(title=title, low=low, high=high, ticks=tuple((t, label(t)) for t in ticks), log=log)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlotMark:
    """A point.

    Attributes:
        x, y: its place.
        kind, shape: its looks; shapes differ by kind, so that grey pictures can be read.
        title: what it is, for those who point at it or hear it read.
        arch: architecture that it stands for; empty for none.
        spread: ends of its bar along y; None without one.
        across: the same along x.
        seeds: values of single trainings along y.
        strength: opacity, from 0 to 1.
        label: words beside it; empty for none. Labels that would collide are left out, the last ones first.
        large: whether it matters most.
        group: what it belongs to, so that a page can hide it; empty for nothing.
    """

    x: float
    y: float
    kind: PlotKind
    shape: Shape
    title: str
    arch: str = ""
    spread: tuple[float, float] | None = None
    across: tuple[float, float] | None = None
    seeds: tuple[float, ...] = ()
    strength: float = 1.0
    label: str = ""
    large: bool = False
    group: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlotLine:
    """A line through points, which may leave the frame: it is cut there.

    Attributes:
        points: x and y of each corner.
        kind: its looks.
        title: what it is.
        dash: 0 for a solid line, 1, 2, ... for dashes that differ.
        group: as that of a mark.
    """

    points: tuple[tuple[float, float], ...]
    kind: PlotKind
    title: str = ""
    dash: int = 0
    group: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlotArea:
    """An area between two lines at the same x."""

    x: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    kind: PlotKind


@dataclass(frozen=True, slots=True, kw_only=True)
class PlotCell:
    """A rectangle between two values of x and two of y: a bar, or a cell of a map of density.

    Attributes:
        x, y: its ends along each axis.
        strength: opacity, from 0 to 1.
        title: what it holds.
    """

    x: tuple[float, float]
    y: tuple[float, float]
    title: str
    strength: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One pair of axes with what stands in it.

    Attributes:
        x, y: the axes.
        cells, areas, lines, marks: drawn in this order.
        title: words above; empty in figures of one panel.
        rules, levels: values of x and of y at which a dotted line stands.
    """

    x: PlotAxis
    y: PlotAxis
    cells: tuple[PlotCell, ...] = ()
    areas: tuple[PlotArea, ...] = ()
    lines: tuple[PlotLine, ...] = ()
    marks: tuple[PlotMark, ...] = ()
    title: str = ""
    rules: tuple[float, ...] = ()
    levels: tuple[float, ...] = ()

    @property
    def beyond(self) -> tuple[int, int]:
        """Numbers of marks above and below the axis of y."""
        ys = [mark.y for mark in self.marks]
        return sum(y > self.y.high for y in ys), sum(y < self.y.low for y in ys)


def firm(panel: Panel) -> list[PlotLine]:
    """The lines that labels should not cover: those of the fronts."""
    return [line for line in panel.lines if line.kind in ("front", "base") and len(line.points) < MOST_CORNERS]


@dataclass(frozen=True, slots=True, kw_only=True)
class LegendEntry:
    """An entry of the legend: a sample, `line` and `area` beside the shapes of marks, and its words."""

    sample: Shape | Literal["line", "area", "bar"]
    kind: PlotKind
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticFigure:
    """A figure.

    Attributes:
        name: name of its files.
        title: heading.
        alt: what it shows, for those who do not see it.
        panels: from left to right, then from top to bottom.
        legend: its entries.
        lead: a sentence below the heading; empty for none.
        columns: panels beside one another.
        width, height: of a panel with its margins, in pixels.
        left: margin left of a panel's frame, in pixels.
        empty: words in place of the panels where there are none.
    """

    name: str
    title: str
    alt: str
    panels: tuple[Panel, ...]
    legend: tuple[LegendEntry, ...] = ()
    lead: str = ""
    columns: int = 1
    width: int = 860
    height: int = 410
    left: int = 66
    empty: str = "No network has been trained to the end yet."
