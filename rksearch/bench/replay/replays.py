"""Plays strategies over many repetitions, in several processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context

from rksearch.bench.replay.judging import Judge, Replay, judged
from rksearch.bench.replay.simulation import VirtualClock, play
from rksearch.bench.replay.strategies import Setup, strategies
from rksearch.bench.replay.table import Table
from rksearch.errors import RunError
from rksearch.results.plan import RacingRule
from rksearch.search.planning import racing_rule
from rksearch.space import RacingPlan

CHUNK = 5
"""Repetitions that a process plays before it reports: the table travels with each request."""


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
        trainings: the budget, in full trainings; None for a quarter of the members.

    Raises:
        RunError: the trainings are too short for racing.
    """
    budget = trainings if trainings is not None else max(1, len(table.members) // 4)
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


def replay(conditions: Conditions, strategy: str, repetition: int) -> Replay:
    """One strategy in one repetition; the same arguments give the same result."""
    table, clock = conditions.table, VirtualClock()
    setup = Setup(
        table=table,
        repetition=repetition,
        budget_epochs=conditions.budget_epochs,
        racing=conditions.racing,
        clock=clock,
    )
    player = strategies()[strategy].player(setup)
    played = play(player, table, slots=conditions.slots, budget_epochs=conditions.budget_epochs, clock=clock)
    return judged(strategy, repetition, played, Judge(table))


def replay_all(
    conditions: Conditions,
    strategies: Sequence[str],
    *,
    repetitions: int,
    jobs: int,
    on_done: Callable[[Replay], None] = lambda _: None,
) -> list[Replay]:
    """Every strategy in every repetition, in this order.

    Args:
        conditions: what they have in common.
        strategies: names.
        repetitions: how many, numbered from 0.
        jobs: processes.
        on_done: called with each as it ends.
    """
    chunks = [
        (strategy, tuple(range(first, min(first + CHUNK, repetitions))))
        for first in range(0, repetitions, CHUNK)
        for strategy in strategies
    ]
    found: dict[tuple[str, int], Replay] = {}
    for done in _played(conditions, chunks, jobs):
        found[done.strategy, done.repetition] = done
        on_done(done)
    return [found[strategy, repetition] for strategy in strategies for repetition in range(repetitions)]


def _played(conditions: Conditions, chunks: Sequence[tuple[str, tuple[int, ...]]], jobs: int) -> Iterator[Replay]:
    if jobs == 1:
        for strategy, repetitions in chunks:
            for repetition in repetitions:
                yield replay(conditions, strategy, repetition)
        return
    # Read by the processes when they begin: each has one core, and threads beyond it only get in the way.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"))
    try:
        waiting = [pool.submit(_replay_chunk, conditions, *chunk) for chunk in chunks]
        for future in as_completed(waiting):
            yield from future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _replay_chunk(conditions: Conditions, strategy: str, repetitions: tuple[int, ...]) -> list[Replay]:
    return [replay(conditions, strategy, repetition) for repetition in repetitions]
