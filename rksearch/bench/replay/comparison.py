"""All strategies over all repetitions of a replay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rksearch.bench.estimates import Estimate
from rksearch.bench.replay.judging import CORNERS, STARTS, CornerName, Judge, Judged, Replay, Start
from rksearch.bench.replay.replays import Conditions
from rksearch.bench.replay.standings import Curve, Standing, curve, standings, target
from rksearch.bench.replay.strategies import DEFAULT_STRATEGY, REFERENCE, strategies


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """All strategies with one start, judged up to one corner.

    Attributes:
        start: whether all began alike or each as it comes.
        corner: where the hypervolume ends.
        goal: the reference's median final hypervolume.
        standings: one per strategy, in the order in which they are listed.
        curves: likewise.
    """

    start: Start
    corner: CornerName
    goal: float
    standings: tuple[Standing, ...]
    curves: tuple[Curve, ...]

    @property
    def lead(self) -> Estimate | None:
        """Mean difference of the default's final hypervolume to the reference's; None where it did not play."""
        return next((own.lead for own in self.standings if own.strategy == DEFAULT_STRATEGY), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyComparison:
    """All strategies over all repetitions.

    Attributes:
        conditions: what they had in common.
        judge: what judged them.
        judged: the standings of every replay.
        cases: every start with every corner.
    """

    conditions: Conditions
    judge: Judge
    judged: tuple[Judged, ...]
    cases: tuple[Case, ...]

    @property
    def repetitions(self) -> int:
        """Number of repetitions that the reference played."""
        return max(own.repetitions for case in self.cases for own in case.standings if own.strategy == REFERENCE)

    @property
    def weakest(self) -> Case | None:
        """The case in which the default leads the reference least; None where the default did not play."""
        return min((case for case in self.cases if case.lead), key=lambda case: _value(case.lead), default=None)


def compared(conditions: Conditions, judge: Judge, replays: Sequence[Replay]) -> StrategyComparison:
    """The statistics of replays, those of the reference among them, by the judge of their table."""
    judged = tuple(judge.judged(replay) for replay in replays)
    cases = []
    for start in STARTS:
        groups = {
            name: [own for own in judged if own.replay.start == start and own.replay.strategy == name]
            for name in strategies()
        }
        groups = {name: group for name, group in groups.items() if group}
        if REFERENCE in groups:
            cases += [_case(groups, start, corner, conditions.budget_epochs) for corner in CORNERS]
    return StrategyComparison(conditions=conditions, judge=judge, judged=judged, cases=tuple(cases))


def _case(groups: dict[str, list[Judged]], start: Start, corner: CornerName, budget_epochs: int) -> Case:
    found = standings(groups, corner, budget_epochs=budget_epochs, reference=REFERENCE, default=DEFAULT_STRATEGY)
    return Case(
        start=start,
        corner=corner,
        goal=target(groups[REFERENCE], corner),
        standings=tuple(found),
        curves=tuple(curve(name, own, corner, budget_epochs=budget_epochs) for name, own in groups.items()),
    )


def _value(figure: Estimate | None) -> float:
    return figure.value if figure else 0.0
