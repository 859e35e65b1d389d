"""`rksearch space`: what a search space holds, before anything is trained."""

from __future__ import annotations

import json

import click

from rksearch.cli.options import json_option


@click.group()
def space() -> None:
    """Look into search spaces: their size, their budgets, their members."""


@space.command("list")
@json_option
def list_spaces(as_json: bool) -> None:
    """List the spaces that come with rksearch."""
    from rksearch.space import load_space, shipped_spaces

    spaces = [load_space(name) for name in shipped_spaces()]
    if as_json:
        click.echo(json.dumps([s.to_json() for s in spaces], indent=2))
        return
    width = max(len(s.name) for s in spaces)
    for s in spaces:
        click.echo(f"{s.name:{width}}  {len(s):>10,} architectures  {s.definition.description}")


@space.command()
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """Show the size of space NAME (or of a YAML file), what its budgets reject, and its extremes."""
    from rksearch.space import describe_space, load_space

    found = load_space(name)
    click.echo(json.dumps(found.to_json(), indent=2) if as_json else describe_space(found))


@space.command()
@click.argument("name")
@click.option("-n", "count", type=click.IntRange(min=1), default=10, show_default=True, help="How many architectures.")
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same sample.")
@json_option
def sample(name: str, count: int, seed: int, as_json: bool) -> None:
    """Draw architectures from space NAME, uniformly and without repetition."""
    from rksearch.cost import cost
    from rksearch.space import load_space

    found = load_space(name)
    members = [(spec, cost(spec, found.definition.dataset)) for spec in found.sample(count, seed)]
    if as_json:
        click.echo(json.dumps([{"name": str(spec), **c._asdict()} for spec, c in members], indent=2))
        return
    for spec, c in members:
        click.echo(f"{c.params:>12,} params {c.macs:>15,} MACs  {spec}")
