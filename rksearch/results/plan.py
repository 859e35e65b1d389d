"""The plan of a run: fixed when the run begins, stored in the ledger, read back when the run is resumed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

import msgspec

from rksearch.errors import SpaceError
from rksearch.recipes.recipe import Recipe
from rksearch.results.records import Natural, Positive
from rksearch.space.plan import ErrorMetric, metric_of

Seeds = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
"""Number of trainings of one architecture; a larger one is damage."""

Seed = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""Seed of random choices."""

Rank = Literal["val_error", "train_loss_sum"]
"""The score by which racing ranks trials: the error by which the run compares networks, at the rung, or the sum of the
training losses of all epochs up to it (Ru et al. 2021)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RacingRule:
    """The epochs at which trials pause, and the share of them that continues.

    Attributes:
        rungs: epochs at which a trial pauses, rising.
        keep: share of each band that continues from a rung.
        bands: number of bands of equal width in log-parameters.
        rank: see `Rank`.

    Raises:
        SpaceError: a value breaks a rule.
    """

    rungs: tuple[int, ...]
    keep: float
    bands: int
    rank: Rank

    def __post_init__(self) -> None:
        ranks = get_args(Rank)
        rules: list[tuple[bool, str, object]] = [
            (bool(self.rungs) and self.rungs[0] >= 1, "rungs must be epochs from 1 on", self.rungs),
            (list(self.rungs) == sorted(set(self.rungs)), "rungs must rise", self.rungs),
            (0 < self.keep < 1, "keep must lie between 0 and 1", self.keep),
            (self.bands >= 1, "bands must be at least 1", self.bands),
            (self.rank in ranks, f"rank must be one of {', '.join(ranks)}", self.rank),
        ]
        for holds, rule, value in rules:
            if not holds:
                raise SpaceError(f"racing: {rule}, but got {value!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedObservation:
    """A training of another run that the sampler starts with; it is no result of this run.

    Attributes:
        arch: canonical name.
        values: the plan's objectives, in their order; NaN (null in JSON) for one that was not measured.
        run: name of the other run.
    """

    arch: str
    values: tuple[float | None, ...]
    run: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortResult:
    """What a network did in the run whose networks another run trains again.

    Attributes:
        arch: canonical name.
        errors_pct: compared errors on the validation split, one for each complete training, in percent.
        on_front: whether it was on the front of parameters or of MACs.
        is_baseline: whether it was a baseline.
    """

    arch: str
    errors_pct: tuple[float, ...]
    on_front: bool
    is_baseline: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRun:
    """The run whose networks another run trains again, usually for longer.

    Attributes:
        name: its name.
        began: time of its first record of a session; with the name it identifies the run.
        recipe: its training recipe.
        train_images: size of the subset that it trained on; None for all.
        results: its results for every network that is trained again.
    """

    name: str
    began: str
    recipe: Recipe
    train_images: Positive | None
    results: tuple[ShortResult, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The plan of a run.

    Attributes:
        dataset: name of the data set.
        recipe: training recipe of every architecture, baselines included.
        train_images: size of the stratified subset that is trained on; None for all.
        baselines, known: canonical names that are trained first, to the end.
        trials: maximum number of candidates that the search proposes besides those.
        search_seeds: trainings of every architecture that is trained to the end during the search.
        final_seeds: trainings of every baseline and of each member of the front at the end.
        objectives: numbers that the sampler minimises; the error among them is what the run compares networks by.
        sampler, sampler_seed: the sampler's registered name, and the seed of its choices.
        replicates: number of further trainings after those, one by one for the architecture whose membership in the
            front is most uncertain; None for as many as the budget of time allows.
        start: candidates that are proposed first.
        imported: trainings of other runs that the sampler starts with.
        racing: the rule by which candidates stop early; None to train each to the end.
        control: whether random candidates are trained beside the search, to the end and at equal cost in epochs.
        deterministic: number of trainings that may be under way: each is chosen from the results of all that were
            chosen before, except for this number less one of the latest. None to choose from the results that there
            are, which depend on how fast trainings end.
        source: the run whose networks this one trains again; None for a search.
    """

    dataset: str
    recipe: Recipe
    train_images: Positive | None
    baselines: tuple[str, ...]
    known: tuple[str, ...]
    trials: Natural
    search_seeds: Seeds
    final_seeds: Seeds
    objectives: tuple[str, ...]
    sampler: str
    sampler_seed: Seed
    replicates: Natural | None = 0
    start: tuple[str, ...] = ()
    imported: tuple[ImportedObservation, ...] = ()
    racing: RacingRule | None = None
    control: bool = False
    deterministic: Positive | None = None
    source: SourceRun | None = None

    def recipe_on(self, images: int) -> Recipe:
        """The recipe with the batches that trainings have, on a data set of so many images."""
        return self.recipe.cut_to(self.train_images or images)

    @property
    def metric(self) -> ErrorMetric:
        """The error by which search, fronts, effects, baselines and reports compare networks."""
        return metric_of(self.objectives)
