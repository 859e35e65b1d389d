"""Findings of other runs that a run can begin with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from rksearch.arch import parse
from rksearch.results.fronts import both_fronts
from rksearch.results.plan import ImportedObservation, Plan
from rksearch.results.recipes import concerning
from rksearch.results.run_dir import read_run
from rksearch.results.summaries import summarise
from rksearch.search.objectives import objective, values_of
from rksearch.space import Space


def imported(directories: Sequence[Path], space: Space, plan: Plan) -> tuple[list[str], list[ImportedObservation]]:
    """Architectures and observations of the runs in `directories` that lie in `space`.

    Returns:
        The architectures on their fronts that the space holds, to be proposed first; and, of the runs that trained by
        the same recipe on the same images, the objectives of every first training that the space holds and that
        has all of them, for the sampler. Nothing of them counts as a result of this run.

    Raises:
        RunError: a directory holds no run.
    """
    start: dict[str, None] = {}
    observations: list[ImportedObservation] = []
    objectives = [objective(name) for name in plan.objectives]
    for directory in directories:
        history = read_run(directory)
        front = [item.arch for item in both_fronts(summarise(history))]
        start |= dict.fromkeys(arch for arch in front if parse(arch) in space)
        data, own = history.data, space.definition.dataset
        same_images = data is None or data.fingerprint == own.fingerprint
        for spec, result in history.trials.values():
            same = same_images and (spec.dataset, spec.train_images) == (plan.dataset, plan.train_images)
            same = same and concerning(spec.arch, spec.recipe) == concerning(spec.arch, plan.recipe)
            first = spec.is_first_of_search and result.status == "complete"
            if same and first and parse(spec.arch) in space:
                values = values_of(spec, result, objectives)
                if all(map(math.isfinite, values)):  # another run may not have measured what this one minimises
                    observations.append(
                        ImportedObservation(arch=spec.arch, values=values, run=directory.absolute().name)
                    )
    return list(start), observations
