"""All strategies over all repetitions of a replay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rksearch.bench.replay.judging import Replay
from rksearch.bench.replay.replays import Conditions
from rksearch.bench.replay.standings import Curve, Standing, by_strategy, curve, standing, target
from rksearch.bench.replay.strategies import REFERENCE


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyComparison:
    """All strategies over all repetitions.

    Attributes:
        conditions: what they had in common.
        repetitions: how many.
        replays: every one.
        standings: per strategy, in the order asked for.
        curves: likewise.
        goal: random search's median final hypervolume.
    """

    conditions: Conditions
    repetitions: int
    replays: tuple[Replay, ...]
    standings: tuple[Standing, ...]
    curves: tuple[Curve, ...]
    goal: float


def compared(conditions: Conditions, replays: Sequence[Replay]) -> StrategyComparison:
    """The statistics of replays, random search's among them."""
    groups = by_strategy(replays)
    rivals, budget = groups[REFERENCE], conditions.budget_epochs
    return StrategyComparison(
        conditions=conditions,
        repetitions=len(rivals),
        replays=tuple(replays),
        standings=tuple(standing(group, rivals, budget_epochs=budget) for group in groups.values()),
        curves=tuple(curve(group, budget_epochs=budget) for group in groups.values()),
        goal=target(rivals),
    )
