"""Limits on choices: the halvings that images allow, and counts that fit into 64 bits."""

from __future__ import annotations

from itertools import pairwise

from rksearch.arch import ResidualRKNet, cost
from rksearch.data.facts import Dataset
from rksearch.space.definition import PeriodChoices, solver_of
from rksearch.space.format.document import Entry

MAX_COUNT = 2**60
"""Counts stay below this, so that sums of a few of them are exact in 64 bits."""


def check_resolution(entry: Entry, data: Dataset, periods: int) -> None:
    """Refuse more periods than the images can be halved for."""
    most = 1
    while cost.areas(data, most + 1)[-1]:
        most += 1
    if periods > most:
        raise entry.complaint(
            f"images of {data.height} x {data.width} pixels can be halved for at most {most} periods, "
            f"but {periods} are listed",
            "list fewer",
        )


def check_magnitude(
    entry: Entry, data: Dataset, families: tuple[str, ...], rates: tuple[int, ...], periods: tuple[PeriodChoices, ...]
) -> None:
    """Refuse choices whose largest combination exceeds the counts that 64 bits hold; smaller ones cannot."""
    # Python's integers do not overflow: this is no less than the exact count of the largest network.
    largest = 0
    if rates:
        # Bottleneck layers cost more than plain ones or less, depending on m.
        largest = max(_dense_magnitude(data, bottleneck, rates[-1], periods) for bottleneck in (False, True))
    if "residual" in families:
        largest = max(largest, _residual_magnitude(data, periods))
    if largest >= MAX_COUNT:
        raise entry.complaint(
            f"counts must stay below {MAX_COUNT:,}, but the largest choices give {largest:,}",
            "lower the largest m, s or r, or the largest growth rate",
        )


def _dense_magnitude(data: Dataset, bottleneck: bool, k: int, periods: tuple[PeriodChoices, ...]) -> int:
    pixels = cost.areas(data, len(periods))
    ms = [p.m[-1] for p in periods]
    parts = [cost.stem_cost(data, k, ms[0]), cost.head_cost(data, k, ms[-1])]
    for p, area in zip(periods, pixels, strict=True):
        if p.s:
            parts.append(cost.period_cost(bottleneck, k, p.m[-1], p.s[-1], p.r[-1], 0, area))
        stages = _evaluations(p) * p.r[-1]
        parts.append(cost.solver_cost(bottleneck, k, p.m[-1], stages, stages, stages**2, area))
    parts += [cost.transition_cost(k, a, b, area) for (a, b), area in zip(pairwise(ms), pixels[:-1], strict=True)]
    return int(max(sum(part.params for part in parts), sum(part.macs for part in parts)))


def _residual_magnitude(data: Dataset, periods: tuple[PeriodChoices, ...]) -> int:
    parts = []
    for i, (p, area) in enumerate(zip(periods, cost.residual_areas(data, len(periods)), strict=True)):
        width, stages = ResidualRKNet.FIRST_WIDTH << i, _evaluations(p) * p.r[-1]
        parts.append(cost.residual_transition_cost(width, area))
        parts.append(cost.residual_solver_cost(width, stages, stages, stages**2, area))
        if p.s:
            parts.append(cost.residual_period_cost(width, p.s[-1], p.r[-1], 0, area))
    parts += [cost.residual_stem_cost(data, width), cost.residual_head_cost(data, width)]
    return int(max(sum(part.params for part in parts), sum(part.macs for part in parts)))


def _evaluations(choices: PeriodChoices) -> int:
    """Largest number of evaluations of a stage function in a time-step of the period's tableaux."""
    solvers = [solver_of(method) for method in choices.method]
    return max((solver.evaluations for solver in solvers if solver), default=0)
