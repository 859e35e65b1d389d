"""Trainings by several recipes, of several lengths: what there is to train, and its execution."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any

import rksearch
from rksearch.bench.pool import as_they_end
from rksearch.recipes.recipe import Recipe
from rksearch.results.codec import to_plain
from rksearch.results.records import TrialSpec
from rksearch.training.execution import Execution
from rksearch.training.inputs import SharedInputs
from rksearch.training.trial import run_trial

NETWORKS = (
    "RKNet-k8-m1_3_2-1x2s_1x1_1x3s",
    "RKNet-k8-m1_2_4-1x2s_2x1_1x1",
    "RKNet-BC-k8-m1_2_2-1x1_1x1_1x2s",
    "RKNet-BC-k8-m1_2_2-1x1_1x1_2x1",
    "RKNet-k8-m1_4_2-2x1_1x1_1x1",
    "RKNet-k8-m1_2_2-1x2_2x2s_1x1",
    "RKNet-k8-m2_3_2-1x1_1x1_2x2s",
    "RKNet-k8-m1_2_4-2x2s_2x1_1x2",
    "RKNet-k8-m2_3_2-1x1_1x2_2x1",
    "DenseNet-BC-16-k8",
    "DenseNet-13-k8",
    "ResNet-8",
)
"""Nine RKNets of `cifar10_small`, 12 to 37 thousand parameters and 4 to 8 MMACs, drawn over its sizes, and three of its
baselines."""

TOGETHER = (("schedule", "warmup", "milestones"), ("batch_size", "lr"))
"""Fields that make one term of a recipe: a schedule has its own warm-up, and the rate is scaled with the batch."""

FORMAT = 1


@dataclass(frozen=True, slots=True, order=True)
class Wanted:
    """One training.

    Attributes:
        epochs: its length.
        replicate: the number of its seed.
        recipe: key of the recipe.
        arch: name of the network.
    """

    epochs: int
    replicate: int
    recipe: str
    arch: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeTraining:
    """Result of a training.

    Attributes:
        epochs, replicate, recipe, arch: see `Wanted`.
        val_errors_pct: top-1 error after each epoch; fewer than `epochs` where the training failed.
        time_s: of the whole training with its validations. On a CPU the processor's seconds, which other work on the
            machine changes little; on a GPU those of the clock.
        failure: its reason; None where it ended.
        processor: what it was trained on; None in lines of earlier versions.
        jobs: trainings at a time, likewise.
    """

    epochs: int
    replicate: int
    recipe: str
    arch: str
    val_errors_pct: tuple[float, ...]
    time_s: float
    failure: str | None = None
    processor: str | None = None
    jobs: int | None = None

    @property
    def wanted(self) -> Wanted:
        """The training that this is the result of."""
        return Wanted(self.epochs, self.replicate, self.recipe, self.arch)

    @property
    def val_error_pct(self) -> float:
        """Error after the last epoch; 100 where the training failed."""
        return 100.0 if self.failure else self.val_errors_pct[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeConditions:
    """Conditions that all trainings have in common.

    Attributes:
        dataset: name of the data set.
        train_images: size of the stratified subset that is trained on; None for all.
        recipes: by key.
        device, precision: as for any trial; a trial on a CPU has one thread.
    """

    dataset: str
    train_images: int | None
    recipes: Mapping[str, Recipe]
    device: str
    precision: str

    def record(self) -> dict[str, Any]:
        """The conditions as plain values."""
        return {
            "format": FORMAT,
            "rksearch": rksearch.__version__,
            "dataset": self.dataset,
            "train_images": self.train_images,
            "device": self.device,
            "precision": self.precision,
            # The length is each training's own.
            "recipes": {key: {**to_plain(recipe), "epochs": None} for key, recipe in sorted(self.recipes.items())},
        }


def wanted_trainings(
    recipes: Sequence[str], networks: Sequence[str], lengths: Sequence[int], *, seeds: int
) -> list[Wanted]:
    """All trainings of a comparison, the short ones first.

    The longest ones have `seeds` seeds and are the truth. A shorter training has one seed, which none of those has:
    with a common seed it would begin with the same weights, and agree too well.

    Args:
        recipes: keys of the recipes.
        networks: names of the networks.
        lengths: numbers of epochs.
        seeds: of the longest trainings.
    """
    longest = max(lengths)
    return sorted(
        Wanted(epochs, replicate, recipe, arch)
        for epochs in set(lengths)
        for replicate in (range(seeds) if epochs == longest else [seeds])
        for recipe in recipes
        for arch in networks
    )


def without_each_term(recipe: Recipe, reference: Recipe) -> dict[str, Recipe]:
    """A recipe, and the same with each of its terms replaced by that of a reference, by key.

    Fields in `TOGETHER` are one term. The key of a variant names the fields.
    """
    groups = [*TOGETHER, *((field.name,) for field in fields(Recipe) if not any(field.name in own for own in TOGETHER))]
    found = {recipe.name: recipe}
    for names in groups:
        other = {name: getattr(reference, name) for name in names}
        changed = [name for name in names if getattr(recipe, name) != other[name]]
        if changed and names not in (("name",), ("epochs",)):
            found[f"{recipe.name} without {', '.join(changed)}"] = replace(recipe, **other)
    return found


def train_all(
    conditions: RecipeConditions,
    wanted: Sequence[Wanted],
    data_dir: str,
    *,
    processor: str,
    jobs: int,
    download: bool = True,
) -> Iterator[RecipeTraining]:
    """The results of all trainings, each as it ends.

    Args:
        conditions: what they have in common.
        wanted: the trainings.
        data_dir: directory of the data sets.
        processor: name of what they are trained on, for their results.
        jobs: processes that train beside each other.
        download: whether missing images may be downloaded.

    Raises:
        RksearchError: no data, or no such device.
    """
    results = as_they_end(partial(_trained, conditions, data_dir, download), wanted, jobs=jobs)
    return (replace(result, processor=processor, jobs=jobs) for result in results)


def _trained(conditions: RecipeConditions, data_dir: str, download: bool, wanted: Wanted) -> RecipeTraining:
    """Train in a directory of its own, from the first epoch on: a resumed training would not know its whole time.

    A process reads and hashes the images once, before the clock starts: its first training is charged with no more
    than the others.
    """
    spec = TrialSpec(
        arch=wanted.arch,
        dataset=conditions.dataset,
        recipe=replace(conditions.recipes[wanted.recipe], epochs=wanted.epochs),
        train_images=conditions.train_images,
        replicate=wanted.replicate,
    )
    with TemporaryDirectory(prefix="rksearch-recipes-") as work_dir:
        execution = Execution(
            work_dir=work_dir,
            data_dir=data_dir,
            device=conditions.device,
            precision=conditions.precision,
            download=download,
            compile="off",
        )
        SharedInputs.load(spec, execution)
        clock = time.process_time if conditions.device == "cpu" else time.perf_counter
        started = clock()
        result = run_trial(spec, execution)
        time_s = clock() - started
    return RecipeTraining(
        epochs=wanted.epochs,
        replicate=wanted.replicate,
        recipe=wanted.recipe,
        arch=wanted.arch,
        val_errors_pct=tuple(round(epoch.val_error_pct, 6) for epoch in result.epochs),
        time_s=round(time_s, 3),
        failure=None if result.status == "complete" else str(result.failure),
    )
