"""Plays strategies over many repetitions, in several processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from rksearch.bench.pool import as_they_end
from rksearch.bench.replay.judging import Replay, Start, replay_of
from rksearch.bench.replay.simulation import VirtualClock, play
from rksearch.bench.replay.strategies import Setup, strategies
from rksearch.bench.replay.table import Table
from rksearch.errors import RunError
from rksearch.results.plan import RacingRule
from rksearch.search.planning import racing_rule
from rksearch.space import RacingPlan

MOST_TRAININGS = 80
"""Limit of the default budget, in full trainings: a quarter of a large table is more than a search would spend."""

SLOW_REPETITIONS = 20
"""Number of repetitions, the first ones, that strategies play whose proposals take seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """Conditions that all strategies have in common.

    Attributes:
        table: what is searched.
        slots: virtual workers.
        budget_epochs: what each strategy may spend.
        racing: how strategies with racing race.
    """

    table: Table
    slots: int
    budget_epochs: int
    racing: RacingRule


def conditions_of(table: Table, *, slots: int, trainings: int | None = None) -> Conditions:
    """The conditions of a comparison, with racing as the table's space has it.

    Args:
        table: what is searched.
        slots: virtual workers.
        trainings: the budget, in full trainings; None for a quarter of the members, and at most `MOST_TRAININGS`.

    Raises:
        RunError: the trainings are too short for racing.
    """
    budget = trainings if trainings is not None else max(1, min(len(table.members) // 4, MOST_TRAININGS))
    plan = table.space.definition.search.racing or RacingPlan()
    racing = racing_rule(plan, table.epochs)
    if racing is None:
        raise RunError(
            f"trainings must have epochs enough to pause in, but those of {table.name} have {table.epochs}; take "
            "another table"
        )
    return Conditions(
        table=table,
        slots=slots,
        budget_epochs=budget * table.epochs,
        racing=racing,
    )


@dataclass(frozen=True, slots=True, order=True)
class Turn:
    """One strategy in one repetition, to be played.

    Attributes:
        repetition: number of the repetition.
        strategy: its name.
        start: see `rksearch.bench.replay.judging.Start`.
    """

    repetition: int
    strategy: str
    start: Start


def turns_of(names: Sequence[str], starts: Sequence[Start], *, repetitions: int) -> list[Turn]:
    """Every strategy in every repetition, repetition by repetition.

    Slow strategies play the first repetitions alone, with the first of several starts.
    """
    known = strategies()
    return [
        Turn(repetition, name, start)
        for repetition in range(repetitions)
        for start in starts
        for name in names
        if start in known[name].starts
        and not (known[name].slow and (repetition >= SLOW_REPETITIONS or start != starts[0]))
    ]


def replay(conditions: Conditions, turn: Turn) -> Replay:
    """One strategy in one repetition; the same arguments give the same result."""
    table, clock = conditions.table, VirtualClock()
    setup = Setup(
        table=table,
        repetition=turn.repetition,
        start=turn.start,
        budget_epochs=conditions.budget_epochs,
        racing=conditions.racing,
        clock=clock,
    )
    player = strategies()[turn.strategy].player(setup)
    played = play(player, table, slots=conditions.slots, budget_epochs=conditions.budget_epochs, clock=clock)
    return replay_of(turn.strategy, turn.start, turn.repetition, played)


def replay_all(conditions: Conditions, turns: Sequence[Turn], *, jobs: int) -> Iterator[Replay]:
    """The replays of all turns, each as it ends.

    Args:
        conditions: what they have in common.
        turns: what is played.
        jobs: processes.
    """
    return as_they_end(partial(replay, conditions), turns, jobs=jobs)
