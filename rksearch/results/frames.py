"""The results of a run as pandas tables, for notebooks and further analysis."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from rksearch.report.choices import EFFECT_METRICS
from rksearch.results.columns import ARCH_METRICS, TRIAL_METRICS, csv_text
from rksearch.results.run_dir import read_run
from rksearch.results.tables import tables

if TYPE_CHECKING:
    import pandas


def trials(run_dir: str | Path) -> pandas.DataFrame:
    """One row per finished trial, with the columns of `trials.csv`; failed ones are included and say why.

    Raises:
        RunError: there is no ledger in `run_dir`.
    """
    return _frame(csv_text(TRIAL_METRICS, tables(read_run(Path(run_dir))).trials))


def architectures(run_dir: str | Path) -> pandas.DataFrame:
    """One row per architecture, over its seeds, with the columns of `front.csv`; `on_front` says which form the front.

    Raises:
        RunError: there is no ledger in `run_dir`.
    """
    return _frame(csv_text(ARCH_METRICS, tables(read_run(Path(run_dir))).archs))


def effects(run_dir: str | Path) -> pandas.DataFrame:
    """One row per choice of design and way of matching, with the columns of `effects.csv`; see
    `rksearch.results.effects`.

    Raises:
        RunError: there is no ledger in `run_dir`.
    """
    return _frame(csv_text(EFFECT_METRICS, tables(read_run(Path(run_dir))).effects))


def _frame(csv: str) -> pandas.DataFrame:
    import pandas

    # Lists of per-period numbers are joined as in names (`2_9_12`); pandas would read `2_9` as the number 29.
    return pandas.read_csv(
        io.StringIO(csv), dtype=dict.fromkeys(("m", "s", "r", "share"), str), true_values=["yes"], false_values=["no"]
    )
