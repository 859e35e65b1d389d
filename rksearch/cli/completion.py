"""Values that the shell completes: names of architectures, data sets, recipes, samplers and spaces, and paths."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import click
from click.shell_completion import CompletionItem

Completion = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]
"""What Click takes as `shell_complete`: of what is typed so far, the values to offer."""

PATH_SIGNS = ("/", "~", ".")
"""What a path has and no name begins with: paths are offered alone then."""


def offering(names: Callable[[], Iterable[str]], *, paths: bool = False) -> Completion:
    """Complete a value that is one of some names.

    Args:
        names: gives the names; called when the shell asks, so that `--help` needs none.
        paths: whether the value may be a path instead.
    """

    def complete(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
        if paths and typed.startswith(PATH_SIGNS):
            return [CompletionItem(typed, type="file")]
        found = [CompletionItem(name) for name in sorted(names()) if name.startswith(typed)]
        return found if found or not paths else [CompletionItem(typed, type="file")]

    return complete


def _architectures() -> Iterable[str]:
    from rksearch.arch.catalogue import list_models

    return list_models()


def _datasets() -> Iterable[str]:
    from rksearch.data.facts import datasets

    return (item.name for item in datasets.shipped())


def _recipes() -> Iterable[str]:
    from rksearch.recipes.shipped import recipes

    return recipes()


def _samplers() -> Iterable[str]:
    from rksearch.search.samplers.registry import samplers

    return (entry.name for entry in samplers.shipped())


def _spaces() -> Iterable[str]:
    from rksearch.space import shipped_spaces

    return shipped_spaces()


architectures = offering(_architectures)
datasets = offering(_datasets)
recipes = offering(_recipes, paths=True)
samplers = offering(_samplers)
spaces = offering(_spaces, paths=True)
exportable = offering(_architectures, paths=True)
