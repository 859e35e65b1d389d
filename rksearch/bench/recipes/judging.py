"""Judgement of recipes: their errors and times at each length, and how well a length ranks architectures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rksearch.bench.estimates import Estimate
from rksearch.bench.recipes.trainings import RecipeTraining
from rksearch.results.stats import central_interval, mean, paired_comparison

if TYPE_CHECKING:
    import numpy.typing as npt

DRAWS = 10_000
"""Bootstrap draws of architectures."""

CONFIDENCE = 0.95

MARGIN_PCT = 0.5
"""Difference of errors, in points, that counts as none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    """A recipe at one length.

    Attributes:
        recipe: its key.
        epochs: the length.
        seeds: trainings of each network.
        val_error_pct: mean over the networks of each one's mean over its seeds.
        time_s: mean time of a training.
        failed: trainings that failed; each counts as an error of 100 %.
        against_first: error minus that of the first recipe at the same length, over the networks; None for that recipe.
        time_ratio: its time over that of the first recipe at the same length, summed over the networks.
        ranks: correlation of its errors with the means of the same recipe's longest trainings, which have other seeds.
            For the longest themselves that of one seed with the mean of the others; None where they have one seed.
        ranks_against_first: difference of that correlation to the first recipe's; None for that recipe and where one of
            them is None.
        order_of_first: rank correlation of its errors with those of the first recipe at the same length: whether both
            order the networks alike; None for that recipe.
    """

    recipe: str
    epochs: int
    seeds: int
    val_error_pct: float
    time_s: float
    failed: int
    against_first: Estimate | None
    time_ratio: float
    ranks: Estimate | None
    ranks_against_first: Estimate | None
    order_of_first: Estimate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeStanding:
    """A network among the others by one recipe, after its longest trainings.

    Attributes:
        arch: name of the network.
        recipe: key of the recipe.
        val_errors_pct: of its seeds, in their order.
        rank: 1 for the lowest mean error; equal ones have their mean rank.
    """

    arch: str
    recipe: str
    val_errors_pct: tuple[float, ...]
    rank: float

    @property
    def val_error_pct(self) -> float:
        """Mean over the seeds."""
        return mean(self.val_errors_pct)


def judged(trainings: Iterable[RecipeTraining], recipes: Sequence[str]) -> list[Length]:
    """Every recipe at every length, recipe by recipe.

    Args:
        trainings: of the same networks by all recipes, at all lengths.
        recipes: keys of the recipes; the others are compared with the first.

    Raises:
        ValueError: fewer than three networks, which have no rank correlation to speak of, or one is missing somewhere.
    """
    errors = _by_network(trainings)
    networks = sorted({arch for own in errors.values() for arch in own})
    if len(networks) < 3 or any(sorted(own) != networks for own in errors.values()):
        raise ValueError("a comparison needs three networks or more, each trained by all recipes at all lengths")
    draws = np.random.default_rng(0).integers(len(networks), size=(DRAWS, len(networks)))
    lengths = sorted({epochs for _, epochs in errors})
    first_ranks: dict[int, npt.NDArray[np.float64] | None] = {}
    found = []
    for recipe in recipes:
        for epochs in lengths:
            own, first = errors[recipe, epochs], errors[recipes[0], epochs]
            ranks = _rank_draws(own, errors[recipe, lengths[-1]], networks, draws)
            if recipe == recipes[0]:
                first_ranks[epochs] = ranks
            found.append(
                Length(
                    recipe=recipe,
                    epochs=epochs,
                    seeds=min(len(seeds) for seeds in own.values()),
                    val_error_pct=mean([_error_pct(own[arch]) for arch in networks]),
                    time_s=mean([one.time_s for seeds in own.values() for one in seeds]),
                    failed=sum(one.failure is not None for seeds in own.values() for one in seeds),
                    against_first=None if recipe == recipes[0] else _difference(own, first, networks),
                    time_ratio=_time_s(own) / _time_s(first),
                    ranks=_estimate(ranks),
                    ranks_against_first=None if recipe == recipes[0] else _rank_difference(ranks, first_ranks[epochs]),
                    order_of_first=None if recipe == recipes[0] else _order(own, first, networks, draws),
                )
            )  # fmt: skip
    return found


