"""`report.html`: one file that opens without a network, in light and dark, on wide and narrow screens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rksearch.report.figure import StaticFigure
from rksearch.report.figures import costs_of, curves_figure, effects_figure, progress_figure
from rksearch.report.page_data import page_data, to_script
from rksearch.report.rendering import asset, only_script, policy, render
from rksearch.report.sections import ReportContent
from rksearch.report.svg import figure_svg
from rksearch.results.history import History
from rksearch.results.own_files import REPORT, page_head
from rksearch.results.tables import Tables

SCRIPTS = (
    "data",
    "format",
    "axes",
    "selection",
    "standing",
    "chart",
    "legend",
    "hover",
    "input",
    "edf",
    "parallel",
    "curves",
    "table",
    "card",
    "ladder",
    "scroll",
    "remember",
    "main",
)
"""The page's scripts, in the order in which they are joined: the last one starts what the others define."""


def report_html(history: History, tables: Tables, content: ReportContent, front: StaticFigure) -> str:
    """The whole page.

    Args:
        history: the history of the run.
        tables: the tables derived from it.
        content: what the report says.
        front: the static figure of the front, for readers without scripts.
    """
    data = page_data(history, tables)
    # Without a network that was trained to the end there is nothing to point at.
    shown = data if tables.items else None
    script = only_script(SCRIPTS) if shown else ""
    return render(
        "page.html",
        head=page_head(REPORT),
        content=content,
        sections=content.shown_in("page"),
        policy=policy(script),
        style=asset("page/page.css") + asset("templates/figure.css"),
        script=script,
        payload=to_script(shown) if shown else "",
        pictures=_pictures(tables, front),
        known=set(data["values"].get("arch", ())) if shown else set(),
        costs=[(cost.field, cost.short) for cost in costs_of(tables)],
        errors=[(error["field"], error["short"]) for error in data["errors"]],
        published=bool(data["published"]),
        has_figures=content.section("figures") is not None,
        kind=lambda block: type(block).__name__,
    )


def _pictures(tables: Tables, front: StaticFigure) -> Mapping[str, Any]:
    """Static figures by the names of their places: all of them without scripts, two of them always."""
    if not tables.items:
        return {"front": "", "curves": "", "progress": "", "effects": ""}
    found = {
        "front": front,
        "curves": curves_figure(tables),
        "progress": progress_figure(tables),
        "effects": effects_figure(tables.effects),
    }
    return {name: figure_svg(figure, standalone=False) if figure else "" for name, figure in found.items()}
