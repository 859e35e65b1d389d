"""`report.html`: one file that opens without a network, in light and dark, on wide and narrow screens."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any

from rksearch.report import text
from rksearch.report.cells import show
from rksearch.report.charts import axis, curves_figure, front_figure, history_figure, shared_layout
from rksearch.report.choices import answered, choices_html, effects_figure
from rksearch.report.class_errors import (
    Grid,
    class_error_grid,
    class_errors_note,
    class_errors_summary,
    class_errors_title,
)
from rksearch.report.facts import facts
from rksearch.report.prose import hypervolume_sentence, limitations, reading_sentences, verdict
from rksearch.report.short_long import short_long_grid, short_long_sentences
from rksearch.results.class_errors import ClassErrorTable
from rksearch.results.columns import TRIAL_METRICS, Metric, arch_metric, columns
from rksearch.results.comparisons import BaselineRow
from rksearch.results.fronts import FrontRow
from rksearch.results.history import History
from rksearch.results.tables import ArchRow, Tables

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:"
"""Content security policy: the page makes no request, so that it opens the same everywhere."""


def report_html(history: History, tables: Tables, picture: str, importances: Mapping[str, float] | None = None) -> str:
    """The whole page.

    Args:
        history: the history of the run.
        tables: the tables derived from it.
        picture: the static SVG of the front, for readers without scripts.
        importances: share of the variance that each choice explains, by name.
    """
    from plotly.offline import get_plotlyjs  # 5 MB of text: read only where a page is written

    name = escape(history.name)
    body = [
        _header(history, tables, name),
        _key_figures(history, tables),
        *(_charts(tables, picture) if tables.items else []),
        _front_section(tables),
        _short_long_section(tables),
        _baseline_section(tables),
        _choices_section(tables, importances),
        _class_errors_section(tables.class_errors),
        _all_section(tables),
        _failures(tables),
        _what_was_run(history, tables),
        _limitations(history, tables),
    ]
    figures = _figures(tables) if tables.items else {}
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            f"<title>{name}</title>",
            f"<style>{_asset('page.css')}</style></head>",
            "<body><main>",
            *(part for part in body if part),
            "</main>",
            f'<script type="application/json" id="figures">{_json(figures)}</script>',
            # A page without charts needs no Plotly.
            *([f"<script>{get_plotlyjs()}</script>"] if figures else []),
            f"<script>{_asset('page.js')}</script>",
            "</body></html>",
            "",
        ]
    )


def _figures(tables: Tables) -> dict[str, Any]:
    figures = {
        "params": front_figure(tables, "params"),
        "macs": front_figure(tables, "macs"),
        "curves": curves_figure(tables),
    }
    if _shows_progress(tables):
        figures["progress"] = history_figure(tables)
    if answered(tables.effects):
        figures["effects"] = effects_figure(tables.effects, shared_layout(), axis)
    return figures


def _shows_progress(tables: Tables) -> bool:
    """Whether any arm has a line to draw."""
    return any(len(arm.epochs) > 1 for arm in tables.histories)


def _header(history: History, tables: Tables, name: str) -> str:
    described = (history.space and history.space.description) or "Runge-Kutta networks"
    css = "state" if history.state == "finished" else "state open"
    found = escape(" ".join(verdict(history, tables))).replace(" %", "\u00a0%")
    return (
        f'<header><p class="eyebrow">{escape(str(described))}<span class="{css}">{escape(history.state)}</span></p>'
        f'<h1>{name}</h1><p class="verdict">{found}</p></header>'
    )


def _key_figures(history: History, tables: Tables) -> str:
    searched = sum(item.is_searched for item in tables.items)
    best = tables.front[-1].item if tables.front else None
    beaten = sum(bool(row.beaten_by) for row in tables.front)
    complete = sum(row.status == "complete" for row in tables.trials)
    figures = [
        ("Runge-Kutta networks", f"{searched}", f"beside {text.count(len(tables.items) - searched, 'baseline')}"),
        ("Complete trainings", f"{complete}", _others(history)),
        ("On the front", f"{len(tables.front)}", f"{beaten} dominated by a baseline"),
        (
            f"Lowest {tables.metric.title}",
            text.pct(best.error_pct) if best else text.MISSING,
            f"{text.size(best.params)} parameters, {text.count(best.seeds, 'seed')}" if best else "no network yet",
        ),
        ("Readings of the test set", f"{len(history.tests)}", "after the search" if history.tests else "none so far"),
        ("Work", text.duration(sum(history.wall_time_s.values())), "of trials, which may overlap"),
    ]
    if tables.hypervolume and tables.hypervolume.band:
        low, high = tables.hypervolume.band
        value = f"{tables.hypervolume.expected:.2f}"
        figures.insert(4, ("Hypervolume", value, f"90 % band {low:.2f} to {high:.2f}"))
    cells = (f"<div><dt>{label}</dt><dd>{value}<small>{note}</small></dd></div>" for label, value, note in figures)
    return f'<dl class="figures">{"".join(cells)}</dl>'


def _others(history: History) -> str:
    """Numbers of the trainings that are not complete, by their state."""
    counts = [(len(history.pruned), "pruned"), (len(history.failed), "failed"), (len(history.running), "running")]
    shown = [f"{number} {what}" for number, what in counts if number or what != "pruned"]
    return ", ".join(shown)


def _charts(tables: Tables, picture: str) -> list[str]:
    lead = (
        "Lower left is better. The line falls along the best mean error at each cost; bars are ± one sample standard "
    )
    lead += (
        "deviation over seeds, where there are at least two; the band holds 90 % of the fronts that the seeds leave "
    )
    lead += "possible, and the paler a mark on the front, the less sure is its place there. "
    lead += "Point at a mark for its design."
    return [
        _section(
            f"Parameters and {tables.metric.title}",
            f'<p class="lead">{lead}</p><div class="chart" id="params"></div><noscript>{picture}</noscript>',
        ),
        _section(
            f"MACs and {tables.metric.title}",
            '<p class="lead">Multiply-adds of convolutions and linear layers for one image. Sharing convolutions '
            'across time-steps lowers parameters and leaves these alone.</p><div class="chart" id="macs"></div>',
        ),
        _section(
            "Learning curves",
            f'<p class="lead">{tables.metric.title.capitalize()} after each epoch, mean over seeds: the front from '
            "small (teal) to large (violet), baselines dashed. Where there is room for a legend, click in it to show "
            "or hide curves.</p>"
            '<div class="chart" id="curves"></div>',
        ),
        *([_progress_section(tables)] if _shows_progress(tables) else []),
    ]


def _progress_section(tables: Tables) -> str:
    lead = (
        "Hypervolume of what had been found, against the epochs spent on first trainings, pruned ones included. All is "
        "judged by what is known at the end, with its 90 % band"
    )
    lead += "." if tables.draws.spread_known else "; the band rests on a guess, for no network has two seeds."
    return _section(
        "Progress", f'<p class="lead">{lead}</p><div class="chart" id="progress" style="height:360px"></div>'
    )


def _front_section(tables: Tables) -> str:
    if not tables.front:
        return ""
    metrics = [m for m in columns(tables.arch_metrics) if m.kind != "flag" and m.field != "train_time_s"]
    metrics.append(arch_metric("beaten_by"))
    rows = [tables.row(row.item.arch) for row in tables.front]
    return _section(
        "The front",
        '<p class="lead">Networks that no other Runge-Kutta network beats in both parameters and mean '
        f"{tables.metric.title}.{_other_front(tables.front, tables.macs_front)} {_membership_note(tables)}</p>"
        f"{_table(metrics, rows)}"
        f'<p class="lead after">{_hypervolumes(tables)}</p>',
    )


def _membership_note(tables: Tables) -> str:
    if not tables.draws.spread_known:
        return "No network has two seeds that differ, so nothing can be said of chance."
    return (
        f"The {tables.metric.title}s shown are the lowest of many and so partly luck; the expected error allows for "
        "that. "
        "P(front) is the probability of being on the front of true errors."
    )


def _hypervolumes(tables: Tables) -> str:
    both = ((tables.hypervolume, "parameters"), (tables.macs_hypervolume, "MACs"))
    return " ".join(escape(hypervolume_sentence(found, cost)) for found, cost in both if found)


def _other_front(front: Sequence[FrontRow], macs_front: Sequence[FrontRow]) -> str:
    both = {row.item.arch for row in front} & {row.item.arch for row in macs_front}
    return f" The front of MACs has {text.count(len(macs_front), 'network')}, {len(both)} of them in this table."


def _baseline_section(tables: Tables) -> str:
    if not tables.baselines:
        return ""
    head = ["Baseline", "Cost", "Error", "Best Runge-Kutta network", "Its cost", "Its error", "Gap (95 %), points"]
    head += ["Over seeds"]
    parts = []
    for words, rows, field in (
        ("parameters", tables.baselines, "params"),
        ("MACs", tables.macs_baselines, "macs"),
    ):
        cells = "".join(_baseline_row(row, field) for row in rows)
        headings = "".join(f'<th scope="col"{_align(h in NUMERIC)}>{h}</th>' for h in head)
        parts.append(
            f'<div class="scroll" tabindex="0" role="region" aria-label="cost: {words}"><table>'
            f'<caption class="lead">Cost: {words}</caption><thead><tr>{headings}</tr></thead>'
            f"<tbody>{cells}</tbody></table></div>"
        )
    return _section(
        "Against the baselines",
        f'<p class="lead">Each baseline beside the Runge-Kutta network of least mean {tables.metric.title} that costs '
        "no more. A negative gap favours the Runge-Kutta network. Its 95 % interval compares both in the same draws of "
        "the true errors and allows for the network having been picked as the best of many, so that it need not lie "
        f"around the gap; “lower” and “higher” mean that it leaves out zero.</p>{''.join(parts)}",
    )


def _short_long_section(tables: Tables) -> str:
    if tables.short_long is None:
        return ""
    lead = escape(" ".join(short_long_sentences(tables.short_long, tables.metric)))
    return _section(
        "Short and long trainings",
        f'<p class="lead">{lead}</p>{_grid(short_long_grid(tables.short_long, tables.metric), "short and long")}',
    )


NUMERIC = frozenset({"Cost", "Error", "Its cost", "Its error", "Gap (95 %), points"})
"""Headings of the baselines' table whose columns are aligned as numbers."""


