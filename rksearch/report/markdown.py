"""`README.md` of a run, which GitHub shows with the run's directory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rksearch.report import text
from rksearch.report.cells import show
from rksearch.report.choices import choices_markdown
from rksearch.report.facts import command, facts
from rksearch.report.prose import hypervolume_sentence, limitations, reading_sentences, verdict
from rksearch.results.columns import ARCH_METRICS, TRIAL_METRICS, columns
from rksearch.results.comparisons import BaselineRow
from rksearch.results.history import History
from rksearch.results.tables import Tables


def report_markdown(history: History, tables: Tables) -> str:
    """Verdict, picture, tables, facts about the run and the command that repeats it."""
    parts = [f"# {_escape(history.name)}"]
    if history.space and history.space.description:
        parts.append(_escape(history.space.description))
    parts.append(_escape(" ".join(verdict(history, tables))))
    if tables.items:
        parts.append("![Parameters and validation error of every network](front.svg)")
    if tables.front:
        parts += ["## The front", _front_note(tables), _front_table(tables)]
        if tables.hypervolume:
            parts.append(_escape(hypervolume_sentence(tables.hypervolume, "parameters")))
    if tables.baselines:
        parts += ["## Against the baselines", _comparison_note(), _baseline_table(tables.baselines)]
    if tables.front:
        parts += ["## What the choices do", *choices_markdown(tables.effects, _escape)]
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
        "Validation errors are means over seeds, the lowest of many and so partly luck; the expected error of a "
        "further training allows for that. P(front): the probability of being on the front of true errors."
    )


def _front_table(tables: Tables) -> str:
    metrics = [m for m in columns(ARCH_METRICS) if m.kind != "flag" and m.field != "train_time_s"]
    metrics.append(next(m for m in ARCH_METRICS if m.field == "beaten_by"))
    rows = [[_escape(show(m, tables.row(row.item.arch))) for m in metrics] for row in tables.front]
    return _table([m.label for m in metrics], rows, [m.is_number for m in metrics])


def _comparison_note() -> str:
    return (
        "Each baseline beside the Runge-Kutta network of least mean validation error that has no more parameters. "
        "A negative gap favours the Runge-Kutta network. Its 95 % interval allows for the network having been picked "
        "as the best of many, so that it need not lie around the gap."
    )


def _baseline_table(rows: Iterable[BaselineRow]) -> str:
    head = ["Baseline", "Parameters", "Validation error", "Test error", "Runge-Kutta network", "Parameters"]
    head += ["Validation error", "Gap (95 %), points", "Its error over seeds"]
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


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], numeric: Sequence[bool]) -> str:
    lines = [head, ["---:" if number else "---" for number in numeric], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _escape(value: str) -> str:
    """The text with the characters of Markdown's markup escaped."""
    for character in "\\`*<>|[]":
        value = value.replace(character, f"\\{character}")
    return text.one_line(value)
