"""`rksearch families` and `rksearch paper`: facts that need no training."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rksearch.cli.options import json_option
from rksearch.cli.values import UserPath

if TYPE_CHECKING:
    from rksearch.results.paper_comparison import Compared
    from rksearch.results.summaries import ArchSummary


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
    help="Run directory whose errors are printed beside the paper's; may be repeated.",
)
@click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values, raw numbers.")
@json_option
def paper(table: int | None, directories: tuple[Path, ...], as_csv: bool, as_json: bool) -> None:
    """Print the tables of the RKNet paper, with our parameter counts and errors beside the printed ones."""
    from rksearch.arch.paper import paper_rows
    from rksearch.results.paper_comparison import compare

    if as_csv and as_json:
        raise click.UsageError("give one of --csv and --json, but got both")
    compared = compare(paper_rows(table), _trained(directories))
    if as_json:
        columns = _columns()
        click.echo(json.dumps([{name: value(c) for name, value in columns.items()} for c in compared], indent=2))
    elif as_csv:
        _print_csv(compared)
    else:
        _print_tables(compared)


def _trained(directories: tuple[Path, ...]) -> dict[str, list[ArchSummary]]:
    """Architectures of the runs by data set."""
    from rksearch.api import Run
    from rksearch.results.summaries import summarise

    found: dict[str, list[ArchSummary]] = {}
    for directory in directories:
        history = Run(directory).history
        dataset_of = {spec.arch: spec.dataset for spec, _ in history.trials.values()}
        for item in summarise(history):
            found.setdefault(dataset_of[item.arch], []).append(item)
    return found


def _print_tables(compared: list[Compared]) -> None:
    width = max(len(c.row.arch) for c in compared)
    for table in dict.fromkeys(c.row.table for c in compared):
        members = [c for c in compared if c.row.table == table]
        click.echo(f"Table {table} ({members[0].row.dataset})")
        click.echo(
            f"{'architecture':{width}}  {'paper params':>12}  {'ours':>12}  {'':6}  {'with norms':>12}  "
            f"{'paper error %':>13}  our error %"
        )
        for c in members:
            printed = f"{c.row.params_m} M" if c.row.params_m else "-"
            verdict = {True: "equal", False: "DIFFER", None: ""}[c.counts_agree]
            click.echo(
                f"{c.row.arch:{width}}  {printed:>12}  {c.params_paper:>12,}  {verdict:6}  {c.params:>12,}  "
                f"{_paper_error(c):>13}  {_our_error(c)}".rstrip()
            )
        click.echo()
    printed_counts = [c.counts_agree for c in compared if c.counts_agree is not None]
    click.echo(
        f"{sum(printed_counts)} of {len(printed_counts)} printed parameter counts equal ours to the printed precision; "
        f"{len(compared) - len(printed_counts)} rows print none.\n"
        "Counts beside the paper's leave batch norm out, as the paper does. ImageNet errors are top-1 / top-5."
    )


def _paper_error(c: Compared) -> str:
    if c.row.top1_error_pct is not None:
        return f"{c.row.top1_error_pct:.2f} / {c.row.top5_error_pct:.2f}"
    return f"{c.row.error_pct:.2f}" if c.row.error_pct is not None else "-"


def _our_error(c: Compared) -> str:
    if c.our_error_pct is None:
        return "-"
    return f"{c.our_error_pct:.2f} ({c.our_error_kind}, {c.seeds} seed{'s' if c.seeds != 1 else ''})"


def _columns() -> dict[str, Callable[[Compared], Any]]:
    """Columns of CSV and keys of JSON: what the paper prints, by names that begin so, and what is ours."""
    from dataclasses import fields

    from rksearch.arch.paper import PaperRow

    ours = ("params", "params_paper", "macs", "counts_agree", "our_error_pct", "our_error_kind", "seeds")
    columns: dict[str, Callable[[Compared], Any]] = {}
    for own in fields(PaperRow):
        printed = own.name.endswith("_pct") or own.name == "params_m"
        columns[f"paper_{own.name}" if printed else own.name] = _of_row(own.name)
    return columns | {name: attrgetter(name) for name in ours}


def _of_row(name: str) -> Callable[[Compared], Any]:
    return lambda compared: getattr(compared.row, name)


def _print_csv(compared: list[Compared]) -> None:
    columns = _columns()
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([value(c) for value in columns.values()] for c in compared)
