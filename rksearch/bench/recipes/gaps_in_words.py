"""Gaps between families in words: a sentence and a section of the page."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from rksearch.arch import parse
from rksearch.bench.estimates import Estimate
from rksearch.bench.recipes.gaps import FEWEST_SEEDS, LIKE_SIZE, FamilyGap, GapChange
from rksearch.report import text
from rksearch.results.stats import CONFIDENCE

BEYOND_CHANCE = 1 - CONFIDENCE
"""Probability, adjusted for the table, below which a change of a gap is not laid to chance."""


def gap_sentence(found: Sequence[FamilyGap], networks: Sequence[str], seeds: int) -> list[str]:
    """Whether the order of the families depends on the recipe, or why that is not judged; nothing of one family.

    Args:
        found: the gaps.
        networks: names of all networks.
        seeds: of the longest trainings.
    """
    if len({parse(arch).family for arch in networks}) == 1:
        return []
    if seeds < FEWEST_SEEDS:
        return [
            f"Whether a recipe changes the order of the families is not judged: that takes {FEWEST_SEEDS} seeds of the "
            f"longest trainings or more, which have {seeds}."
        ]
    changes = [(gap, gap.change) for gap in found if gap.change is not None]
    if not changes:
        return ["No networks of different families are of like size: their gaps are not judged."]
    first = found[0].recipe
    turned = [
        f"`{gap.archs[0]}` − `{gap.archs[1]}` by `{gap.recipe}`"
        for gap, change in changes
        if change.p_reversed < BEYOND_CHANCE
    ]
    changed = sum(change.p_changed < BEYOND_CHANCE for _, change in changes)
    reach = median((change.points.high - change.points.low) / 2 for _, change in changes)
    return [
        "Gaps between networks of different families at like size: "
        + (
            f"beyond chance, the sign is another than by `{first}` for {text.listing(turned)}"
            if turned
            else f"none changes its sign against `{first}` beyond chance"
        )
        + f"; {changed or 'none'} of {text.count(len(changes), 'change')} {'are' if changed > 1 else 'is'} beyond "
        f"chance. Few seeds leave wide intervals: with {seeds}, that of the median change reaches "
        f"±{text.pct_points(reach)}, and smaller changes may be there."
    ]


def gap_section(found: Sequence[FamilyGap], longest: int) -> list[str]:
    """The section of the page; nothing where there are no gaps.

    Args:
        found: the gaps.
        longest: epochs of the trainings behind them.
    """
    if not found:
        return []
    recipes = tuple(dict.fromkeys(gap.recipe for gap in found))
    rows: dict[tuple[str, str], list[FamilyGap]] = {}
    for gap in found:
        rows.setdefault(gap.archs, []).append(gap)
    return [
        f"## Gaps between families after {longest} epochs",
        text.markdown_table(
            ("Networks", "Parameters", *recipes, *(f"Change by {recipe}" for recipe in recipes[1:])),
            [
                (
                    f"{a} − {b}",
                    " and ".join(f"{size:,}" for size in own[0].params),
                    *(_points(gap.points) for gap in own),
                    *(_change(gap.change) for gap in own if gap.change is not None),
                )
                for (a, b), own in rows.items()
            ],
        ),
        "Each network is paired with the one of each other family that is nearest in parameters (by their logarithm), "
        f"up to {LIKE_SIZE:g} times as large. A gap is the first network's validation error minus the second's, in "
        f"points, mean over {found[0].seeds} seeds. Its change is against {recipes[0]}, paired by seed, whose number "
        "gives the same initial weights under each recipe. Intervals are 95 % (Student's t over the seeds) and not "
        "adjusted; they are about trainings of these networks, not about other networks of the families. *p* is "
        "adjusted for the number of changes (Bonferroni). A sign changes beyond chance where both gaps differ from "
        "zero, so adjusted, on opposite sides.",
    ]


def _points(found: Estimate) -> str:
    return text.gap(found.value, (found.low, found.high))


def _change(found: GapChange) -> str:
    p = "p < 0.01" if found.p_changed < 0.01 else f"p {found.p_changed:.2f}"
    return f"{_points(found.points)}, {p}"
