"""`report.html`: one file that opens without a network."""

from __future__ import annotations

import json
from html import escape
from importlib.resources import files
from typing import Any

from rksearch.report.charts import axis, curves_figure, front_figure, history_figure, shared_layout
from rksearch.report.choices import answered, effects_figure
from rksearch.report.sections import (
    Block,
    BulletList,
    CodeBlock,
    FactList,
    FigureSlot,
    Fold,
    Paragraph,
    ReportContent,
    ReportTable,
)
from rksearch.results.history import History
from rksearch.results.tables import Tables

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:"
"""Content security policy: the page makes no request, so that it opens the same everywhere."""


def report_html(history: History, tables: Tables, picture: str, content: ReportContent) -> str:
    """The whole page.

    Args:
        history: the history of the run.
        tables: the tables derived from it.
        picture: the static SVG of the front, for readers without scripts.
        content: what the report says.
    """
    from plotly.offline import get_plotlyjs  # 5 MB of text: read only where a page is written

    figures = _figures(tables) if tables.items else {}
    lines = " ".join(line.text for line in content.verdict)
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        f"<title>{escape(content.name)}</title><style>{_asset('page.css')}</style></head><body><main>",
        f'<header><p class="eyebrow">{escape(content.description)} {escape(content.state)}</p>',
        f'<h1>{escape(content.name)}</h1><p class="verdict">{escape(lines)}</p></header>',
        *(
            f"<section><h2>{escape(section.title)}</h2>{''.join(map(_block, section.blocks))}</section>"
            for section in content.shown_in("page")
        ),
        f'</main><script type="application/json" id="figures">{_json(figures)}</script>',
        *([f"<script>{get_plotlyjs()}</script>"] if figures else []),
        f"<script>{_asset('page.js')}</script></body></html>",
    ]
    return "\n".join(parts)


def _figures(tables: Tables) -> dict[str, Any]:
    figures = {
        "params": front_figure(tables, "params"),
        "macs": front_figure(tables, "macs"),
        "curves": curves_figure(tables),
    }
    if any(len(arm.epochs) > 1 for arm in tables.histories):
        figures["progress"] = history_figure(tables)
    if answered(tables.effects):
        figures["effects"] = effects_figure(tables.effects, shared_layout(), axis)
    return figures


def _block(block: Block) -> str:
    match block:
        case Paragraph():
            return f"<p>{escape(block.text)}</p>"
        case BulletList():
            return f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in block.items)}</ul>"
        case FactList():
            return f"<dl>{''.join(f'<dt>{f.label}</dt><dd>{escape(f.value)}</dd>' for f in block.facts)}</dl>"
        case ReportTable():
            return _table(block)
        case FigureSlot():
            return f'<div class="chart" id="{block.id}"></div>'
        case CodeBlock():
            return f"<pre>{escape(block.text)}</pre>"
        case Fold():
            return f"<details><summary>{escape(block.summary)}</summary>{_table(block.table)}</details>"


def _table(table: ReportTable) -> str:
    head = "".join(f"<th>{escape(c.label)}</th>" for c in table.columns)
    rows = "".join(f"<tr>{''.join(f'<td>{escape(c.text)}</td>' for c in r.cells)}</tr>" for r in table.rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _asset(name: str) -> str:
    return files("rksearch.report").joinpath(name).read_text(encoding="utf-8")


def _json(value: object) -> str:
    """JSON that cannot end the script element that holds it."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
