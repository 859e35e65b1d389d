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


def judged(trainings: Iterable[RecipeTraining], recipes: Sequence[str]) -> list[Length]:
    """Every recipe at every length, recipe by recipe.

    Args:
        trainings: of the same networks by all recipes, at all lengths.
        recipes: keys of the recipes; the others are compared with the first.

    Raises:
        ValueError: fewer than three networks, which have no rank correlation to speak of, or one is missing somewhere.
    """
    errors: dict[tuple[str, int], dict[str, list[RecipeTraining]]] = {}
    for one in sorted(trainings, key=lambda one: one.wanted):
        errors.setdefault((one.recipe, one.epochs), {}).setdefault(one.arch, []).append(one)
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
                )
            )  # fmt: skip
    return found


def spearman(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Spearman's rank correlation of each row of `a` with that of `b`, (draws, n): Pearson's of the ranks, equal values
    having their mean rank. Rows of one value have none: NaN."""
    from scipy.stats import rankdata  # type: ignore[import-untyped]

    x, y = (ranks - ranks.mean(axis=1, keepdims=True) for ranks in (rankdata(a, axis=1), rankdata(b, axis=1)))
    spread = np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    with np.errstate(invalid="ignore"):
        found: npt.NDArray[np.float64] = (x * y).sum(axis=1) / spread
    return found


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
    index = np.vstack([np.arange(len(networks)), draws])
    return spearman(np.asarray(ranked)[index], np.asarray(truth)[index])


def _rank_difference(ranks: npt.NDArray[np.float64] | None, first: npt.NDArray[np.float64] | None) -> Estimate | None:
    if ranks is None or first is None:
        return None
    return _estimate(ranks - first)


def _estimate(values: npt.NDArray[np.float64] | None) -> Estimate | None:
    """The first value with the interval of the others, which are draws; one of a single network has no ranks and is
    left out."""
    if values is None:
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
