"""Figures for paper: PNG on white, PDF and SVG at the width of a column, by matplotlib.

The same figure gives the same bytes: no date, no random ids.
"""

from __future__ import annotations

import io
from textwrap import fill
from typing import TYPE_CHECKING, Any

from rksearch.report.figure import Panel, PlotAxis, PlotKind, PlotMark, StaticFigure, firm
from rksearch.report.placing import Rectangle, obstacles, place_labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMN_IN = 3.35
"""Width of a column of two, in inches."""

DOTS_PER_INCH = 300
"""Resolution of PNG files."""

FORMATS = ("png", "pdf", "svg")

SETTINGS: dict[Any, Any] = {
    "font.size": 7.0,
    "axes.titlesize": 8.0,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#e4e7ec",
    "grid.linewidth": 0.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.fontsize": 6.0,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "text.parse_math": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "rksearch",
    "pdf.fonttype": 42,
}
"""Settings of matplotlib: small type, text as text whatever signs it has, fixed ids."""

COLOURS: dict[PlotKind, str] = {
    "front": "#2b62dd",
    "base": "#d9640f",
    "other": "#98a2b3",
    "control": "#7d5bbe",
    "plain": "#98a2b3",
    "goal": "#98a2b3",
}
"""Those of the style sheet on white."""

MARKERS = {"circle": "o", "square": "s", "diamond": "D", "triangle": "^", "cross": "x"}
DASHES = ("-", (0, (4, 2)), (0, (1, 1.5)), (0, (5, 1.5, 1, 1.5)), (0, (7, 2)))
LABEL, TITLE, HEADING = 28, 36, 42
"""Maximum number of characters in a line of a tick's label, of an axis's title, and of the figure's."""

WORDS_PT = 5.5
"""Size of ticks' labels that are words, in points."""

SHADE = 0.15
"""Opacity of areas."""


def printed(figure: StaticFigure, kind: str) -> bytes:
    """The figure as a file.

    Args:
        figure: what to draw.
        kind: one of `FORMATS`.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context():
        mpl.rcdefaults()  # whatever a `matplotlibrc` of the user's says
        mpl.rcParams.update(SETTINGS)
        rows = -(-len(figure.panels) // figure.columns)
        columns = min(figure.columns, len(figure.panels))
        tall = COLUMN_IN / columns * figure.height / figure.width * (1.25 if columns == 1 else 1.6)
        tall = max(tall, *(_tall_in(panel.y) for panel in figure.panels), 0.0)
        sheet = Figure(figsize=(COLUMN_IN, max(1.9, tall * rows) + 0.45), layout="constrained")
        grid = sheet.subplots(rows, columns, squeeze=False)
        for i, axes in enumerate(grid.flat):
            if i < len(figure.panels):
                _draw(axes, figure.panels[i])
            else:
                axes.set_axis_off()
        sheet.suptitle(fill(figure.title, HEADING), fontsize=8.5, fontweight="bold")
        handles = [_sample(entry.sample, entry.kind, entry.words) for entry in figure.legend]
        if handles:
            sheet.legend(handles=handles, loc="outside lower center", ncols=3, handlelength=1.6, columnspacing=1.2)
        out = io.BytesIO()
        # A date would make the bytes differ from one day to the next.
        undated: dict[str, dict[str, Any]] = {
            "png": {"Title": figure.title, "Description": figure.alt, "Software": None},
            "pdf": {"Title": figure.title, "Subject": figure.alt, "CreationDate": None, "Producer": None},
            "svg": {"Title": figure.title, "Description": figure.alt, "Date": None, "Creator": None},
        }
        sheet.savefig(out, format=kind, dpi=DOTS_PER_INCH, metadata=undated[kind])
        return out.getvalue()


def _tall_in(axis: PlotAxis) -> float:
    """Height in inches that an upright axis needs for its ticks' labels not to touch."""
    lines = max((_label(label).count("\n") + 1 for _, label in axis.ticks), default=1)
    line_in = WORDS_PT * 1.3 / 72
    return 0.6 + len(axis.ticks) * (lines + 0.4) * line_in


def _label(words: str) -> str:
    """A tick's label in lines that a column has room for."""
    return fill(words, LABEL)


