"""Files of a comparison of runs: page, Markdown, JSON and pictures."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

from rksearch.errors import RunError, unwritable
from rksearch.ordinary import read_json, write_atomically
from rksearch.report import axes, text
from rksearch.report.comparison import COST_WORDS, comparison_content, comparison_json, picture_name
from rksearch.report.figure import LegendEntry, Panel, PlotKind, PlotLine, PlotMark, Shape, StaticFigure, axis_of
from rksearch.report.figures import named_baselines
from rksearch.report.markdown import report_markdown
from rksearch.report.rendering import asset, only_script, policy, render
from rksearch.report.svg import figure_svg
from rksearch.results.files import require_free
from rksearch.results.own_files import is_own_figure, is_own_markdown, is_own_report, page_head
from rksearch.results.run_comparison import COSTS, RunComparison, RunSide, SideCost
from rksearch.results.summaries import ArchSummary

WRITTEN_BY = "rksearch compare"
"""The command that writes the files: value of a key of `comparison.json`, and named in page and Markdown."""

LARGEST_COMPARISON_BYTES = 100_000_000
"""Largest `comparison.json` that is searched for this key."""

LOOKS: tuple[tuple[PlotKind, Shape], ...] = (
    ("front", "circle"),
    ("base", "triangle"),
    ("control", "diamond"),
)
"""Colour and shape of the sides; further ones have them again with dashed lines."""


def comparison_files(found: RunComparison) -> dict[str, str]:
    """Content of every file, by name."""
    pictures = {picture_name(cost): fronts_figure(found, cost) for cost in COSTS}
    return {
        "comparison.html": _page(found, pictures),
        "comparison.md": report_markdown(comparison_content(found), WRITTEN_BY),
        "comparison.json": json.dumps({"written_by": WRITTEN_BY, **comparison_json(found)}, indent=2) + "\n",
        **{f"{name}.svg": figure_svg(figure) for name, figure in pictures.items()},
    }


def write_comparison_files(directory: Path, found: RunComparison) -> list[Path]:
    """Write the files of a comparison; those of an earlier one are replaced.

    Raises:
        TakenError: the directory holds files of these names that no comparison wrote.
        RunError: the directory cannot be written.
    """
    files = comparison_files(found)
    require_free((directory / name for name in files if not _is_own(directory / name)), "a comparison")
    paths = []
    for name, content in files.items():
        path = directory / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, content.encode())
        except OSError as error:
            refused = RunError(
                f"the comparison must be writable, but {path} is not ({error.strerror}); free some space, correct the "
                "permissions, or choose another directory"
            )
            raise unwritable(refused, error) from error
        paths.append(path)
    return paths


def _is_own(path: Path) -> bool:
    """Whether a file of one of these names was written by a comparison."""
    if path.suffix == ".html":
        return is_own_report(path, WRITTEN_BY)
    if path.suffix == ".md":
        return is_own_markdown(path, WRITTEN_BY)
    if path.suffix == ".svg":
        return is_own_figure(path)
    found = read_json(path, LARGEST_COMPARISON_BYTES)
    return isinstance(found, dict) and found.get("written_by") == WRITTEN_BY


def _page(found: RunComparison, pictures: dict[str, StaticFigure]) -> str:
    content = comparison_content(found)
    script = only_script(["scroll", "compare"])
    return render(
        "comparison.html",
        head=page_head(WRITTEN_BY),
        content=content,
        sections=content.shown_in("page"),
        policy=policy(script),
        script=script,
        costs=list(COST_WORDS.items()),
        sides=[side.label for side in found.sides],
        style=asset("page/page.css") + asset("templates/figure.css"),
        pictures={name: figure_svg(figure, standalone=False) for name, figure in pictures.items()},
        payload="",
        known=frozenset[str](),
        kind=lambda block: type(block).__name__,
    )


def fronts_figure(found: RunComparison, cost: SideCost) -> StaticFigure:
    """Cost against error: the front of every side as a falling line, and the baselines by name."""
    of = COSTS[cost]
    fronts = [(side, side.front if cost == "params" else side.macs_front) for side in found.sides]
    baselines = [item for item in found.baselines if of(item) > 0]
    items = [item for _, front in fronts for item in front] + baselines
    title = f"Fronts of {COST_WORDS[cost]}"
    alt = f"fronts of {text.listing([side.label for side in found.sides])}"
    if not items:
        return StaticFigure(name=picture_name(cost), title=title, alt=alt, panels=(), empty="No network is complete.")
    low, high = axes.log_range([of(item) for item in items])
    y_low, y_high = axes.error_range(items, items)
    lines, marks, legend = list[PlotLine](), list[PlotMark](), list[LegendEntry]()
    for number, (side, front) in enumerate(fronts):
        kind, shape = LOOKS[number % len(LOOKS)]
        if front:
            corners = tuple(axes.staircase(front, of, 10**high))
            lines.append(
                PlotLine(points=corners, kind=kind, title=side.label, dash=number // len(LOOKS), group=side.label)
            )
        marks += [_mark(side, item, cost, kind, shape) for item in front]
        legend.append(LegendEntry(sample=shape, kind=kind, words=side.label))
    named = named_baselines(baselines, of)
    marks += [_baseline(item, cost, item.arch in named) for item in baselines]
    if baselines:
        legend.append(LegendEntry(sample="square", kind="other", words="baselines"))
    label = COST_WORDS[cost]
    panel = Panel(
        x=axis_of(
            f"{label[0].upper()}{label[1:]} (log scale)",
            10**low,
            10**high,
            axes.log_ticks(low, high),
            log=True,
            sizes=True,
        ),
        y=axis_of(f"{found.metric.title.capitalize()}, %", y_low, y_high, _ticks(y_low, y_high)),
        lines=tuple(lines),
        marks=tuple(marks),
    )
    return StaticFigure(name=picture_name(cost), title=title, alt=alt, panels=(panel,), legend=tuple(legend))


def _ticks(low: float, high: float) -> Sequence[float]:
    return axes.linear_ticks(low, high) if math.isfinite(low) and high > low else [low]


def _mark(side: RunSide, item: ArchSummary, cost: SideCost, kind: PlotKind, shape: Shape) -> PlotMark:
    sd = item.error_sd_pct
    return PlotMark(
        x=COSTS[cost](item),
        y=item.error_pct,
        kind=kind,
        shape=shape,
        title=f"{side.label}: {_described(item, cost)}",
        spread=(item.error_pct - sd, item.error_pct + sd) if sd else None,
        large=True,
        group=side.label,
    )


def _baseline(item: ArchSummary, cost: SideCost, is_named: bool) -> PlotMark:
    return PlotMark(
        x=COSTS[cost](item),
        y=item.error_pct,
        kind="other",
        shape="square",
        title=f"{_described(item, cost)}, baseline",
        label=item.arch if is_named else "",
        large=True,
    )


def _described(item: ArchSummary, cost: SideCost) -> str:
    error = text.mean_sd(item.error_pct, item.error_sd_pct)
    return f"{item.arch}, {text.size(COSTS[cost](item))} {COST_WORDS[cost]}, {error}, {text.count(item.seeds, 'seed')}"
