"""The RKNet paper's tables beside our counts and the errors of our trainings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rksearch.arch import parse
from rksearch.arch.cost import cost
from rksearch.arch.paper import PaperRow, counts_agree
from rksearch.data.facts import dataset
from rksearch.results.summaries import ArchSummary


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A row of the paper beside ours.

    Attributes:
        row: the printed row.
        params, params_paper, macs: our counts, with and without batch norm; see `rksearch.arch.cost`.
        counts_agree: whether `params_paper` rounds to the printed count; None where none is printed.
        our_error_pct: mean error of our trainings; None where there are none.
        our_error_kind: `test`, or `val` where the test set was not read.
        seeds: count of trainings in that mean.
    """

    row: PaperRow
    params: int
    params_paper: int
    macs: int
    counts_agree: bool | None
    our_error_pct: float | None = None
    our_error_kind: str = ""
    seeds: int = 0


def compare(rows: Iterable[PaperRow], trained: Mapping[str, Iterable[ArchSummary]]) -> list[Compared]:
    """Every row beside our counts and our trainings, which are given by data set."""
    ours = {(name, item.arch): item for name, items in trained.items() for item in items}
    return [_compare(row, ours.get((row.dataset, row.arch))) for row in rows]


def _compare(row: PaperRow, item: ArchSummary | None) -> Compared:
    counted = cost(parse(row.arch), dataset(row.dataset))
    tested = item is not None and item.test_error_pct is not None
    return Compared(
        row=row,
        params=counted.params,
        params_paper=counted.params_paper,
        macs=counted.macs,
        counts_agree=counts_agree(row, counted),
        our_error_pct=None if item is None else item.test_error_pct if tested else item.val_error_pct,
        our_error_kind="" if item is None else "test" if tested else "val",
        seeds=0 if item is None else item.test_seeds if tested else item.seeds,
    )
