"""Tables 1 to 4 of the RKNet paper as printed, and whether our counts agree with them.

Source: Zhu and Fu, Convolutional Neural Networks combined with Runge-Kutta Methods, arXiv 1802.08831, Tables 1 to 4.
Two rows can be one architecture (sharing changes nothing in a period of one time-step), so a row is not a name.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

from rksearch.arch.cost import Cost


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperRow:
    """One row of a table as printed; None where the paper prints nothing.

    Attributes:
        table: 1 to 4.
        dataset: name of the data set.
        arch: our name of the architecture.
        printed_name: the paper's name, which says nothing of growth rate or sharing.
        share: whether the paper marks the row as sharing convolutions.
        params_m: the Param column in millions, as text, because its digits say how exact it is.
        error_pct: test error on CIFAR.
        top1_error_pct, top5_error_pct: validation errors on ImageNet.
        baseline: the network that the row was made from.
        note: what else the paper says.
    """

    table: int
    dataset: str
    arch: str
    printed_name: str
    share: bool
    params_m: str | None
    error_pct: float | None
    top1_error_pct: float | None
    top5_error_pct: float | None
    baseline: str | None
    note: str | None


def paper_rows(table: int | None = None) -> tuple[PaperRow, ...]:
    """All rows in the paper's order, or those of one table."""
    text = (files("rksearch.arch.paper") / "tables.csv").read_text(encoding="utf-8")
    rows = tuple(_row(record) for record in csv.DictReader(text.splitlines()))
    return tuple(row for row in rows if table in (None, row.table))


def counts_agree(row: PaperRow, counted: Cost) -> bool | None:
    """Whether `params_paper` rounds to the number that the row prints; None where it prints none."""
    if row.params_m is None:
        return None
    digits = len(row.params_m.partition(".")[2])
    return f"{counted.params_paper / 1e6:.{digits}f}" == row.params_m


def _row(record: Mapping[str, str]) -> PaperRow:
    def number(field: str) -> float | None:
        return float(record[field]) if record[field] else None

    return PaperRow(
        table=int(record["table"]),
        dataset=record["dataset"],
        arch=record["arch"],
        printed_name=record["printed_name"],
        share=record["share"] == "true",
        params_m=record["params_m"] or None,
        error_pct=number("error_pct"),
        top1_error_pct=number("top1_error_pct"),
        top5_error_pct=number("top5_error_pct"),
        baseline=record["baseline"] or None,
        note=record["note"] or None,
    )
