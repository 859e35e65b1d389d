"""A space as one self-contained page: its networks by cost, the cuts of each budget, and the baselines.

The page draws every member; for the largest spaces it draws a uniform sample, and says so.
The histogram over parameters is always exact.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from html import escape

import numpy as np

from rksearch.arch.arrays import Floats, Integers
from rksearch.arch.cost import cost
from rksearch.space.space import Space
from rksearch.space.text import REJECTION_WORDS, describe_space

DRAWN_IN_FULL = 20_000_000
"""Largest space of which every member is drawn; ten million members take some four seconds."""

DRAWN = 2_000
"""Number of members of larger spaces that are drawn, uniformly."""

CELLS = 64
"""Cells of the cloud in each direction."""

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 820, 460, 74, 46, 12
"""Sizes of the picture and of its margins, in pixels."""

GENERATOR = '<meta name="generator" content="rksearch space show">'
"""What tells such a page from others."""

STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1b; --dim: #666; --paper: #fff; --cell: #2864b4; --base: #c2410c;
  --line: #9a3412; }
@media (prefers-color-scheme: dark) { :root { --ink: #eee; --dim: #aaa; --paper: #141414; --cell: #7fb2f5;
  --base: #fb923c; --line: #fdba74; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 860px;
  margin: 2rem auto; padding: 0 1rem; }
svg { width: 100%; height: auto; } svg text { font: 12px system-ui, sans-serif; fill: var(--ink); }
.cell { fill: var(--cell); } .base { fill: var(--base); } .axis { stroke: var(--dim); }
.budget { stroke: var(--line); stroke-dasharray: 5 4; } td, th { padding: .15rem .8rem .15rem 0; text-align: left; }
td.n { text-align: right; font-variant-numeric: tabular-nums; } pre { overflow-x: auto; }
"""