def _baseline_row(row: BaselineRow, field: str) -> str:
    item, rival, comparison = row.item, row.rival, row.comparison
    cells = [
        (escape(item.arch), False),
        (text.size(getattr(item, field)), True),
        (text.mean_sd(item.error_pct, item.error_sd_pct), True),
        (escape(rival.arch) if rival else "none is as small", False),
        (text.size(getattr(rival, field)) if rival else text.MISSING, True),
        (text.mean_sd(rival.error_pct, rival.error_sd_pct) if rival else text.MISSING, True),
        (text.gap(comparison.gap_pct, comparison.interval_pct) if comparison else text.MISSING, True),
        (comparison.verdict if comparison else text.MISSING, False),
    ]
    return f'<tr class="base">{"".join(f"<td{_align(number)}>{value}</td>" for value, number in cells)}</tr>'


def _choices_section(tables: Tables, importances: Mapping[str, float] | None) -> str:
    if not tables.front:
        return ""
    return _section("What the choices do", choices_html(tables.effects, importances, tables.metric))


def _class_errors_section(tables: Sequence[ClassErrorTable]) -> str:
    if not tables:
        return ""
    lead = f'<p class="lead">{escape(class_errors_note(tables))}</p>'
    return _section("Errors by class", lead + "".join(map(_class_errors, tables)))


