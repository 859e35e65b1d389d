"""Training the winners of a run again, for longer."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rksearch.api.directory import Run
from rksearch.api.launch import PlannedRun, directory_stated, start_run, stated_resources
from rksearch.api.progress import view_of
from rksearch.recipes.recipe import Recipe
from rksearch.recipes.shipped import PAPER_RECIPE
from rksearch.recipes.shipped import recipe as recipe_named
from rksearch.results.run_dir import RunDir, claim_free, require_plan
from rksearch.search.limits import stated_several, stated_whole
from rksearch.search.ray.starting import require_no_ray
from rksearch.search.resources import Resources
from rksearch.search.view import View
from rksearch.space.plan import SEEDS_AGAIN


def retrain(
    run: str | Path | Run,
    *,
    front: bool = True,
    archs: Sequence[str] = (),
    recipe: str | Path | Recipe = PAPER_RECIPE,
    epochs: int | None = None,
    seeds: int = SEEDS_AGAIN,
    out: str | Path | None = None,
    resources: Resources | None = None,
    progress: bool | View = True,
) -> Run:
    """Train the front of a run again, beside its baselines: by another recipe, on all training images, with seeds.

    The new run is linked to its source: its report sets short beside long trainings. Validation images stay apart; the
    test set is read by `final_run` alone, for all networks of the new run, so that it decides nothing.

    Args:
        run: the source, or its directory.
        front: whether its fronts of parameters and of MACs are trained.
        archs: names of further networks that it has trained to the end.
        recipe: a recipe, a shipped one's name, or the path of a YAML file.
        epochs: epochs of a training; None for the recipe's.
        seeds: trainings of each network.
        out: run directory, which is resumed where it holds this run; None for `reports/<source>-again-<n>`.
        resources: what the run may use; None for the defaults.
        progress: whether to show a progress bar; or a view of one's own.

    Returns:
        The new run, its report written.

    Raises:
        RunError: the source has no front yet, or has not trained one of `archs` to the end; or as `run`.
        SpaceError: no such recipe.
        RunAborted: no further trial could succeed.
    """
    from rksearch.search.launch import images_base
    from rksearch.search.retraining import retraining

    require_no_ray()
    archs = stated_several("archs", archs) or ()
    epochs = stated_whole("epochs", epochs)
    seeds = stated_whole("seeds", seeds) or SEEDS_AGAIN
    resources = stated_resources(resources)
    source = run if isinstance(run, Run) else Run(run)
    stated = directory_stated(out)
    begun = require_plan(source.history, source.path)
    chosen = recipe if isinstance(recipe, Recipe) else recipe_named(recipe)
    space, plan = retraining(
        source.history,
        begun,
        front=front,
        archs=archs,
        recipe=replace(chosen, epochs=epochs) if epochs else chosen,
        seeds=seeds,
        directory=images_base(source.run_dir, begun.plan.dataset),
    )
    directory = stated or claim_free(Path("reports"), f"{begun.name}-again")
    planned = PlannedRun(space=space, plan=plan, directory=directory, asked=frozenset(plan.__slots__))
    return start_run(planned, _with_images(resources, source.run_dir), view_of(progress))


def _with_images(resources: Resources, source: RunDir) -> Resources:
    """The resources; images are looked for where the source had them, unless the caller says where they lie."""
    noted = source.places()
    if resources.data_dir is not None or noted is None or not os.path.isdir(noted.data_dir):
        return resources
    return replace(resources, data_dir=noted.data_dir)
