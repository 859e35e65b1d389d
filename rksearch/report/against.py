"""Tables of the Runge-Kutta networks against the baselines: the size ladder, and every baseline with its rival."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rksearch.report import text
from rksearch.report.sections import ReportTable, TableCell, TableColumn, TableRow, Tone
from rksearch.results.comparisons import BaselineRow, ErrorComparison, LadderStep, Outcome
from rksearch.results.summaries import ArchSummary, tested_by_both
from rksearch.space.plan import ErrorMetric

RESULTS: dict[Outcome, str] = {"win": "win", "tie": "tie", "loss": "loss", "open": "too few seeds"}
"""Outcomes in the words of tables."""

COSTS = (("params", "parameters"), ("macs", "MACs"))
"""The two costs by which networks are compared: name and words."""

NOTE = (
    "Each step holds the best baseline of its size and the best Runge-Kutta network that costs no more. A negative gap "
    "favours the Runge-Kutta network. Its 95 % interval comes from draws of both true errors, which allow for the luck "
    "of the best among many, so that it need not lie around the gap. A win or a loss is a gap of at least "
    "one image whose interval leaves out zero; all else is a tie. A half win costs more in the other cost. Test gaps "
    "compare the same two networks on the test set."
)

FRESH = (
    "A test error marked as fresh is of trainings made for the test set, which saw the validation images too: it is "
    "not compared with the others."
)
"""Explanation of the mark, for tables that have test errors of both kinds of training."""


def ladder_table(steps: Sequence[LadderStep], name: str, words: str) -> ReportTable:
    """The size ladder by one cost.

    Args:
        steps: its steps, by rising cost.
        name, words: the cost, an entry of `COSTS`.
    """
    columns = (
        TableColumn(label=words[0].upper() + words[1:], note="band of the cost"),
        *_answer_columns(),
        *_pair_columns(),
    )
    return ReportTable(
        id=f"ladder-{name}",
        caption=f"At no more {words}",
        columns=columns,
        rows=tuple(_step_row(step) for step in steps),
    )


def _answer_columns() -> Iterable[TableColumn]:
    """They stand first: narrow screens show them without scrolling."""
    yield TableColumn(label="Result")
    yield TableColumn(label="Validation gap (95 %), points", numeric=True)
    yield TableColumn(label="Test gap (95 %), points", numeric=True)


def _pair_columns() -> Iterable[TableColumn]:
    for who in ("Runge-Kutta network", "Baseline"):
        yield TableColumn(label=who)
        yield TableColumn(label="Parameters", numeric=True)
        yield TableColumn(label="MACs", numeric=True)


def _step_row(step: LadderStep) -> TableRow:
    low, high = step.band
    band = TableCell(text=f"{text.tick(low)} to {text.tick(high)}")
    row = step.row
    if row is None:
        cells = (_result(None), *_gaps(None, None), *_named(step.best, ""), *_named(None, "none of this size"))
    else:
        cells = (
            _result(row),
            *_gaps(row.comparison, row.tested),
            *_named(row.rival, "none costs as little"),
            *_named(row.item, ""),
        )
    return TableRow(cells=(band, *cells), tone=_tone(row))


def _named(item: ArchSummary | None, missing: str) -> tuple[TableCell, ...]:
    if item is None:
        return TableCell(text=missing), TableCell(text=text.MISSING), TableCell(text=text.MISSING)
    return (
        TableCell(text=item.arch, arch=item.arch),
        TableCell(text=text.size(item.params)),
        TableCell(text=text.size(item.macs)),
    )


def _gaps(*comparisons: ErrorComparison | None) -> tuple[TableCell, ...]:
    return tuple(
        TableCell(text=text.gap(found.gap_pct, found.interval_pct)) if found else TableCell(text=text.MISSING)
        for found in comparisons
    )


def _result(row: BaselineRow | None) -> TableCell:
    if row is None or row.outcome is None:
        return TableCell(text=text.MISSING)
    words = RESULTS[row.outcome]
    if row.outcome == "win":
        words = f"{'half ' if row.is_half else ''}win"
        words += {True: "", False: ", not on test", None: ""}[row.test_bears]
    return TableCell(text=words, tone=_tone(row))


def _tone(row: BaselineRow | None) -> Tone:
    if row is None or row.outcome is None:
        return ""
    return "half-win" if row.outcome == "win" and row.is_half else row.outcome


def baseline_table(rows: Sequence[BaselineRow], name: str, words: str, metric: ErrorMetric) -> ReportTable:
    """Every baseline with its rival at no more of one cost: both costs, both errors, both gaps.

    Args:
        rows: the baselines, by rising cost.
        name, words: the cost, an entry of `COSTS`.
        metric: the error by which the run compares networks.
    """
    apart = marks_fresh(rows)
    error, tested = metric.title.capitalize(), metric.test_title.capitalize()
    facts = ("Parameters", "MACs", error, tested)
    columns = [
        TableColumn(label="Baseline"),
        *_answer_columns(),
        TableColumn(label="Runge-Kutta network"),
        *(TableColumn(label=fact, numeric=True, note="of the Runge-Kutta network") for fact in facts),
        *(TableColumn(label=_of_baseline(fact), numeric=True) for fact in facts),
        TableColumn(label="Parameters, ratio", numeric=True, note="of the Runge-Kutta network to the baseline"),
        TableColumn(label="MACs, ratio", numeric=True, note="of the Runge-Kutta network to the baseline"),
    ]
    return ReportTable(
        id=f"baselines-{name}",
        caption=f"At no more {words}",
        columns=tuple(columns),
        rows=tuple(_baseline_row(row, apart=apart) for row in rows),
    )


def marks_fresh(rows: Iterable[BaselineRow]) -> bool:
    """Whether the table of these baselines has test errors of both kinds of training, which it marks then."""
    return tested_by_both(item for row in rows for item in (row.item, row.rival) if item)


def _of_baseline(fact: str) -> str:
    return f"Baseline's {fact if fact == 'MACs' else fact[0].lower() + fact[1:]}"


def _baseline_row(row: BaselineRow, *, apart: bool) -> TableRow:
    baseline, *costs = _named(row.item, "")
    return TableRow(
        cells=(
            baseline,
            _result(row),
            *_gaps(row.comparison, row.tested),
            *_named(row.rival, "none costs as little"),
            *_errors(row.rival, apart=apart),
            *costs,
            *_errors(row.item, apart=apart),
            _ratio(row.params_ratio),
            _ratio(row.macs_ratio),
        ),
        tone=_tone(row),
    )


def _errors(item: ArchSummary | None, *, apart: bool) -> tuple[TableCell, ...]:
    if item is None:
        return TableCell(text=text.MISSING), TableCell(text=text.MISSING)
    return (
        TableCell(text=text.mean_sd(item.error_pct, item.error_sd_pct)),
        TableCell(text=tested_text(item, apart=apart)),
    )


def tested_text(item: ArchSummary, *, apart: bool) -> str:
    """The test error with its spread; `apart` marks that of fresh trainings, in a table with both kinds."""
    return text.mean_sd(item.tested_error_pct, item.tested_error_sd_pct) + (
        " (fresh)" if apart and item.tested_afresh else ""
    )


def _ratio(value: float | None) -> TableCell:
    return TableCell(text=text.MISSING) if value is None else TableCell(text=text.times(value))
