"""Tables 1 to 4 of the RKNet paper: what it printed, beside what we count and what we measured.

Source: Zhu and Fu, Convolutional Neural Networks combined with Runge-Kutta Methods, arXiv 1802.08831, Tables 1 to 4.
Two rows can be one architecture (sharing changes nothing in a period of one time-step), so a row is not a name.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files

from rksearch.arch import parse
from rksearch.arch.cost import cost
from rksearch.data.facts import dataset
from rksearch.results.fronts import ArchSummary

TABLES = (1, 2, 3, 4)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A row of the paper beside ours.

    Attributes:
        row: what is printed.
        params, params_paper, macs: our counts, with and without batch norm; see `rksearch.arch.cost`.
        counts_agree: whether `params_paper` rounds to what is printed; None where nothing is.
        our_error_pct: mean error of our trainings; None where there are none.
        our_error_kind: `test`, or `val` where the test set was not read.
        seeds: how many trainings that is a mean of.
    """

    row: PaperRow
    params: int
    params_paper: int
    macs: int
    counts_agree: bool | None
    our_error_pct: float | None = None
    our_error_kind: str = ""
    seeds: int = 0


def paper_rows(table: int | None = None) -> tuple[PaperRow, ...]:
    """All rows in the paper's order, or those of one table."""
    text = (files("rksearch.arch.paper") / "tables.csv").read_text(encoding="utf-8")
    rows = tuple(_row(record) for record in csv.DictReader(text.splitlines()))
    return tuple(row for row in rows if table in (None, row.table))


def compare(rows: Iterable[PaperRow], trained: Mapping[str, Iterable[ArchSummary]]) -> list[Compared]:
    """Every row beside our counts and, by data set, our trainings."""
    ours = {(name, item.arch): item for name, items in trained.items() for item in items}
    return [_compare(row, ours.get((row.dataset, row.arch))) for row in rows]


def _compare(row: PaperRow, item: ArchSummary | None) -> Compared:
    counted = cost(parse(row.arch), dataset(row.dataset))
    agree = None
    if row.params_m is not None:
        digits = len(row.params_m.partition(".")[2])
        agree = f"{counted.params_paper / 1e6:.{digits}f}" == row.params_m
    tested = item is not None and item.test_error_pct is not None
    return Compared(
        row=row,
        params=counted.params,
        params_paper=counted.params_paper,
        macs=counted.macs,
        counts_agree=agree,
        our_error_pct=None if item is None else item.test_error_pct if tested else item.val_error_pct,
        our_error_kind="" if item is None else "test" if tested else "val",
        seeds=0 if item is None else item.test_seeds if tested else item.seeds,
    )


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
