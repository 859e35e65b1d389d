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
from rksearch.results.records import Epoch
from rksearch.results.run_dir import read_run
from rksearch.results.tables import ArchRow, Tables, TrialRow, tables

if TYPE_CHECKING:
    import pandas


def trials(run_dir: str | Path) -> pandas.DataFrame:
    """One row per finished trial, with the columns of `trials.csv`; failed ones are included and say why.

    Raises:
        RunError: there is no ledger in `run_dir`.
    """
    return trials_frame(tables(read_run(run_dir)))


def architectures(run_dir: str | Path) -> pandas.DataFrame:
    """One row per architecture, over its seeds, with the columns of `front.csv`; `on_front` says which form the front.

    Raises:
        RunError: there is no ledger in `run_dir`.
    """
    return architectures_frame(tables(read_run(run_dir)))


def effects(run_dir: str | Path) -> pandas.DataFrame:
    """One row per choice of design and way of matching, with the columns of `effects.csv`.

    See `rksearch.results.contrasts`. Where an adaptive search has no control arm they are descriptive, because results
    chose the networks: see `rksearch.results.choice_sample`.

    Raises:
        RunError: there is no ledger in `run_dir`.
    """
    return _frame(Effect, tables(read_run(run_dir)).effects)


def trials_frame(found: Tables) -> pandas.DataFrame:
    """The frame of `trials`, from tables that are there already."""
    return _frame(TrialRow, found.trials)


def architectures_frame(found: Tables) -> pandas.DataFrame:
    """The frame of `architectures`, from tables that are there already."""
    return _frame(ArchRow, found.archs)


def epochs_frame(epochs: Sequence[Epoch]) -> pandas.DataFrame:
    """One row per epoch of a training, with the attributes of `Epoch`; each of its `metrics` is a column of its own."""
    import pandas

    table = _frame(Epoch, epochs, without="metrics")
    names = sorted({name for epoch in epochs for name in epoch.metrics})
    more = {name: pandas.Series([e.metrics.get(name) for e in epochs], dtype="float64") for name in names}
    return table.assign(**more)


def _frame(row_type: type, rows: Sequence[Any], *, without: str = "") -> pandas.DataFrame:
    import pandas

    columns = {}
    for field, hint in get_type_hints(row_type).items():
        if field == without:
            continue
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
