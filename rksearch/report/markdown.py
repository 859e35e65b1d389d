"""`README.md` of a run, which GitHub shows with the run's directory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from rksearch.report import text
from rksearch.report.cells import show
from rksearch.report.choices import choices_markdown
from rksearch.report.class_errors import class_error_grid, class_errors_note, class_errors_summary, class_errors_title
from rksearch.report.facts import command, facts
from rksearch.report.prose import hypervolume_sentence, limitations, reading_sentences, verdict
from rksearch.report.short_long import short_long_grid, short_long_sentences
from rksearch.results.class_errors import ClassErrorTable
from rksearch.results.columns import TRIAL_METRICS, arch_metric, columns
from rksearch.results.comparisons import BaselineRow
from rksearch.results.history import History
from rksearch.results.tables import Tables
from rksearch.space.plan import ErrorMetric


def report_markdown(history: History, tables: Tables) -> str:
    """Verdict, picture, tables, facts about the run and the command that repeats it."""
    parts = [f"# {_escape(history.name)}"]
    if history.space and history.space.description:
        parts.append(_escape(history.space.description))
    parts.append(_escape(" ".join(verdict(history, tables))))
    if tables.items:
        parts.append(f"![Parameters and {tables.metric.title} of every network](front.svg)")
    if tables.front:
        parts += ["## The front", _front_note(tables), _front_table(tables)]
        if tables.hypervolume:
            parts.append(_escape(hypervolume_sentence(tables.hypervolume, "parameters")))
    if tables.short_long:
        grid = short_long_grid(tables.short_long, tables.metric)
        parts += [
            "## Short and long trainings",
            _escape(" ".join(short_long_sentences(tables.short_long, tables.metric))),
            _table(grid.head, [[_escape(cell) for cell in row] for row in grid.rows], grid.numeric),
        ]
    if tables.baselines:
        parts += [
            "## Against the baselines",
            _comparison_note(tables.metric),
            _baseline_table(tables.baselines, tables.metric),
        ]
    if tables.front:
        parts += ["## What the choices do", *choices_markdown(tables.effects, _escape, tables.metric)]
    if tables.class_errors:
        parts += [
            "## Errors by class",
            class_errors_note(tables.class_errors),
            *map(_class_errors, tables.class_errors),
        ]
    failures = [row for row in tables.trials if row.status == "failed"]
    if failures:
        metrics = columns(TRIAL_METRICS)
        rows = [[_escape(show(m, row)) for m in metrics] for row in failures]
        parts += ["## Failures", _table([m.label for m in metrics], rows, [m.is_number for m in metrics])]
    parts += ["## What was run", _escape(" ".join(reading_sentences(history)))]
    shown = [(label, value) for label, value in facts(history, tables) if label != "Command"]
    parts.append("\n".join(f"- **{label}:** {_escape(value)}" for label, value in shown))
    if notes := limitations(history, tables):
        parts += ["## Limitations", "\n".join(f"- {_escape(note)}" for note in notes)]
    parts += [
        "## Again",
        f"```sh\n{command(history)}\n```",
        "Every file here but `ledger.jsonl` is derived from it; `rksearch report` on this directory writes them anew. "
        "`report.html` opens in a browser without a network and has all networks, both costs and the learning curves.",
    ]
    return "\n\n".join(parts) + "\n"


def _front_note(tables: Tables) -> str:
    if not tables.draws.spread_known:
        return "No network has two seeds that differ, so nothing can be said of chance."
    return (
        f"{tables.metric.title.capitalize()}s are means over seeds, the lowest of many and so partly luck; the "
        "expected error of a further training allows for that. P(front): the probability of being on the front of true "
        "errors."
    )


def _front_table(tables: Tables) -> str:
    metrics = [m for m in columns(tables.arch_metrics) if m.kind != "flag" and m.field != "train_time_s"]
    metrics.append(arch_metric("beaten_by"))
    rows = [[_escape(show(m, tables.row(row.item.arch))) for m in metrics] for row in tables.front]
    return _table([m.label for m in metrics], rows, [m.is_number for m in metrics])


def _comparison_note(metric: ErrorMetric) -> str:
    return (
        f"Each baseline beside the Runge-Kutta network of least mean {metric.title} that has no more parameters. "
        "A negative gap favours the Runge-Kutta network. Its 95 % interval allows for the network having been picked "
        "as the best of many, so that it need not lie around the gap."
    )


def _baseline_table(rows: Iterable[BaselineRow], metric: ErrorMetric) -> str:
    error = metric.title.capitalize()
    head = ["Baseline", "Parameters", error, metric.test_title.capitalize(), "Runge-Kutta network", "Parameters"]
    head += [error, "Gap (95 %), points", "Its error over seeds"]
    lines = []
    for row in rows:
        item, rival, comparison = row.item, row.rival, row.comparison
        lines.append(
            [
                item.arch,
                text.size(item.params),
                text.mean_sd(item.error_pct, item.error_sd_pct),
                text.mean_sd(item.tested_error_pct, item.tested_error_sd_pct),
                _escape(rival.arch) if rival else "none is as small",
                text.size(rival.params) if rival else text.MISSING,
                text.mean_sd(rival.error_pct, rival.error_sd_pct) if rival else text.MISSING,
                text.gap(comparison.gap_pct, comparison.interval_pct) if comparison else text.MISSING,
                comparison.verdict if comparison else text.MISSING,
            ]
        )
    return _table(head, lines, [False, True, True, True, False, True, True, True, False])


def _class_errors(found: ClassErrorTable) -> str:
    """A table that a click opens: there is one for each network."""
    grid = class_error_grid(found)
    rows = [[_escape(cell) for cell in row] for row in grid.rows]
    table = _table([_escape(label) for label in grid.head], rows, grid.numeric)
    summary = escape(f"{class_errors_title(found)}: {class_errors_summary(found)}")
    return f"<details><summary>{summary}</summary>\n\n{table}\n\n</details>"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], numeric: Sequence[bool]) -> str:
    lines = [head, ["---:" if number else "---" for number in numeric], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _escape(value: str) -> str:
    """The text with the characters of Markdown's markup escaped."""
    for character in "\\`*<>|[]":
        value = value.replace(character, f"\\{character}")
    return text.one_line(value)
