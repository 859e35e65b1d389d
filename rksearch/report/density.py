"""Density of many points as cells of a grid, the darker the more points a cell holds."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from rksearch.arch.arrays import Floats, Integers
from rksearch.report.figure import PlotAxis, PlotCell

CELLS = 64
"""Cells in each direction."""

FAINTEST = 0.15
"""Opacity of a cell with one point."""

Cell = tuple[int, int]
"""Column and row of a cell."""


def count_cells(xs: Integers | Floats, ys: Integers | Floats, x: PlotAxis, y: PlotAxis) -> Counter[Cell]:
    """Number of points in each cell that holds any; points beyond the axes are left out.

    Args:
        xs, ys: (points,), their places.
        x, y: the axes.
    """
    columns, rows = _cell(xs, x), _cell(ys, y)
    inside = (columns >= 0) & (columns < CELLS) & (rows >= 0) & (rows < CELLS)
    places, counts = np.unique(columns[inside] * CELLS + rows[inside], return_counts=True)
    return Counter({divmod(int(place), CELLS): int(count) for place, count in zip(places, counts, strict=True)})


def density_cells(counts: Mapping[Cell, int], x: PlotAxis, y: PlotAxis) -> tuple[PlotCell, ...]:
    """The cells as they are drawn, each with its number of points as its title."""
    most = max(counts.values(), default=1)
    return tuple(
        PlotCell(
            x=_ends(column, x),
            y=_ends(row, y),
            strength=FAINTEST + (1 - FAINTEST) * math.log1p(count) / math.log1p(most),
            title=f"{count:,}",
        )
        for (column, row), count in sorted(counts.items())
    )


def _cell(values: Integers | Floats, axis: PlotAxis) -> npt.NDArray[np.int64]:
    low, high = axis.low, axis.high
    if axis.log:
        values, low, high = np.log10(np.maximum(values, 1e-300)), math.log10(low), math.log10(high)
    return np.floor(CELLS * (values - low) / (high - low)).astype(np.int64)


def _ends(cell: int, axis: PlotAxis) -> tuple[float, float]:
    """Values at the ends of a cell."""
    if axis.log:
        start, end = (axis.low * (axis.high / axis.low) ** (place / CELLS) for place in (cell, cell + 1))
    else:
        start, end = (axis.low + (axis.high - axis.low) * place / CELLS for place in (cell, cell + 1))
    return start, end
