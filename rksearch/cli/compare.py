"""`rksearch compare`: runs beside one another."""

from __future__ import annotations

import json
from pathlib import Path

import click

from rksearch.cli.options import json_option
from rksearch.cli.values import UserPath


@click.command()
@click.argument("directories", metavar="RUN...", nargs=-1, required=True, type=UserPath())
@click.option(
    "--to", type=UserPath(file_okay=False), help="Also write page, Markdown, JSON and pictures to this directory."
)
@click.option(
    "--allow-differences",
    is_flag=True,
    help="Compare runs of other images, splits, recipes or errors too; the differences are shown.",
)
@json_option
def compare(directories: tuple[Path, ...], to: Path | None, allow_differences: bool, as_json: bool) -> None:
    """Compare the runs in the directories RUN: fronts, hypervolumes, and the best network of each at every size.

    Each run is a side, and so is its control arm: one run is enough where it has one. Prints Markdown.
    """
    from rksearch import api
    from rksearch.report.comparison import comparison_content, comparison_json
    from rksearch.report.comparison_files import write_comparison_files
    from rksearch.report.markdown import report_markdown

    found = api.compare(directories, allow_differences=allow_differences)
    written = write_comparison_files(to, found) if to is not None else []
    if as_json:
        click.echo(json.dumps(comparison_json(found), indent=2))
        return
    click.echo(report_markdown(comparison_content(found, figures=False), written_by=""), nl=False)
    for path in written:
        click.echo(path)
