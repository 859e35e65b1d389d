"""A space as one self-contained page: its networks by cost, the cuts of each budget, and the baselines.

The page draws every member; for the largest spaces it draws a uniform sample, and says so.
The histogram over parameters is always exact.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise

import numpy as np

from rksearch.arch.arrays import Integers
from rksearch.arch.cost import cost
from rksearch.report import axes, text
from rksearch.report.density import Cell, count_cells, density_cells
from rksearch.report.figure import Panel, PlotAxis, PlotCell, PlotMark, StaticFigure, axis_of
from rksearch.report.rendering import asset, render
from rksearch.report.svg import figure_svg
from rksearch.results.own_files import page_head
from rksearch.space.space import Space
from rksearch.space.text import REJECTION_WORDS, describe_space

DRAWN_IN_FULL = 20_000_000
"""Largest space of which every member is drawn; ten million members take some four seconds."""

DRAWN = 2_000
"""Number of members of larger spaces that are drawn, uniformly."""


WRITTEN_BY = "rksearch space show"
"""The command that writes the page, which the page names as its generator."""


def space_page(space: Space) -> str:
    """The page as HTML, without scripts and without anything from a network."""
    total = len(space)
    if total <= DRAWN_IN_FULL:
        chunks = space.costs()
        caption = f"Darker cells hold more networks; all {total:,} are drawn."
    else:
        data = space.definition.dataset
        drawn = [cost(spec, data) for spec in space.sample(DRAWN, seed=0)]
        chunks = iter([np.array([[c.params for c in drawn], [c.macs for c in drawn]], np.int64)])
        caption = f"{DRAWN:,} networks drawn uniformly from {total:,}; the histogram below is exact."
    return render(
        "space.html",
        space=space,
        head=page_head(WRITTEN_BY),
        total=total,
        style=asset("templates/figure.css"),
        cloud=figure_svg(_cloud(space, chunks), standalone=False),
        bars=figure_svg(_bars(space), standalone=False),
        caption=caption,
        cuts=[
            (words, space.rejected[key], 100 * space.rejected[key] / space.canonical_size)
            for key, words in REJECTION_WORDS.items()
        ],
        described=describe_space(space),
    )


def _log_axis(title: str, low: float, high: float) -> PlotAxis:
    low, high = max(low, 1.0), max(high, low * 1.01, 2.0)
    return axis_of(title, low, high, axes.log_ticks(math.log10(low), math.log10(high)), log=True, sizes=True)


def _cloud(space: Space, chunks: Iterable[Integers]) -> StaticFigure:
    definition = space.definition
    baselines = [(str(spec), cost(spec, definition.dataset)) for spec in definition.baselines]
    params = [space.smallest.params, space.largest.params, *(c.params for _, c in baselines)]
    macs = [space.fewest_macs.macs, space.most_macs.macs, *(c.macs for _, c in baselines)]
    x = _log_axis("Parameters", 0.8 * min(params), 1.25 * max(params))
    y = _log_axis("Multiply-adds", 0.8 * min(macs), 1.25 * max(macs))
    marks = tuple(
        PlotMark(
            x=counted.params,
            y=counted.macs,
            kind="base",
            shape="square",
            title=f"{name}: {text.size(counted.params)} parameters, {text.size(counted.macs)} multiply-adds",
            label=name,
            large=True,
        )
        for name, counted in baselines
    )
    counts: Counter[Cell] = Counter()
    for own in chunks:
        counts += count_cells(own[0], own[1], x, y)
    panel = Panel(
        x=x,
        y=y,
        cells=density_cells(counts, x, y),
        marks=marks,
        rules=tuple(end for end in (definition.params.low, definition.params.high) if end and x.holds(end)),
        levels=tuple(end for end in (definition.macs.low, definition.macs.high) if end and y.holds(end)),
    )
    alt = "networks within the budgets, by parameters and multiply-adds"
    return StaticFigure(name="cloud", title=space.name, alt=alt, panels=(panel,), height=460)


def _bars(space: Space) -> StaticFigure:
    edges, counts = space.histogram
    most = max(counts)
    cells = tuple(
        PlotCell(x=(max(1, low), high), y=(0.0, count), title=f"{low + 1:,} to {high:,}: {count:,}")
        for (low, high), count in zip(pairwise(edges), counts, strict=True)
    )
    panel = Panel(
        x=_log_axis("Parameters", max(1, edges[0]), edges[-1]),
        y=PlotAxis(
            title="Networks",
            low=0.0,
            high=1.05 * most,
            ticks=tuple((value, text.tick(value)) for value in axes.linear_ticks(0, most, 4)),
        ),
        cells=cells,
    )
    return StaticFigure(name="bars", title=space.name, alt="exact histogram of parameters", panels=(panel,), height=240)
