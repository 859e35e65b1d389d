"""The results of a run as pandas tables, for notebooks and further analysis.

Counts are nullable `Int64`, yes-or-no columns nullable `boolean`; lists per period are strings joined as in names
(`2_9_12`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

from rksearch.results.columns import joined
from rksearch.results.contrasts import Effect
from rksearch.results.run_dir import read_run
from rksearch.results.tables import ArchRow, TrialRow, tables

if TYPE_CHECKING:
    import pandas


def trials(run_dir: str | Path) -> pandas.DataFrame:
    """One row per finished trial, with the columns of `trials.csv`; failed ones are included and say why.

    Raises:
        RunError: there is no ledger in `run_dir`.
    """
    return _frame(TrialRow, tables(read_run(Path(run_dir))).trials)


def architectures(run_dir: str | Path) -> pandas.DataFrame:
    """One row per architecture, over its seeds, with the columns of `front.csv`; `on_front` says which form the front.

    Raises:
        RunError: there is no ledger in `run_dir`.
    """
    return _frame(ArchRow, tables(read_run(Path(run_dir))).archs)


def effects(run_dir: str | Path) -> pandas.DataFrame:
    """One row per choice of design and way of matching, with the columns of `effects.csv`.

    See `rksearch.results.contrasts`.

    Raises:
        RunError: there is no ledger in `run_dir`.
    """
    return _frame(Effect, tables(read_run(Path(run_dir))).effects)


def _frame(row_type: type, rows: Sequence[Any]) -> pandas.DataFrame:
    import pandas

    columns = {}
    for field, hint in get_type_hints(row_type).items():
        values = [getattr(row, field) for row in rows]
        columns[field] = pandas.Series(
            [joined(v) if isinstance(v, tuple) else v for v in values], dtype=_dtype(hint), name=field
        )
    return pandas.DataFrame(columns)


def _dtype(hint: Any) -> str:
    """The pandas type for values of a field with this annotation; tuples become text."""
    if get_origin(hint) is tuple:
        return "object"
    kinds = (hint, *get_args(hint))
    known = {bool: "boolean", int: "Int64", float: "float64"}
    return next((dtype for kind, dtype in known.items() if kind in kinds), "object")
