"""The curves of a replay as a static picture: one panel per way of proposing, with and without early stopping."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rksearch.bench.replay.standings import Curve
from rksearch.report import axes, text
from rksearch.report.figure import LegendEntry, Panel, PlotArea, PlotAxis, PlotKind, PlotLine, StaticFigure
from rksearch.report.svg import figure_svg

COLUMNS = 3
PANEL_WIDTH, PANEL_HEIGHT = 306, 232
LEAST_MISSING, MOST_MISSING = 0.002, 0.5
"""Ends of the vertical axis: the share of the true front's area that is still missing."""
TICKS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)


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
    known = next((c for c in curves if c.strategy == reference), None)
    samples: tuple[tuple[PlotKind, str], ...] = (
        ("base", "with early stopping"),
        ("front", "every training to its end"),
        ("plain", reference),
        ("goal", f"where {reference} ends"),
    )
    figure = StaticFigure(
        name="replay",
        title=title,
        lead=lead,
        alt="share of the front that is still missing, against epochs spent, for each strategy",
        panels=tuple(_panel(name, group, known, goal, early) for name, group in groups.items()),
        legend=tuple(LegendEntry(sample="line", kind=kind, words=words) for kind, words in samples),
        columns=COLUMNS,
        width=PANEL_WIDTH,
        height=PANEL_HEIGHT,
        left=54,
        empty="No strategy was replayed.",
    )
    return figure_svg(figure)


def _panel(title: str, group: Sequence[Curve], reference: Curve | None, goal: float, early: tuple[str, ...]) -> Panel:
    """The group's curves with their quartiles, and the reference for comparison."""
    budget = float(group[0].epochs[-1])
    drawn: list[tuple[Curve, PlotKind]] = [
        (c, "plain" if c is reference else "base" if c.strategy.endswith(early) else "front") for c in group
    ]
    beside: list[tuple[Curve, PlotKind]] = []
    if reference is not None and all(c is not reference for c in group):
        beside.append((reference, "plain"))
    level = _missing(goal)
    return Panel(
        title=title,
        x=PlotAxis(
            title="",
            low=0.0,
            high=budget,
            ticks=tuple((value, text.tick(value)) for value in axes.linear_ticks(0, budget, 4)),
        ),
        y=PlotAxis(
            title="",
            low=LEAST_MISSING,
            high=MOST_MISSING,
            ticks=tuple((share, f"{100 * share:g} %") for share in TICKS),
            log=True,
        ),
        areas=tuple(_area(curve, kind) for curve, kind in drawn),
        lines=(
            PlotLine(points=((0.0, level), (budget, level)), kind="goal"),
            *(_line(curve, kind) for curve, kind in (*beside, *drawn)),
        ),
    )


def _missing(value: float) -> float:
    """The share that is still missing, within the axis."""
    return min(max(1 - value, LEAST_MISSING), MOST_MISSING) if math.isfinite(value) else MOST_MISSING


def _line(curve: Curve, kind: PlotKind) -> PlotLine:
    points = [(float(e), _missing(v.median)) for e, v in zip(curve.epochs, curve.values, strict=True)]
    return PlotLine(points=tuple(_steps(points)), kind=kind, title=curve.strategy, dash=1 if kind == "front" else 0)


def _area(curve: Curve, kind: PlotKind) -> PlotArea:
    return PlotArea(
        x=tuple(map(float, curve.epochs)),
        low=tuple(_missing(v.high) for v in curve.values),
        high=tuple(_missing(v.low) for v in curve.values),
        kind=kind,
    )


def _steps(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points without those in the midst of a level stretch."""
    return [
        point
        for i, point in enumerate(points)
        if i in (0, len(points) - 1) or not points[i - 1][1] == point[1] == points[i + 1][1]
    ]
