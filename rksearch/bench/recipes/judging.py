"""Judgement of recipes: their errors and times at each length, and how well a length ranks architectures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import hypot, isnan

from rksearch.bench.estimates import Estimate
from rksearch.bench.recipes.trainings import RecipeTraining
from rksearch.results.stats import mean, paired_comparison, rank_correlation

MARGIN_PCT = 0.5
"""Difference of errors, in points, that counts as none."""


@dataclass(frozen=True, slots=True)
class Correlation:
    """A rank correlation over networks, with its interval; None where the networks are too few for one."""

    value: float
    interval: tuple[float, float] | None


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
            For the longest themselves that of one seed with the mean of the others: not how well a length ranks, but
            how well seeds agree. None where they have one seed, or all errors are equal.
        ranks_against_first: difference of that correlation to the first recipe's; None for that recipe and where one of
            them has no interval.
        order_of_first: rank correlation of its errors with those of the first recipe at the same length: whether both
            order the networks alike; None for that recipe. Both have the same seeds, and so the same initial weights,
            which makes it higher than it would be between separate trainings.
    """

    recipe: str
    epochs: int
    seeds: int
    val_error_pct: float
    time_s: float
    failed: int
    against_first: Estimate | None
    time_ratio: float
    ranks: Correlation | None
    ranks_against_first: Estimate | None
    order_of_first: Correlation | None


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
    errors = by_network(trainings)
    networks = sorted({arch for own in errors.values() for arch in own})
    if len(networks) < 3 or any(sorted(own) != networks for own in errors.values()):
        raise ValueError("a comparison needs three networks or more, each trained by all recipes at all lengths")
    lengths = sorted({epochs for _, epochs in errors})
    first_ranks: dict[int, Correlation | None] = {}
    found = []
    for recipe in recipes:
        for epochs in lengths:
            own, first = errors[recipe, epochs], errors[recipes[0], epochs]
            own_pct, first_pct = _errors(own, networks), _errors(first, networks)
            ranks = _ranks(own, errors[recipe, lengths[-1]], networks)
            if recipe == recipes[0]:
                first_ranks[epochs] = ranks
            found.append(
                Length(
                    recipe=recipe,
                    epochs=epochs,
                    seeds=min(len(seeds) for seeds in own.values()),
                    val_error_pct=mean(own_pct),
                    time_s=mean([one.time_s for seeds in own.values() for one in seeds]),
                    failed=sum(one.failure is not None for seeds in own.values() for one in seeds),
                    against_first=None if recipe == recipes[0] else _difference(own_pct, first_pct),
                    time_ratio=_time_s(own) / _time_s(first),
                    ranks=ranks,
                    ranks_against_first=None if recipe == recipes[0] else _rank_difference(ranks, first_ranks[epochs]),
                    order_of_first=None if recipe == recipes[0] else _correlation(own_pct, first_pct),
                )
            )  # fmt: skip
    return found


def recipe_standings(trainings: Iterable[RecipeTraining], recipes: Sequence[str]) -> list[RecipeStanding]:
    """Every network by every recipe after the longest trainings: recipe by recipe, the lowest error of the first one
    first."""
    from scipy.stats import rankdata  # type: ignore[import-untyped]

    errors = by_network(trainings)
    longest = max(epochs for _, epochs in errors)
    first = errors[recipes[0], longest]
    networks = sorted(first, key=lambda arch: (_error_pct(first[arch]), arch))
    found = []
    for recipe in recipes:
        own = errors[recipe, longest]
        ranks = rankdata(_errors(own, networks))
        found += [
            RecipeStanding(
                arch=arch, recipe=recipe, val_errors_pct=tuple(one.val_error_pct for one in own[arch]), rank=float(rank)
            )
            for arch, rank in zip(networks, ranks, strict=True)
        ]
    return found


def by_network(trainings: Iterable[RecipeTraining]) -> dict[tuple[str, int], dict[str, list[RecipeTraining]]]:
    """Trainings of each network, in the order of their seeds, by recipe and length."""
    errors: dict[tuple[str, int], dict[str, list[RecipeTraining]]] = {}
    for one in sorted(trainings, key=lambda one: one.wanted):
        errors.setdefault((one.recipe, one.epochs), {}).setdefault(one.arch, []).append(one)
    return errors


def _ranks(
    own: Mapping[str, list[RecipeTraining]], longest: Mapping[str, list[RecipeTraining]], networks: Sequence[str]
) -> Correlation | None:
    """Correlation of a length with the longest, or of the longest's first seed with its others."""
    if own is not longest:
        return _correlation(_errors(own, networks), _errors(longest, networks))
    if any(len(seeds) < 2 for seeds in own.values()):
        return None
    return _correlation(
        [own[arch][0].val_error_pct for arch in networks], [_error_pct(own[arch][1:]) for arch in networks]
    )


def _correlation(a: Sequence[float], b: Sequence[float]) -> Correlation | None:
    value, interval = rank_correlation(a, b)
    return None if isnan(value) else Correlation(value, interval)


def _rank_difference(ranks: Correlation | None, first: Correlation | None) -> Estimate | None:
    """Difference of two correlations, its interval from theirs: Zou (2007), Psychological Methods 12:399.

    Taken as independent, though both are over the same networks: what these have in common would make it narrower.
    """
    if ranks is None or first is None or ranks.interval is None or first.interval is None:
        return None
    (low, high), (first_low, first_high) = ranks.interval, first.interval
    value = ranks.value - first.value
    # A correlation of 1 lies above its own interval: it has no distance to the upper end.
    below = hypot(ranks.value - low, max(0.0, first_high - first.value))
    above = hypot(max(0.0, high - ranks.value), first.value - first_low)
    return Estimate(value, value - below, value + above)


def _errors(own: Mapping[str, list[RecipeTraining]], networks: Sequence[str]) -> list[float]:
    return [_error_pct(own[arch]) for arch in networks]


def _difference(own: Sequence[float], first: Sequence[float]) -> Estimate:
    found = paired_comparison(own, first, margin=MARGIN_PCT)
    low, high = found.interval_95
    return Estimate(found.mean_difference, low, high)


def _error_pct(seeds: Sequence[RecipeTraining]) -> float:
    return mean([one.val_error_pct for one in seeds])


def _time_s(own: Mapping[str, list[RecipeTraining]]) -> float:
    return sum(mean([one.time_s for one in seeds]) for seeds in own.values())
