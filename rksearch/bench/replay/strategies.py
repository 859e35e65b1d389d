"""The strategies that are compared, by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache

from rksearch.bench.replay.judging import STARTS, Start
from rksearch.bench.replay.ledger_in_memory import MemoryLedger
from rksearch.bench.replay.ordinary_study import OrdinaryStudy
from rksearch.bench.replay.search_player import SearchPlayer
from rksearch.bench.replay.simulation import Player, VirtualClock
from rksearch.bench.replay.stock_ray import StockRay
from rksearch.bench.replay.table import Table
from rksearch.errors import RunError, nearest
from rksearch.results.plan import Plan, RacingRule
from rksearch.search.assembly import search_agenda
from rksearch.search.racing import expected_epochs
from rksearch.search.run_state import RunState
from rksearch.search.samplers.registry import samplers
from rksearch.space import SearchPlan
from rksearch.space.plan import DEFAULT_OBJECTIVES


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """Conditions of one repetition of a strategy.

    Attributes:
        table: the table that is searched.
        repetition: number of the repetition; seeds are functions of it.
        start: whether the smallest member is trained first, or the strategy begins as it comes.
        budget_epochs: epochs that may be spent.
        racing: rule of the strategies with racing.
        clock: virtual time.
    """

    table: Table
    repetition: int
    start: Start
    budget_epochs: int
    racing: RacingRule
    clock: VirtualClock

    @property
    def first(self) -> tuple[str, ...]:
        """Names of members to train before any that the strategy proposes."""
        return (self.table.space.smallest.name,) if self.start == "same" else ()

    @property
    def trainings(self) -> int:
        """Full trainings that the budget pays, the last of them perhaps in part."""
        return min(len(self.table.members), math.ceil(self.budget_epochs / self.table.epochs))


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """A way to search.

    Attributes:
        name: name in tables and on the command line; what follows a `+` says how trainings are stopped early.
        text: description in words.
        player: makes a player that has not begun.
        slow: whether proposals take seconds, so that it plays the first repetitions only.
        starts: the starts that it plays.
    """

    name: str
    text: str
    player: Callable[[Setup], Player]
    slow: bool = False
    starts: tuple[Start, ...] = STARTS


RANDOM = "random"

REFERENCE = "random+smallest"
"""The strategy that all are compared with."""

EARLY = ("+racing", "+asha")
"""Ends of the names of strategies that stop trainings early."""

NOT_COMPARED = ("grid",)
"""Samplers that are no strategy: the order of the indices has no meaning."""

ORDINARY = "frontier-optuna"
"""The default sampler in an ordinary Optuna study, from final values alone."""

STOCK = {
    "ray-optuna": "Ray's OptunaSearch as it comes, on error and parameters",
    "ray-optuna-error": "Ray's OptunaSearch as it comes, on the error alone",
}

DEFAULT_STRATEGY = SearchPlan().sampler + ("+racing" if SearchPlan().racing else "")
"""The strategy of `rksearch run` unless a space says otherwise."""

SLOW = ("gp",)
"""Samplers whose proposals take seconds."""


def _ours(sampler: str, *, race: bool) -> Callable[[Setup], Player]:
    def player(setup: Setup) -> Player:
        return search_player(setup, sampler=sampler, racing=setup.racing if race else None)

    return player


def _random_smallest(setup: Setup) -> Player:
    return search_player(replace(setup, start="same"), sampler=RANDOM, racing=None)


def search_player(setup: Setup, *, sampler: str, racing: RacingRule | None) -> SearchPlayer:
    """The run that `rksearch run` would make of the table's space, without further seeds.

    Baselines are known at the start rather than trained: none is a member, so that no sampler learns from them.
    """
    table = setup.table
    trials = min(len(table.members), math.ceil(setup.budget_epochs / expected_epochs(racing, table.epochs)))
    plan = Plan(
        dataset=table.space.definition.dataset.name,
        recipe=table.plan.recipe,
        train_images=table.plan.train_images,
        baselines=(),
        known=(),
        trials=trials,
        search_seeds=1,
        final_seeds=1,
        objectives=DEFAULT_OBJECTIVES,
        sampler=sampler,
        sampler_seed=setup.repetition,
        racing=racing,
        start=setup.first,
    )
    state = RunState(MemoryLedger(), search_agenda(table.space, plan), clock=setup.clock)
    return SearchPlayer(state, table, repetition=setup.repetition)


def _ordinary(setup: Setup) -> Player:
    return OrdinaryStudy(
        setup.table,
        repetition=setup.repetition,
        sampler="frontier",
        trials=setup.trainings,
        first=setup.first,
    )


def _stock(*, two_objectives: bool, asha: bool) -> Callable[[Setup], Player]:
    def player(setup: Setup) -> Player:
        # Stopped trials cost little: what ends the search is the budget, not the number of trials.
        return StockRay(
            setup.table,
            repetition=setup.repetition,
            two_objectives=two_objectives,
            asha=asha,
            trials=setup.budget_epochs,
            first=setup.first,
        )

    return player


@cache
def strategies() -> Mapping[str, Strategy]:
    """All strategies by name: those of registered samplers with and without racing, the ordinary study, and Ray's."""
    text = samplers.get(RANDOM).description
    found = [
        Strategy(name=REFERENCE, text=f"{text}; the smallest member first", player=_random_smallest),
        # With the smallest member first it is the reference.
        Strategy(name=RANDOM, text=text, player=_ours(RANDOM, race=False), starts=("own",)),
        Strategy(name=f"{RANDOM}+racing", text=f"{text}; racing", player=_ours(RANDOM, race=True)),
    ]
    for name in samplers.items():
        if name in (RANDOM, *NOT_COMPARED):
            continue
        text, slow = samplers.get(name).description, name in SLOW
        found.append(Strategy(name=name, text=text, player=_ours(name, race=False), slow=slow))
        found.append(Strategy(name=f"{name}+racing", text=f"{text}; racing", player=_ours(name, race=True), slow=slow))
    text = f"{samplers.get('frontier').description}; in an ordinary Optuna study, from final values alone"
    found.append(Strategy(name=ORDINARY, text=text, player=_ordinary))
    for name, text in STOCK.items():
        two = name == "ray-optuna"
        found.append(Strategy(name=name, text=text, player=_stock(two_objectives=two, asha=False)))
        text = f"{text}; Ray's ASHAScheduler on the error"
        found.append(Strategy(name=f"{name}+asha", text=text, player=_stock(two_objectives=two, asha=True)))
    return {strategy.name: strategy for strategy in found}


def chosen_strategies(names: str | None) -> list[str]:
    """The strategies of a comparison, the reference first.

    Args:
        names: with commas between; None for all.

    Raises:
        RunError: there is no strategy of such a name.
    """
    asked = [name.strip() for name in names.split(",")] if names else list(strategies())
    for name in asked:
        if name not in strategies():
            raise RunError(
                f"the strategies are {', '.join(strategies())}, but got {name!r}{nearest(name, strategies())}; name "
                "some of them with commas between"
            )
    return list(dict.fromkeys([REFERENCE, *asked]))
