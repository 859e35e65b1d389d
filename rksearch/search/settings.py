"""What a run was asked to do: fixed when the run begins, stored in the ledger's first record, read back on resume."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from rksearch.recipe import Recipe, recipe
from rksearch.space import SpaceDefinition


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The plan of a run.

    Attributes:
        dataset: name of the data set.
        recipe: how every architecture, baselines included, is trained.
        train_images: size of the stratified subset that is trained on; None for all.
        baselines, known: canonical names that are trained first.
        trials: candidates that the search may propose besides those.
        search_seeds: trainings of every architecture during the search.
        final_seeds: trainings of every baseline and of what stands on the front at the end.
        sampler_seed: seed of the search's own random choices.
    """

    dataset: str
    recipe: Recipe
    train_images: int | None
    baselines: tuple[str, ...]
    known: tuple[str, ...]
    trials: int
    search_seeds: int
    final_seeds: int
    sampler_seed: int = 0

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
            "sampler": {"name": "tpe", "seed": self.sampler_seed},
        }

    @classmethod
    def from_json(cls, plan: Mapping[str, Any]) -> Settings:
        """The settings that `to_json` wrote."""
        return cls(
            dataset=plan["dataset"],
            recipe=Recipe.from_json(plan["recipe"]),
            train_images=plan["train_images"],
            baselines=tuple(plan["baselines"]),
            known=tuple(plan["known"]),
            trials=plan["trials"],
            search_seeds=plan["seeds"]["search"],
            final_seeds=plan["seeds"]["final"],
            sampler_seed=plan["sampler"]["seed"],
        )


def settings_of(
    definition: SpaceDefinition,
    *,
    trials: int | None = None,
    recipe_name: str | None = None,
    epochs: int | None = None,
    final_seeds: int | None = None,
    sampler_seed: int = 0,
) -> Settings:
    """The plan that a space file states, with what the user asked for instead.

    Raises:
        SpaceError: there is no such recipe.
    """
    chosen = recipe(recipe_name) if recipe_name else definition.recipe
    final = definition.final_seeds if final_seeds is None else final_seeds
    return Settings(
        dataset=definition.dataset.name,
        recipe=replace(chosen, epochs=epochs) if epochs else chosen,
        train_images=definition.train_images,
        baselines=tuple(map(str, definition.baselines)),
        known=tuple(map(str, definition.known)),
        trials=definition.trials if trials is None else trials,
        search_seeds=min(definition.search_seeds, final),
        final_seeds=final,
        sampler_seed=sampler_seed,
    )