def _class_errors(found: ClassErrorTable) -> str:
    """A table that a click opens: there is one for each network."""
    title = class_errors_title(found)
    return (
        f"<details><summary>{escape(f'{title}: {class_errors_summary(found)}')}</summary>"
        f"{_grid(class_error_grid(found), title)}</details>"
    )


def _grid(grid: Grid, title: str) -> str:
    """A table of text that scrolls; `title` names it for readers who do not see it."""
    heads = "".join(
        f'<th scope="col"{_align(number)}>{escape(label)}</th>'
        for label, number in zip(grid.head, grid.numeric, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(f"<td{_align(number)}>{escape(cell)}</td>" for cell, number in zip(row, grid.numeric, strict=True))
        + "</tr>"
        for row in grid.rows
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(title)}"><table>'
        f"<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _all_section(tables: Tables) -> str:
    if not tables.archs:
        return ""
    groups = [("", "all"), ("front", "on the front"), ("macs", "on the front of MACs"), ("baseline", "baselines")]
    groups += [("known", "configurations of the paper"), ("candidate", "candidates")]
    if any(row.role == "control" for row in tables.archs):
        groups.append(("control", "the control arm"))
    options = "".join(f'<option value="{value}">{label}</option>' for value, label in groups)
    controls = (
        '<div class="controls"><input type="search" id="filter" placeholder="Filter, for example BC k8" '
        'aria-label="Filter architectures by words"><select id="group" aria-label="Show a group">'
        f'{options}</select><span id="shown" role="status"></span></div>'
    )
    table = _table(columns(tables.arch_metrics), tables.archs, sortable="all")
    lead = '<p class="lead">Every architecture with a complete training. Click a heading to sort.</p>'
    return _section("All architectures", lead + controls + table)


def _failures(tables: Tables) -> str:
    rows = [row for row in tables.trials if row.status == "failed"]
    if not rows:
        return ""
    lead = '<p class="lead">Trainings that could not go on, with their reasons. They count nowhere else.</p>'
    return _section("Failures", lead + _table(columns(TRIAL_METRICS), rows))


def _what_was_run(history: History, tables: Tables) -> str:
    rows = "".join(f"<dt>{escape(label)}</dt><dd>{_fact(label, value)}</dd>" for label, value in facts(history, tables))
    sentences = escape(" ".join(reading_sentences(history)))
    return _section("What was run", f'<p class="lead">{sentences}</p><dl class="facts">{rows}</dl>')


def _fact(label: str, value: str) -> str:
    return f"<code>{escape(value)}</code>" if label in ("Command", "Commit") else escape(value)


def _limitations(history: History, tables: Tables) -> str:
    notes = limitations(history, tables)
    return _section("Limitations", f"<ul>{''.join(f'<li>{escape(n)}</li>' for n in notes)}</ul>") if notes else ""


def _section(title: str, content: str) -> str:
    return f"<section><h2>{title}</h2>{content}</section>"


def _table(metrics: Sequence[Metric], rows: Iterable[Any], sortable: str | None = None) -> str:
    """A table of these columns; with an id in `sortable` its headings are buttons and the page's script finds it."""
    heads = []
    for metric in metrics:
        label = f'<button type="button">{metric.label}</button>' if sortable else metric.label
        tip = f' title="{escape(metric.note)}"' if metric.note else ""
        heads.append(f'<th scope="col"{_align(metric.is_number)}{tip}>{label}</th>')
    body = "".join(_row(metrics, row, raw=bool(sortable)) for row in rows)
    mark = f' id="{sortable}" class="sortable"' if sortable else ""
    tall = " tall" if sortable else ""
    # A region that scrolls must take the keyboard's focus.
    return (
        f'<div class="scroll{tall}" tabindex="0" role="region" aria-label="table"><table{mark}>'
        f"<thead><tr>{''.join(heads)}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _row(metrics: Sequence[Metric], row: Any, *, raw: bool) -> str:
    cells = []
    for metric in metrics:
        css = "n" if metric.is_number else "wrap" if metric.field == "message" else ""
        attributes = f' class="{css}"' if css else ""
        if raw:
            attributes += f' data-v="{_sort_key(metric, row)}"'
        cells.append(f"<td{attributes}>{escape(show(metric, row))}</td>")
    return f"<tr{_groups(row)}>{''.join(cells)}</tr>"


def _sort_key(metric: Metric, row: Any) -> str:
    value = metric.raw(row)
    return str(int(value == "yes")) if metric.kind == "flag" else escape(value)


def _groups(row: Any) -> str:
    if not isinstance(row, ArchRow):
        return ""
    groups = [row.role, *(["front"] if row.on_front else []), *(["macs"] if row.on_macs_front else [])]
    css = "base" if row.role == "baseline" else "front" if row.on_front else ""
    return f' data-groups="{" ".join(groups)}"' + (f' class="{css}"' if css else "")


def _align(number: bool) -> str:
    return ' class="n"' if number else ""


def _asset(name: str) -> str:
    return files("rksearch.report").joinpath(name).read_text(encoding="utf-8")


def _json(value: object) -> str:
    """JSON that cannot end the script element that holds it."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