class _Scale:
    """A logarithmic axis from one count to another, in pixels."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self.low, self.high = math.log10(max(low, 1)), math.log10(max(high, low * 1.01, 2))
        self.start, self.end = start, end

    def share(self, value: float) -> float:
        """Position of a value on the axis, 0 to 1 within it."""
        return (math.log10(max(value, 1)) - self.low) / (self.high - self.low)

    def shares(self, values: Integers) -> Floats:
        """Positions of many values."""
        return np.asarray((np.log10(np.maximum(values, 1)) - self.low) / (self.high - self.low))

    def pixel(self, value: float) -> float:
        """Pixel at which a value is drawn."""
        return self.start + self.share(value) * (self.end - self.start)

    def ticks(self) -> list[int]:
        """Round values on the axis."""
        found = [
            step * 10**power
            for power in range(int(self.low), int(self.high) + 1)
            for step in (1, 2, 5)
            if self.low <= math.log10(step * 10**power) <= self.high
        ]
        return found


def space_page(space: Space) -> str:
    """The page as HTML, without scripts and without anything from a network."""
    title = escape(space.name)
    total = len(space)
    if total <= DRAWN_IN_FULL:
        chunks = space.costs()
        caption = f"Darker cells hold more networks; all {total:,} are drawn."
    else:
        data = space.definition.dataset
        drawn = [cost(spec, data) for spec in space.sample(DRAWN, seed=0)]
        chunks = iter([np.array([[c.params for c in drawn], [c.macs for c in drawn]], np.int64)])
        caption = f"{DRAWN:,} networks drawn uniformly from {total:,}; the histogram below is exact."
    return "\n".join(
        [
            "<!doctype html>",
            f'<html lang="en"><head><meta charset="utf-8">{GENERATOR}<title>{title}</title>',
            f"<style>{STYLE}</style></head><body>",
            f"<h1>{title}</h1><p>{escape(space.definition.description)}</p>",
            f"<p>{space.raw_size:,} combinations, {space.canonical_size:,} different networks, "
            f"<strong>{total:,} within the budgets</strong>.</p>",
            "<h2>Parameters and multiply-adds</h2>",
            _cloud(space, chunks),
            f"<p>{caption} Dashed lines are budgets, squares are baselines.</p>",
            "<h2>Within budget, by parameters</h2>",
            _bars(space),
            "<h2>What each budget cuts</h2>",
            _cuts(space),
            f"<h2>In full</h2><pre>{escape(describe_space(space))}</pre>",
            "</body></html>",
            "",
        ]
    )


def _cloud(space: Space, chunks: Iterable[Integers]) -> str:
    definition = space.definition
    baselines = [(str(spec), cost(spec, definition.dataset)) for spec in definition.baselines]
    params = [space.smallest.params, space.largest.params, *(c.params for _, c in baselines)]
    macs = [space.fewest_macs.macs, space.most_macs.macs, *(c.macs for _, c in baselines)]
    x = _Scale(0.8 * min(params), 1.25 * max(params), LEFT, WIDTH - 10)
    y = _Scale(0.8 * min(macs), 1.25 * max(macs), HEIGHT - BOTTOM, TOP)
    cells: Counter[tuple[int, int]] = Counter()
    for counts in chunks:
        place = (CELLS * x.shares(counts[0])).astype(np.int64) * CELLS + (CELLS * y.shares(counts[1])).astype(np.int64)
        for cell, count in zip(*np.unique(place, return_counts=True), strict=True):
            cells[divmod(int(cell), CELLS)] += int(count)
    most = max(cells.values())
    wide, high = (WIDTH - 10 - LEFT) / CELLS, (HEIGHT - BOTTOM - TOP) / CELLS
    parts = [_frame(x, "parameters", vertical=False), _frame(y, "multiply-adds", vertical=True)]
    for (column, row), count in sorted(cells.items()):
        shade = 0.15 + 0.85 * math.log1p(count) / math.log1p(most)
        parts.append(
            f'<rect class="cell" x="{LEFT + column * wide:.1f}" y="{HEIGHT - BOTTOM - (row + 1) * high:.1f}" '
            f'width="{wide:.1f}" height="{high:.1f}" fill-opacity="{shade:.2f}"><title>{count:,}</title></rect>'
        )
    for end in (definition.params.low, definition.params.high):
        if end is not None and 0 <= x.share(end) <= 1:
            at = f"{x.pixel(end):.1f}"
            parts.append(f'<line class="budget" x1="{at}" x2="{at}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
    for end in (definition.macs.low, definition.macs.high):
        if end is not None and 0 <= y.share(end) <= 1:
            at = f"{y.pixel(end):.1f}"
            parts.append(f'<line class="budget" y1="{at}" y2="{at}" x1="{LEFT}" x2="{WIDTH - 10}"/>')
    for name, counted in baselines:
        px, py = x.pixel(counted.params), y.pixel(counted.macs)
        side = f'x="{px - 8:.1f}" text-anchor="end"' if px > WIDTH * 0.7 else f'x="{px + 8:.1f}"'
        parts.append(
            f'<rect class="base" x="{px - 5:.1f}" y="{py - 5:.1f}" width="10" height="10"/>'
            f'<text {side} y="{py + 4:.1f}">{escape(name)}</text>'
        )
    return _svg(HEIGHT, parts, "Networks within the budgets, by parameters and multiply-adds")


def _bars(space: Space) -> str:
    edges, counts = space.histogram
    height = 220
    x = _Scale(max(1, edges[0]), edges[-1], LEFT, WIDTH - 10)
    most = max(counts)
    parts = [_frame(x, "parameters", vertical=False, height=height)]
    for low, high, count in zip(edges, edges[1:], counts, strict=False):
        tall = (height - BOTTOM - TOP) * count / most
        left = x.pixel(max(1, low))
        wide = max(0.5, x.pixel(high) - left - 1)
        parts.append(
            f'<rect class="cell" x="{left:.1f}" y="{height - BOTTOM - tall:.1f}" width="{wide:.1f}" '
            f'height="{tall:.1f}"><title>{low + 1:,} to {high:,}: {count:,}</title></rect>'
        )
    return _svg(height, parts, "Exact histogram of parameters")


def _cuts(space: Space) -> str:
    rows = [
        f'<tr><td>{words}</td><td class="n">{space.rejected[key]:,}</td>'
        f'<td class="n">{100 * space.rejected[key] / space.canonical_size:.1f} %</td></tr>'
        for key, words in REJECTION_WORDS.items()
    ]
    return (
        "<table><tr><th>rejected as</th><th>networks</th><th>of all</th></tr>"
        + "".join(rows)
        + "</table><p>A network that breaks two budgets is counted at both.</p>"
    )


def _frame(scale: _Scale, label: str, *, vertical: bool, height: int = HEIGHT) -> str:
    floor = height - BOTTOM
    parts = []
    for tick in scale.ticks():
        at = scale.pixel(tick)
        if vertical:
            parts.append(f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{_short(tick)}</text>')
        else:
            parts.append(f'<text x="{at:.1f}" y="{floor + 16}" text-anchor="middle">{_short(tick)}</text>')
    if vertical:
        parts.append(f'<line class="axis" x1="{LEFT}" x2="{LEFT}" y1="{TOP}" y2="{floor}"/>')
        parts.append(f'<text x="14" y="{floor / 2:.0f}" transform="rotate(-90 14 {floor / 2:.0f})">{label}</text>')
    else:
        parts.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - 10}" y1="{floor}" y2="{floor}"/>')
        parts.append(f'<text x="{(LEFT + WIDTH) / 2:.0f}" y="{height - 8}" text-anchor="middle">{label}</text>')
    return "".join(parts)


def _svg(height: int, parts: list[str], label: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def _short(value: int) -> str:
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if value >= size:
            return f"{value / size:g}{unit}"
    return str(value)
