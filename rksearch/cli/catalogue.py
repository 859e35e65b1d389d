"""`rksearch families` and `rksearch paper`: facts that need no training."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rksearch.cli.options import json_option
from rksearch.cli.values import UserPath

if TYPE_CHECKING:
    from rksearch.results.paper_comparison import Compared


@click.command()
@json_option
def families(as_json: bool) -> None:
    """List the families of architectures, each with its source and a name to start from."""
    from rksearch.arch.families import FAMILIES

    if as_json:
        fields = ("key", "title", "source", "sample")
        click.echo(json.dumps([{name: getattr(f, name) for name in fields} for f in FAMILIES], indent=2))
        return
    widths = [max(len(getattr(f, name)) for f in FAMILIES) for name in ("key", "title", "sample")]
    for f in FAMILIES:
        click.echo(f"{f.key:{widths[0]}}  {f.title:{widths[1]}}  {f.sample:{widths[2]}}  {f.source}")


@click.command()
@click.option("--table", type=click.IntRange(1, 4), help="One of the tables 1 to 4. [default: all]")
@click.option(
    "--ledger",
    "directories",
    type=UserPath(),
    multiple=True,
    help="Run directory whose errors are printed beside the paper's, with how they were trained; may be repeated: each "
    "row takes the trainings of most epochs, then of most images.",
)
@click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values, raw numbers.")
@json_option
def paper(table: int | None, directories: tuple[Path, ...], as_csv: bool, as_json: bool) -> None:
    """Print the tables of the RKNet paper beside our parameter counts, or beside the errors of our trainings."""
    from rksearch.api import Run
    from rksearch.arch.paper import paper_rows
    from rksearch.results.paper_comparison import compare

    if as_csv and as_json:
        raise click.UsageError("give one of --csv and --json, but got both")
    compared = compare(paper_rows(table), [Run(directory).history for directory in directories])
    if as_json:
        columns = _columns()
        click.echo(json.dumps([{name: value(c) for name, value in columns.items()} for c in compared], indent=2))
    elif as_csv:
        _print_csv(compared)
    else:
        _print_tables(compared, with_errors=bool(directories))


def _print_tables(compared: list[Compared], *, with_errors: bool) -> None:
    """Tables of counts, or of errors: both together are wider than a terminal."""
    from rksearch.report import text

    head, cells = (ERRORS, _error_cells) if with_errors else (COUNTS, _count_cells)
    # All tables are as wide as the widest.
    lines = iter(text.aligned([head, *(cells(c) for c in compared)]).splitlines())
    first = next(lines)
    for table, members in groupby(compared, key=lambda c: c.row.table):
        rows = list(members)
        click.echo(f"Table {table} ({rows[0].row.dataset})\n{first}")
        for _ in rows:
            click.echo(next(lines))
        click.echo()
    printed_counts = [c.counts_agree for c in compared if c.counts_agree is not None]
    click.echo(
        f"{sum(printed_counts)} of {len(printed_counts)} printed parameter counts equal ours to the printed precision; "
        f"{len(compared) - len(printed_counts)} rows print none.\n"
        "Counts beside the paper's leave batch norm out, as the paper does. ImageNet errors are top-1 / top-5."
    )
    if with_errors:
        click.echo(
            f"{sum(c.ours is not None for c in compared)} of {len(compared)} rows have trainings of ours. Errors after "
            "fewer epochs, or on fewer images, than the paper's do not compare with its."
        )


COUNTS = ("architecture", "paper params", "ours", "", "with norms", "paper error %")


def _count_cells(c: Compared) -> tuple[str, ...]:
    verdict = {True: "equal", False: "DIFFER", None: ""}[c.counts_agree]
    return c.row.arch, _paper_params(c), f"{c.params_paper:,}", verdict, f"{c.params:,}", _paper_error(c)


ERRORS = ("architecture", "paper params", "paper error %", "our error %", "epochs", "images", "recipe")


def _error_cells(c: Compared) -> tuple[str, ...]:
    from rksearch.report import text

    known = (c.row.arch, _paper_params(c), _paper_error(c))
    if c.ours is None:
        return *known, "-", "-", "-", "-"
    error = f"{c.ours.error_pct:.2f} ({c.ours.kind}, {text.count(c.ours.seeds, 'seed')})"
    images = "-" if c.ours.train_images is None else f"{c.ours.train_images:,}"
    return *known, error, "-" if c.ours.epochs is None else str(c.ours.epochs), images, c.ours.recipe or "-"


def _paper_params(c: Compared) -> str:
    return f"{c.row.params_m} M" if c.row.params_m else "-"


def _paper_error(c: Compared) -> str:
    if c.row.top1_error_pct is not None:
        return f"{c.row.top1_error_pct:.2f} / {c.row.top5_error_pct:.2f}"
    return f"{c.row.error_pct:.2f}" if c.row.error_pct is not None else "-"


def _columns() -> dict[str, Callable[[Compared], Any]]:
    """Columns of CSV and keys of JSON: what the paper prints, by names that begin so, and what is ours."""
    from dataclasses import fields

    from rksearch.arch.paper import PaperRow

    counts = ("params", "params_paper", "macs", "counts_agree")
    ours = {
        "our_error_pct": "error_pct",
        "our_error_kind": "kind",
        "seeds": "seeds",
        "our_epochs": "epochs",
        "our_recipe": "recipe",
        "our_train_images": "train_images",
    }
    columns: dict[str, Callable[[Compared], Any]] = {}
    for own in fields(PaperRow):
        printed = own.name.endswith("_pct") or own.name == "params_m"
        columns[f"paper_{own.name}" if printed else own.name] = _of_row(own.name)
    columns |= {name: attrgetter(name) for name in counts}
    return columns | {column: _of_ours(name) for column, name in ours.items()}


def _of_row(name: str) -> Callable[[Compared], Any]:
    return lambda compared: getattr(compared.row, name)


def _of_ours(name: str) -> Callable[[Compared], Any]:
    return lambda compared: None if compared.ours is None else getattr(compared.ours, name)


def _print_csv(compared: list[Compared]) -> None:
    columns = _columns()
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([value(c) for value in columns.values()] for c in compared)