def recipe_standings(trainings: Iterable[RecipeTraining], recipes: Sequence[str]) -> list[RecipeStanding]:
    """Every network by every recipe after the longest trainings: recipe by recipe, the lowest error of the first one
    first."""
    from scipy.stats import rankdata  # type: ignore[import-untyped]

    errors = _by_network(trainings)
    longest = max(epochs for _, epochs in errors)
    first = errors[recipes[0], longest]
    networks = sorted(first, key=lambda arch: (_error_pct(first[arch]), arch))
    found = []
    for recipe in recipes:
        own = errors[recipe, longest]
        ranks = rankdata([_error_pct(own[arch]) for arch in networks])
        found += [
            RecipeStanding(
                arch=arch, recipe=recipe, val_errors_pct=tuple(one.val_error_pct for one in own[arch]), rank=float(rank)
            )
            for arch, rank in zip(networks, ranks, strict=True)
        ]
    return found


def spearman(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Spearman's rank correlation of each row of `a` with that of `b`, (draws, n): Pearson's of the ranks, equal values
    having their mean rank. Rows of one value have none: NaN."""
    from scipy.stats import rankdata

    x, y = (ranks - ranks.mean(axis=1, keepdims=True) for ranks in (rankdata(a, axis=1), rankdata(b, axis=1)))
    spread = np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    with np.errstate(invalid="ignore"):
        found: npt.NDArray[np.float64] = (x * y).sum(axis=1) / spread
    return found


def _by_network(trainings: Iterable[RecipeTraining]) -> dict[tuple[str, int], dict[str, list[RecipeTraining]]]:
    """Trainings of each network, in the order of their seeds, by recipe and length."""
    errors: dict[tuple[str, int], dict[str, list[RecipeTraining]]] = {}
    for one in sorted(trainings, key=lambda one: one.wanted):
        errors.setdefault((one.recipe, one.epochs), {}).setdefault(one.arch, []).append(one)
    return errors


def _rank_draws(
    own: Mapping[str, list[RecipeTraining]],
    longest: Mapping[str, list[RecipeTraining]],
    networks: Sequence[str],
    draws: npt.NDArray[np.int64],
) -> npt.NDArray[np.float64] | None:
    """Correlation of a length with the longest over all networks, and then in every draw of networks."""
    if own is longest:
        if any(len(seeds) < 2 for seeds in own.values()):
            return None
        ranked = [own[arch][0].val_error_pct for arch in networks]
        truth = [_error_pct(own[arch][1:]) for arch in networks]
    else:
        ranked = [_error_pct(own[arch]) for arch in networks]
        truth = [_error_pct(longest[arch]) for arch in networks]
    return _drawn_correlations(ranked, truth, draws)


def _order(
    own: Mapping[str, list[RecipeTraining]],
    first: Mapping[str, list[RecipeTraining]],
    networks: Sequence[str],
    draws: npt.NDArray[np.int64],
) -> Estimate | None:
    a, b = ([_error_pct(errors[arch]) for arch in networks] for errors in (own, first))
    return _estimate(_drawn_correlations(a, b, draws))


def _drawn_correlations(
    a: Sequence[float], b: Sequence[float], draws: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Rank correlation over all networks, and then in every draw of networks."""
    index = np.vstack([np.arange(len(a)), draws])
    return spearman(np.asarray(a)[index], np.asarray(b)[index])


def _rank_difference(ranks: npt.NDArray[np.float64] | None, first: npt.NDArray[np.float64] | None) -> Estimate | None:
    if ranks is None or first is None:
        return None
    return _estimate(ranks - first)


def _estimate(values: npt.NDArray[np.float64] | None) -> Estimate | None:
    """The first value with the interval of the others, which are draws; one of a single network has no ranks and is
    left out, as everything is where all networks have one error."""
    if values is None or not np.isfinite(values[0]):
        return None
    low, high = central_interval(values[1:][np.isfinite(values[1:])], CONFIDENCE)
    return Estimate(float(values[0]), low, high)


def _difference(
    own: Mapping[str, list[RecipeTraining]], first: Mapping[str, list[RecipeTraining]], networks: Sequence[str]
) -> Estimate:
    found = paired_comparison(
        [_error_pct(own[arch]) for arch in networks],
        [_error_pct(first[arch]) for arch in networks],
        margin=MARGIN_PCT,
    )
    low, high = found.interval_95
    return Estimate(found.mean_difference, low, high)


def _error_pct(seeds: Sequence[RecipeTraining]) -> float:
    return mean([one.val_error_pct for one in seeds])


def _time_s(own: Mapping[str, list[RecipeTraining]]) -> float:
    return sum(mean([one.time_s for one in seeds]) for seeds in own.values())
