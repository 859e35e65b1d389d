"""Runs that train the front of another run again: by another recipe, with several seeds, on all training images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import yaml

from rksearch.arch import parse
from rksearch.errors import RunError, nearest
from rksearch.recipes.recipe import Recipe
from rksearch.results.fronts import both_fronts
from rksearch.results.history import History, RunRecord
from rksearch.results.plan import Plan, ShortResult, SourceRun
from rksearch.results.summaries import ArchSummary, summarise
from rksearch.search.planning import Asked, plan_of
from rksearch.space import Space, parse_space


def retraining(
    history: History,
    begun: RunRecord,
    *,
    front: bool,
    archs: Sequence[str],
    recipe: Recipe,
    seeds: int,
    directory: Path | None,
) -> tuple[Space, Plan]:
    """The space and the plan of a run that trains networks of another run again, beside its baselines.

    Nothing is chosen any more: every network has all its seeds. It trains on the split's whole training part; the
    validation images are the same and stay apart.

    Args:
        history, begun: the other run, and its plan.
        front: whether its fronts of parameters and of MACs are trained.
        archs: names of further networks that it has trained to the end.
        recipe: recipe of the trainings.
        seeds: trainings of each network.
        directory: where the relative path of its images starts.

    Raises:
        RunError: the run has no front yet, or has not trained one of `archs` to the end.
    """
    items = {item.arch: item for item in summarise(history)}
    on_front = {item.arch for item in both_fronts(items.values())}
    baselines = [name for name in begun.plan.baselines if name in items]
    named = [str(parse(name)) for name in archs]
    for name in named:
        if name not in items:
            raise RunError(
                f"a network to train again must have a complete training in {begun.name}, but {name} has none"
                f"{nearest(name, items)}; `rksearch status` lists those"
            )
    chosen = [item for item in items.values() if (front and item.arch in on_front) or item.arch in named]
    networks = [item.arch for item in sorted(chosen, key=_by_size) if item.arch not in baselines]
    if not networks and named and not front:
        raise RunError(
            "baselines are trained again beside other networks, but only baselines were named "
            f"({', '.join(named)}); name other networks, or add those of the front (--front)"
        )
    if not networks:
        raise RunError(
            f"a run to train again must have networks on its front, but {begun.name} has none yet; resume it first"
        )
    space = parse_space(
        _space_text(begun, networks, baselines, seeds),
        name=f"{begun.space.name}-again",
        directory=directory,
        recipe=recipe,
    )
    asked = Asked(
        trials=len(networks),
        final_seeds=seeds,
        replicates=0,
        objectives=begun.plan.objectives,
        sampler="random",
        start=tuple(networks),
        racing=False,
    )
    plan = plan_of(space.definition, asked, members=len(space))
    source = SourceRun(
        name=begun.name,
        began=history.sessions[0].start if history.sessions else begun.time,
        recipe=begun.plan.recipe,
        train_images=begun.plan.train_images,
        results=tuple(_short(items[name], on_front) for name in (*baselines, *networks)),
    )
    return space, replace(plan, source=source)


def _by_size(item: ArchSummary) -> tuple[int, str]:
    return item.params, item.arch


def _short(item: ArchSummary, on_front: set[str]) -> ShortResult:
    return ShortResult(
        arch=item.arch,
        errors_pct=tuple(item.errors_pct),
        on_front=item.arch in on_front,
        is_baseline=item.is_baseline,
    )


def _space_text(begun: RunRecord, networks: Sequence[str], baselines: Sequence[str], seeds: int) -> str:
    """The text of a space file that lists the networks; the recipe is recorded beside it."""
    content = {
        "description": f"Networks of the run {begun.name}, trained again",
        "dataset": begun.plan.dataset,
        "architectures": list(networks),
        "trials": len(networks),
        "seeds": {"search": seeds, "final": seeds},
        "search": {"sampler": "random", "racing": False, "replicates": 0, "objectives": list(begun.plan.objectives)},
        "baselines": list(baselines),
    }
    if not baselines:
        del content["baselines"]
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)
