"""`rksearch space`: search spaces and their members."""

from __future__ import annotations

import json
from pathlib import Path

import click

from rksearch.cli import completion
from rksearch.cli.options import execution_options, is_given, json_option
from rksearch.cli.output import require_replaceable, write_file
from rksearch.cli.values import SEED, UserPath
from rksearch.errors import RunError, unwritable
from rksearch.search.limits import MOST_TRIALS


@click.group()
def space() -> None:
    """Inspect search spaces: their size, their budgets, their members."""


@space.command("list")
@json_option
def list_spaces(as_json: bool) -> None:
    """List the spaces that come with rksearch."""
    from rksearch.results.codec import to_plain
    from rksearch.space import load_space, shipped_spaces

    spaces = [load_space(name) for name in shipped_spaces()]
    if as_json:
        click.echo(json.dumps([to_plain(s.summary()) for s in spaces], indent=2))
        return
    width = max(len(s.name) for s in spaces)
    for s in spaces:
        click.echo(f"{s.name:{width}}  {len(s):>10,} architectures  {s.definition.description}")


@space.command()
@click.argument("name", shell_complete=completion.spaces)
@click.option("--html", type=UserPath(dir_okay=False), help="Write a page with pictures to this file.")
@click.option("--time", "with_time", is_flag=True, help="Also measure some steps, and say what a run would cost here.")
@json_option
@execution_options
def show(
    name: str,
    html: Path | None,
    with_time: bool,
    as_json: bool,
    data_dir: Path | None,
    no_download: bool,
    device: str,
    precision: str,
) -> None:
    """Show the size of space NAME (or of a YAML file), the numbers that its budgets reject, and its extremes.

    The options for images, device and precision are those of --time.
    """
    from rksearch.results.codec import to_plain
    from rksearch.search.samplers.registry import samplers
    from rksearch.space import describe_space, load_space

    for option in ("data_dir", "no_download", "device", "precision"):
        if is_given(option) and not with_time:
            named = f"--{option.replace('_', '-')}"
            raise click.UsageError(f"{named} is for what --time measures; add --time, or leave it out")
    found = load_space(name, samplers=samplers.items())
    if html is not None:
        from rksearch.report.space_page import WRITTEN_BY, space_page
        from rksearch.results.own_files import is_own_page

        require_replaceable(html, lambda path: is_own_page(path, WRITTEN_BY))
        write_file(html, space_page(found).encode(), "the page")
    foreseen = None
    if with_time:
        from rksearch import api

        resources = api.Resources(data_dir=data_dir, download=not no_download, device=device, precision=precision)
        foreseen = api.forecast(found, resources=resources)
    if as_json:
        facts = to_plain(found.summary())
        click.echo(json.dumps(facts if foreseen is None else {**facts, "time": to_plain(foreseen)}, indent=2))
        return
    click.echo(describe_space(found))
    if foreseen is not None:
        click.echo(f"\n{foreseen}")


@space.command()
@click.argument("name", shell_complete=completion.spaces)
@click.option(
    "-n", "count", type=click.IntRange(1, MOST_TRIALS), default=10, show_default=True, help="Number of architectures."
)
@click.option("--seed", type=SEED, default=0, show_default=True, help="Seed of the sample.")
@json_option
def sample(name: str, count: int, seed: int, as_json: bool) -> None:
    """Draw architectures from space NAME, uniformly and without repetition."""
    from rksearch.arch.cost import cost
    from rksearch.search.samplers.registry import samplers
    from rksearch.space import load_space

    found = load_space(name, samplers=samplers.items())
    members = [(spec, cost(spec, found.definition.dataset)) for spec in found.sample(count, seed)]
    if as_json:
        click.echo(json.dumps([{"name": str(spec), **c._asdict()} for spec, c in members], indent=2))
        return
    for spec, c in members:
        click.echo(f"{c.params:>12,} params {c.macs:>15,} MACs  {spec}")


@space.command()
@click.argument("name", shell_complete=completion.spaces)
@click.option("--to", "path", type=UserPath(dir_okay=False), required=True, help="A .parquet file.")
def export(name: str, path: Path) -> None:
    """Write all architectures of space NAME, in the order of their names, with params, macs and depth."""
    from rksearch.results.own_files import is_marked
    from rksearch.search.samplers.registry import samplers
    from rksearch.space import load_space
    from rksearch.space.parquet import MARK, write_parquet

    if path.suffix != ".parquet":
        raise RunError(f"the file must end in .parquet, but got {str(path)!r}; name it {path.with_suffix('.parquet')}")
    require_replaceable(path, lambda own: is_marked(own, MARK))
    found = load_space(name, samplers=samplers.items())
    try:
        write_parquet(found, path)
    except OSError as error:
        rule = f"cannot write {path}: {error.strerror or error}"
        refused = RunError(f"{rule}; choose a directory that exists and can be written")
        raise unwritable(refused, error) from None
    click.echo(f"{len(found):,} architectures in {path}")
