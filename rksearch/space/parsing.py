"""Parsing of a search-space file to its space, with the errors that only counting can find."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from rksearch.arch import canonical
from rksearch.errors import SpaceError
from rksearch.recipes.document import Entry
from rksearch.recipes.recipe import Recipe
from rksearch.space.format.reading import read_definition
from rksearch.space.space import Space


def parse_space(
    text: str,
    *,
    name: str,
    file: str | None = None,
    samplers: Collection[str] | None = None,
    directory: Path | None = None,
    recipe: Recipe | None = None,
) -> Space:
    """The space that the YAML `text` describes; errors call its source `file` (by default `<name>.yaml`).

    Args:
        text, name: text and name of the space.
        file: file name for errors.
        samplers: names of the known samplers, which a file may choose from; None to accept any.
        directory: where the paths of a recipe file and of images in the space start; None for the working directory.
        recipe: the recipe of a run that has recorded the text, which counts instead of the text's; what an earlier
            version took is then taken. None to read the text's.

    Raises:
        SpaceError: a rule of the file format is broken, nothing is feasible, or the space is too large.
    """
    definition, entries = read_definition(
        text, name=name, file=file or f"{name}.yaml", samplers=samplers, directory=directory, recorded=recipe
    )
    space = Space(definition)
    if not space.canonical_size:
        raise entries["constraints"].complaint("the constraints exclude all choices", "remove one")
    if not len(space):
        raise _empty(space, entries)
    if recipe is None:
        _check_names(space, entries)
    if "trials" not in entries:
        space.definition = replace(definition, trials=min(definition.trials, len(space)))
    elif definition.trials > len(space):
        raise entries["trials"].error(
            f"trials must be at most {len(space):,}, the number of feasible candidates", "lower it or widen the space"
        )
    return space


def _check_names(space: Space, entries: Mapping[str, Entry]) -> None:
    """Make sure that a member is listed as baseline or known by the name that the search has for it.

    Raises:
        SpaceError: it would be proposed as another network.
    """
    for key, specs in (("baselines", space.definition.baselines), ("known", space.definition.known)):
        items = entries[key].possibly_no_items() if specs else []
        for item, spec in zip(items, specs, strict=True):
            usual = canonical(spec)
            if usual != spec and usual in space:
                raise item.complaint(f"{spec} is the same network as {usual} of the space", f"write {usual}")


def _empty(space: Space, entries: Mapping[str, Entry]) -> SpaceError:
    definition = space.definition
    rejected = space.rejected
    alone = {
        "params": rejected["too_few_params"] + rejected["too_many_params"],
        "macs": rejected["too_few_macs"] + rejected["too_many_macs"],
        "depth": rejected["too_shallow"] + rejected["too_deep"],
    }
    impossible = [key for key, count in alone.items() if count == space.canonical_size]
    culprit = (
        f"the budget on {' and the one on '.join(impossible)} alone excludes" if impossible else "together they exclude"
    )
    where = entries.get("budgets") or entries.get("periods") or entries["architectures"]
    return where.complaint(
        f"no candidate has {definition.params} params, {definition.macs} MACs and {definition.depth} depth: {culprit} "
        f"all {space.canonical_size:,} candidates; {space.candidate_range()}",
        "widen the budgets or the choices",
    )
