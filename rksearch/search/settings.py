"""What a run was asked to do: fixed when the run begins, stored in the ledger's run record, read back on resume."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rksearch.recipes.recipe import Recipe, recipe
from rksearch.search.objectives import DEFAULT, objective
from rksearch.search.racing import Racing
from rksearch.space import RacingPlan, SpaceDefinition
from rksearch.space.plan import checked_objectives

REPLICATES_SHARE = 1 / 4
"""Of the candidates' number: further trainings given where membership in the front is uncertain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The plan of a run.

    Attributes:
        dataset: name of the data set.
        recipe: how every architecture, baselines included, is trained.
        train_images: size of the stratified subset that is trained on; None for all.
        baselines, known: canonical names that are trained first, to the end.
        trials: candidates that the search may propose besides those.
        search_seeds: trainings of every architecture that is trained to the end during the search.
        final_seeds: trainings of every baseline and of what stands on the front at the end.
        replicates: further trainings after those, so many in all, one by one for the architecture whose membership in
            the front is most uncertain; None for as many as the budget of time allows.
        objectives: what the sampler makes small.
        sampler, sampler_seed: who chooses candidates; see `rksearch.search.samplers`.
        start: candidates that are proposed first.
        imported: observations of other runs that the sampler begins with: `arch`, `values`, `run`.
        racing: which candidates are stopped early; None to train every one to the end.
        control: whether random candidates are trained beside, to the end and at equal cost in epochs, to compare with.
    """

    dataset: str
    recipe: Recipe
    train_images: int | None
    baselines: tuple[str, ...]
    known: tuple[str, ...]
    trials: int
    search_seeds: int
    final_seeds: int
    replicates: int | None = 0
    objectives: tuple[str, ...] = DEFAULT
    sampler: str = "tpe"
    sampler_seed: int = 0
    start: tuple[str, ...] = ()
    imported: tuple[Mapping[str, Any], ...] = ()
    racing: Racing | None = None
    control: bool = False

    def to_json(self) -> dict[str, Any]:
        """The `plan` of the ledger's run record; `from_json` is the inverse."""
        return {
            "dataset": self.dataset,
            "recipe": self.recipe.to_json(),
            "train_images": self.train_images,
            "baselines": list(self.baselines),
            "known": list(self.known),
            "trials": self.trials,
            "seeds": {"search": self.search_seeds, "final": self.final_seeds},
            "replicates": self.replicates,
            "objectives": list(self.objectives),
            "sampler": {"name": self.sampler, "seed": self.sampler_seed},
            "start": list(self.start),
            "imported": [dict(item) for item in self.imported],
            "racing": self.racing and self.racing.to_json(),
            "control": self.control,
        }

    @classmethod
    def from_json(cls, plan: Mapping[str, Any]) -> Settings:
        """The settings that `to_json` wrote; runs of version 0.1 had no racing and no replicates."""
        racing = plan.get("racing")
        return cls(
            dataset=plan["dataset"],
            recipe=Recipe.from_json(plan["recipe"]),
            train_images=plan["train_images"],
            baselines=tuple(plan["baselines"]),
            known=tuple(plan["known"]),
            trials=plan["trials"],
            search_seeds=plan["seeds"]["search"],
            final_seeds=plan["seeds"]["final"],
            replicates=plan.get("replicates", 0),
            objectives=tuple(plan.get("objectives", DEFAULT)),
            sampler=plan["sampler"]["name"],
            sampler_seed=plan["sampler"]["seed"],
            start=tuple(plan.get("start", ())),
            imported=tuple(plan.get("imported", ())),
            racing=Racing.from_json(racing) if racing else None,
            control=plan.get("control", False),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a user wants otherwise than the space file says; None for as it says."""

    trials: int | None = None
    recipe_name: str | None = None
    epochs: int | None = None
    final_seeds: int | None = None
    replicates: int | None = None
    objectives: Sequence[str] | None = None
    sampler: str | None = None
    sampler_seed: int = 0
    start: tuple[str, ...] = ()
    imported: tuple[Mapping[str, Any], ...] = ()
    racing: bool | None = None
    control: bool = False
    timed: bool = False


def settings_of(definition: SpaceDefinition, asked: Asked, *, members: int) -> Settings:
    """The plan that a space file states, with what the user asked for instead.

    Args:
        definition: the space.
        asked: see `Asked`; `timed` says that a budget of time ends the run, so that without a number of candidates
            there is no limit to them, nor to the replicates.
        members: how many architectures the space holds.

    Raises:
        SpaceError: there is no such recipe or objective.
    """
    for name in asked.objectives or ():
        objective(name)
    chosen = recipe(asked.recipe_name) if asked.recipe_name else definition.recipe
    chosen = replace(chosen, epochs=asked.epochs) if asked.epochs else chosen
    final = definition.final_seeds if asked.final_seeds is None else asked.final_seeds
    trials = asked.trials
    if trials is None:
        trials = members if asked.timed else definition.trials
    replicates: int | None = asked.replicates
    if replicates is None and not asked.timed:
        replicates = (
            math.ceil(trials * REPLICATES_SHARE)
            if definition.search.replicates is None
            else definition.search.replicates
        )
    plan = definition.search.racing
    if asked.racing is not None:
        plan = (plan or RacingPlan()) if asked.racing else None
    return Settings(
        dataset=definition.dataset.name,
        recipe=chosen,
        train_images=definition.train_images,
        baselines=tuple(map(str, definition.baselines)),
        known=tuple(map(str, definition.known)),
        trials=trials,
        search_seeds=min(definition.search_seeds, final),
        final_seeds=final,
        replicates=replicates,
        objectives=checked_objectives(tuple(asked.objectives or definition.search.objectives)),
        sampler=asked.sampler or definition.search.sampler,
        sampler_seed=asked.sampler_seed,
        start=asked.start,
        imported=asked.imported,
        racing=race_of(plan, chosen.epochs) if plan else None,
        control=asked.control,
    )


def race_of(plan: RacingPlan, epochs: int) -> Racing | None:
    """The plan's rungs in whole epochs of a recipe; None where it is too short to pause."""
    rungs = sorted({round(share * epochs) for share in plan.rungs} & set(range(1, epochs)))
    if not rungs:
        return None
    return Racing(rungs=tuple(rungs), keep=plan.keep, bands=plan.bands, rank=plan.rank)