def _draw(axes: Axes, panel: Panel) -> None:
    for axis, name in ((panel.x, "x"), (panel.y, "y")):
        if axis.log:
            axes.set(**{f"{name}scale": "log"})
        axes.set(**{f"{name}lim": (axis.low, axis.high), f"{name}label": fill(axis.title, TITLE)})
        ticks = getattr(axes, f"{name}axis")
        ticks.set_ticks([value for value, _ in axis.ticks], [_label(label) for _, label in axis.ticks])
        if any(" " in label for _, label in axis.ticks):
            ticks.set_tick_params(labelsize=WORDS_PT)
        ticks.set_ticks([], minor=True)
    if panel.title:
        axes.set_title(panel.title, loc="left")
    for area in panel.areas:
        axes.fill_between(area.x, area.low, area.high, color=COLOURS[area.kind], alpha=SHADE, linewidth=0)
    for cell in panel.cells:
        axes.fill_between(cell.x, *cell.y, color=COLOURS["front"], alpha=cell.strength, linewidth=0)
    for value in panel.levels:
        axes.axhline(value, color="#6b7585", linewidth=0.6, linestyle=":")
    for value in panel.rules:
        axes.axvline(value, color="#6b7585", linewidth=0.6, linestyle=":")
    for line in panel.lines:
        strong = line.kind != "other"
        axes.plot(
            [x for x, _ in line.points],
            [y for _, y in line.points],
            color=COLOURS[line.kind],
            linewidth=1.0 if strong else 0.4,
            alpha=1.0 if strong else 0.45,
            linestyle=DASHES[line.dash],
        )
    for mark in panel.marks:
        _mark(axes, panel, mark)
    _labels(axes, panel)
    above, below = panel.beyond
    beyond = [f"{number:,} {where}" for number, where in ((above, "above"), (below, "below")) if number]
    if beyond:
        axes.annotate(", ".join(beyond), (1, 1), xycoords="axes fraction", ha="right", va="bottom", fontsize=5.5)


def _mark(axes: Axes, panel: Panel, mark: PlotMark) -> None:
    colour = COLOURS[mark.kind]
    if mark.spread is not None:
        axes.plot([mark.x, mark.x], mark.spread, color=colour, linewidth=0.7)
    if mark.across is not None:
        axes.plot(mark.across, [mark.y, mark.y], color=colour, linewidth=0.8)
    if mark.seeds:
        axes.plot([mark.x] * len(mark.seeds), mark.seeds, ".", color=colour, markersize=1.5)
    outside = not panel.y.holds(mark.y)
    axes.plot(
        [mark.x],
        [min(max(mark.y, panel.y.low), panel.y.high)],
        marker=(6 if mark.y > panel.y.high else 7) if outside else MARKERS[mark.shape],
        color=colour,
        markersize=4.0 if mark.large else 2.4,
        markeredgecolor="white" if mark.shape != "cross" else colour,
        markeredgewidth=0.4,
        alpha=mark.strength,
        clip_on=not outside,
    )


def _labels(axes: Axes, panel: Panel) -> None:
    """Labels where they cover least, by the same rule as in the SVG, in pixels of the page's picture."""
    from matplotlib.patheffects import withStroke

    named = [mark for mark in panel.marks if mark.label]
    halo = [withStroke(linewidth=1.6, foreground="white")]
    wide, tall = 540.0, 300.0

    def at(mark: PlotMark) -> tuple[float, float]:
        y = min(max(panel.y.place(mark.y), 0.0), 1.0)
        return panel.x.place(mark.x) * wide, (1 - y) * tall

    lines = [[(panel.x.place(x) * wide, (1 - panel.y.place(y)) * tall) for x, y in line.points] for line in firm(panel)]
    covered = obstacles(list(map(at, panel.marks)), lines)
    places = place_labels([(*at(mark), mark.label) for mark in named], covered, Rectangle(0, -4, wide, tall + 4))
    for mark, box in zip(named, places, strict=True):
        if box is not None:
            axes.annotate(
                mark.label,
                (box.x / wide, 1 - (box.y + box.height / 2) / tall),
                xycoords="axes fraction",
                va="center",
                fontsize=5.0,
                path_effects=halo,
                color={"base": "#a8480c", "front": "#1d4fc4"}.get(mark.kind, "#59626f"),
            )


def _sample(sample: str, kind: PlotKind, words: str) -> Any:
    """A sample of the legend."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    colour = COLOURS[kind]
    if sample == "area":
        return Patch(color=colour, alpha=SHADE, linewidth=0, label=words)
    if sample in ("line", "bar"):
        return Line2D([], [], color=colour, linewidth=1.0, label=words, marker="|" if sample == "bar" else None)
    return Line2D([], [], color=colour, linestyle="", marker=MARKERS[sample], markersize=3.5, label=words)
