"""Limits on choices: the halvings that images allow, and counts that fit into 64 bits."""

from __future__ import annotations

from rksearch.arch.closed_forms import Largest, areas
from rksearch.data.facts import Dataset
from rksearch.errors import SpecError
from rksearch.recipes.document import Entry
from rksearch.space.counting import priced_family
from rksearch.space.definition import MAX_COUNT, PeriodChoices, solver_of


def check_resolution(entry: Entry, data: Dataset, periods: int) -> None:
    """Refuse more periods than the images can be halved for."""
    most = 1
    while areas(data, most + 1)[-1]:
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
    most = [_largest(choices) for choices in periods]
    try:
        largest = max(priced_family(name).magnitude(data, rates[-1] if rates else 0, most) for name in families)
    except SpecError as error:
        raise entry.complaint(str(error), "lower the largest m, s or r") from None
    if largest >= MAX_COUNT:
        raise entry.complaint(
            f"counts must stay below {MAX_COUNT:,}, but the largest choices give {largest:,}",
            "lower the largest m, s or r, or the largest growth rate",
        )


def _largest(choices: PeriodChoices) -> Largest:
    return Largest(max(choices.m, default=0), max(choices.s, default=0), choices.r[-1], _evaluations(choices))


def _evaluations(choices: PeriodChoices) -> int:
    """Largest number of evaluations of a stage function in a time-step of the period's tableaux."""
    solvers = [solver_of(method) for method in choices.method]
    return max((solver.evaluations for solver in solvers if solver), default=0)
