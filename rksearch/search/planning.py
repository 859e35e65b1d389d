"""A run's plan from its space and the user's wishes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

from rksearch.errors import RunError
from rksearch.plain import is_flag, plain
from rksearch.recipes.shipped import recipe
from rksearch.results.plan import ImportedObservation, Plan, RacingRule, Rank
from rksearch.search.limits import stated_whole
from rksearch.search.objectives import objective
from rksearch.space import RacingPlan, SpaceDefinition
from rksearch.space.plan import checked_objectives

REPLICATES_SHARE = 1 / 4
"""Default number of further trainings for uncertain members of the front, as a share of the number of candidates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The user's wishes that replace what the space file says; None keeps what it says.

    `timed`: a budget of time ends the run, so that without a number of candidates there is no limit to them, nor to
    replicates for which the space has no number.

    Raises:
        RunError: a wish is of another type, or out of its limits.
    """

    trials: int | None = None
    recipe_name: str | None = None
    epochs: int | None = None
    final_seeds: int | None = None
    replicates: int | None = None
    objectives: Sequence[str] | None = None
    sampler: str | None = None
    sampler_seed: int = 0
    start: tuple[str, ...] = ()
    imported: tuple[ImportedObservation, ...] = ()
    racing: bool | None = None
    control: bool = False
    deterministic: int | None = None
    timed: bool = False

    def __post_init__(self) -> None:
        for name in ("trials", "epochs", "final_seeds", "replicates", "sampler_seed", "deterministic"):
            object.__setattr__(self, name, stated_whole(name, getattr(self, name)))
        for name in ("racing", "control"):
            flag = plain(getattr(self, name))
            if flag is not None and not is_flag(flag):
                raise RunError(f"{name} must be True or False, but got {flag!r}; give one of them, or leave it out")
            object.__setattr__(self, name, flag)

    @property
    def stated(self) -> frozenset[str]:
        """Names of the plan's fields that the user has stated."""
        wishes = {
            "trials": self.trials,
            "recipe": self.epochs if self.recipe_name is None else self.recipe_name,
            "final_seeds": self.final_seeds,
            "replicates": self.replicates,
            "objectives": self.objectives,
            "sampler": self.sampler,
            "racing": self.racing,
        }
        return frozenset(name for name, wish in wishes.items() if wish is not None)


def plan_of(definition: SpaceDefinition, asked: Asked, *, members: int) -> Plan:
    """The plan that a space file states, with the user's wishes in place of it.

    Args:
        definition: the space.
        asked: the user's wishes.
        members: number of architectures in the space.

    Raises:
        SpaceError: there is no such recipe or objective.
    """
    objectives = definition.search.objectives if asked.objectives is None else tuple(asked.objectives)
    for name in objectives:
        objective(name)
    chosen = definition.recipe if asked.recipe_name is None else recipe(asked.recipe_name)
    chosen = replace(chosen, epochs=asked.epochs) if asked.epochs else chosen
    final = definition.final_seeds if asked.final_seeds is None else asked.final_seeds
    trials = asked.trials
    if trials is None:
        trials = members if asked.timed else definition.trials
    replicates = definition.search.replicates if asked.replicates is None else asked.replicates
    if replicates is None and not asked.timed:
        replicates = math.ceil(trials * REPLICATES_SHARE)
    shares = definition.search.racing
    if asked.racing is not None:
        shares = (shares or RacingPlan()) if asked.racing else None
    return Plan(
        dataset=definition.dataset.name,
        recipe=chosen,
        train_images=definition.train_images,
        baselines=tuple(map(str, definition.baselines)),
        known=tuple(map(str, definition.known)),
        trials=trials,
        search_seeds=min(definition.search_seeds, final),
        final_seeds=final,
        replicates=replicates,
        objectives=checked_objectives(objectives),
        sampler=definition.search.sampler if asked.sampler is None else asked.sampler,
        sampler_seed=asked.sampler_seed,
        start=asked.start,
        imported=asked.imported,
        racing=racing_rule(shares, chosen.epochs) if shares else None,
        control=asked.control,
        deterministic=asked.deterministic,
    )


def racing_rule(shares: RacingPlan, epochs: int) -> RacingRule | None:
    """The rule with rungs in whole epochs of a recipe; None where it is too short to pause."""
    rungs = sorted({round(share * epochs) for share in shares.rungs} & set(range(1, epochs)))
    if not rungs:
        return None
    # RacingRule checks the rank.
    return RacingRule(rungs=tuple(rungs), keep=shares.keep, bands=shares.bands, rank=cast(Rank, shares.rank))
