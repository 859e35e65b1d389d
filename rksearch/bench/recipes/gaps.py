"""Gaps between networks of different families at like size, by recipe: whether a recipe changes the families' order."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from rksearch.arch import parse
from rksearch.arch.cost import cost
from rksearch.arch.families import FAMILIES
from rksearch.bench.estimates import Estimate
from rksearch.bench.recipes.judging import by_network
from rksearch.bench.recipes.trainings import RecipeTraining
from rksearch.data.facts import dataset
from rksearch.results.stats import CONFIDENCE, StudentEstimate

FEWEST_SEEDS = 3
"""Seeds that a gap needs. Errors are counts of images: two seeds may well agree to the last digit, which Student's t
would take for certainty. Where they do not, its interval is several points wide."""

LIKE_SIZE = 2.0
"""Ratio of parameters up to which networks are of like size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GapChange:
    """Change of a gap against the first recipe.

    Attributes:
        points: its mean over the seeds, paired by seed, with the interval of Student's t.
        p_changed: probability of a mean as far from zero by chance.
        p_reversed: probability of the two opposite signs of the gaps by chance: the larger of both gaps' own, as both
            must differ from zero; 1 where the signs are alike.

    Both are adjusted for the number of changes of the table, by Bonferroni.
    """

    points: Estimate
    p_changed: float
    p_reversed: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyGap:
    """Two networks of different families by one recipe, after its longest trainings.

    Attributes:
        archs: their names.
        families: machine names of their families.
        params: their sizes.
        recipe: key of the recipe.
        seeds: trainings of each.
        points: validation error of the first minus that of the second, in points: the mean over the seeds with the
            interval of Student's t.
        change: against the first recipe; None for that recipe.
    """

    archs: tuple[str, str]
    families: tuple[str, str]
    params: tuple[int, int]
    recipe: str
    seeds: int
    points: Estimate
    change: GapChange | None


def family_gaps(trainings: Iterable[RecipeTraining], recipes: Sequence[str], dataset_name: str) -> list[FamilyGap]:
    """The gap of every pair of `pairs_of_like_size` by every recipe, pair by pair.

    Args:
        trainings: of the same networks by all recipes; the longest ones count.
        recipes: keys of the recipes; the others are compared with the first.
        dataset_name: the data set, for the networks' sizes.

    Returns:
        The gaps; none where no networks of two families are of like size, or seeds are fewer than `FEWEST_SEEDS`.
    """
    errors = by_network(trainings)
    longest = max(epochs for _, epochs in errors)
    sizes = {arch: cost(parse(arch), dataset(dataset_name)).params for arch in errors[recipes[0], longest]}
    found = []
    for a, b in pairs_of_like_size(sizes):
        by_seed = {recipe: _by_seed(errors[recipe, longest][a], errors[recipe, longest][b]) for recipe in recipes}
        first = by_seed[recipes[0]]
        if len(first) < FEWEST_SEEDS:
            return []
        for recipe, own in by_seed.items():
            found.append(
                FamilyGap(
                    archs=(a, b),
                    families=(parse(a).family, parse(b).family),
                    params=(sizes[a], sizes[b]),
                    recipe=recipe,
                    seeds=len(own),
                    points=_points(StudentEstimate.of_mean(own)),
                    change=None if recipe == recipes[0] else _change(own, first),
                )
            )
    return _adjusted(found)


def pairs_of_like_size(sizes: Mapping[str, int]) -> list[tuple[str, str]]:
    """Each network of one family with the network of each other family that is nearest in log parameters, where it
    is of like size. Each pair stands once, the network of the earlier family first.

    Args:
        sizes: parameters of the networks, by name.
    """
    order = [family.key for family in FAMILIES]
    place = {arch: (order.index(parse(arch).family), size, arch) for arch, size in sizes.items()}

    def distance(pair: tuple[str, str]) -> tuple[float, str]:
        return abs(math.log(sizes[pair[0]] / sizes[pair[1]])), pair[1]

    pairs = set()
    for arch, (own, _, _) in place.items():
        for family in {family for family, _, _ in place.values()} - {own}:
            nearest = min(((arch, other) for other in sizes if place[other][0] == family), key=distance)
            if distance(nearest)[0] <= math.log(LIKE_SIZE):
                first, second = sorted(nearest, key=place.__getitem__)
                pairs.add((first, second))
    return sorted(pairs, key=lambda pair: (place[pair[0]][0], place[pair[1]][0], place[pair[0]], place[pair[1]]))


def _by_seed(a: Sequence[RecipeTraining], b: Sequence[RecipeTraining]) -> list[float]:
    """Gaps of two networks, whose trainings are in the order of their seeds."""
    return [one.val_error_pct - other.val_error_pct for one, other in zip(a, b, strict=True)]


def _points(own: StudentEstimate) -> Estimate:
    return Estimate(own.estimate, *own.interval(CONFIDENCE))


def _change(own: Sequence[float], first: Sequence[float]) -> GapChange:
    """The change, with probabilities that are not adjusted yet."""
    gap, before = StudentEstimate.of_mean(own), StudentEstimate.of_mean(first)
    change = StudentEstimate.of_mean([now - then for now, then in zip(own, first, strict=True)])
    opposite = gap.estimate * before.estimate < 0
    return GapChange(
        points=_points(change),
        p_changed=change.p_value,
        p_reversed=max(gap.p_value, before.p_value) if opposite else 1.0,
    )


def _adjusted(found: Sequence[FamilyGap]) -> list[FamilyGap]:
    number = sum(gap.change is not None for gap in found)

    def adjusted(change: GapChange) -> GapChange:
        p_changed, p_reversed = (min(1.0, number * p) for p in (change.p_changed, change.p_reversed))
        return replace(change, p_changed=p_changed, p_reversed=p_reversed)

    return [replace(gap, change=adjusted(gap.change)) if gap.change is not None else gap for gap in found]
