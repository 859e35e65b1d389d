"""`rksearch recipe`: training recipes."""

from __future__ import annotations

import json

import click

from rksearch.cli import completion
from rksearch.cli.options import json_option


@click.group()
def recipe() -> None:
    """Inspect training recipes."""


@recipe.command("list")
@json_option
def list_recipes(as_json: bool) -> None:
    """List the recipes that come with rksearch."""
    from dataclasses import asdict

    from rksearch.recipes.shipped import recipes

    known = recipes()
    if as_json:
        click.echo(json.dumps([asdict(item) for item in known.values()], indent=2))
        return
    width = max(map(len, known))
    for name, item in known.items():
        rate = f"learning rate {item.lr:g} ({item.schedule})"
        click.echo(f"{name:{width}}  {item.epochs:>4} epochs, batch {item.batch_size}, {rate}")


@recipe.command()
@click.argument("name", shell_complete=completion.recipes)
@json_option
def show(name: str, as_json: bool) -> None:
    """Show recipe NAME (or a YAML file): its text, or with --json every field."""
    from dataclasses import asdict

    from rksearch.recipes.shipped import recipe as recipe_named
    from rksearch.recipes.shipped import recipe_text

    if as_json:
        click.echo(json.dumps(asdict(recipe_named(name)), indent=2))
        return
    click.echo(recipe_text(name).rstrip())
