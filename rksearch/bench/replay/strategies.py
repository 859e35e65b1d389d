"""The strategies that are compared, by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from rksearch.bench.replay.memory import MemoryLedger
from rksearch.bench.replay.search_player import SearchPlayer
from rksearch.bench.replay.simulation import Clock, Player
from rksearch.bench.replay.stock_ray import StockRay
from rksearch.bench.replay.table import Table
from rksearch.errors import RunError, nearest
from rksearch.recipes.recipe import Recipe
from rksearch.results.ledger import History
from rksearch.results.plan import Plan, RacingRule
from rksearch.search.agenda import SearchAgenda
from rksearch.search.objectives import DEFAULT
from rksearch.search.racing import Race, expected_epochs
from rksearch.search.run_state import RunState
from rksearch.search.samplers import make
from rksearch.space import SearchPlan
from rksearch.space.vocabulary import SAMPLERS


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What one repetition gives a strategy.

    Attributes:
        table: what is searched.
        repetition: number that all chance derives from.
        budget_epochs: what may be spent.
        racing: how strategies with racing race.
        clock: virtual time.
    """

    table: Table
    repetition: int
    budget_epochs: int
    racing: RacingRule
    clock: Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """A way to search.

    Attributes:
        name: in tables and on the command line; what follows a `+` says how trainings are stopped early.
        text: what it is, in words.
        player: makes one that has not begun.
    """

    name: str
    text: str
    player: Callable[[Setup], Player]


REFERENCE = "random"
"""What all are compared with."""

PROPOSERS = (REFERENCE, *(name for name in SAMPLERS if name not in (REFERENCE, "grid")))
"""Our samplers that are compared; the order of the indices says nothing."""

STOCK = {
    "ray-optuna": "Ray's OptunaSearch as it comes, on error and parameters",
    "ray-optuna-error": "Ray's OptunaSearch as it comes, on the error alone",
}

DEFAULT_STRATEGY = SearchPlan().sampler + ("+racing" if SearchPlan().racing else "")
"""What `rksearch run` does unless a space says otherwise."""

SLOW = ("gp", "gp+racing")
"""Strategies that take minutes a replay, and are played only when asked for."""


def _ours(sampler: str, *, race: bool) -> Callable[[Setup], Player]:
    def player(setup: Setup) -> Player:
        return search_player(setup, sampler=sampler, racing=setup.racing if race else None)

    return player


def search_player(setup: Setup, *, sampler: str, racing: RacingRule | None) -> SearchPlayer:
    """The run that `rksearch run` would make of the table's space, without baselines and further seeds."""
    table = setup.table
    recipe = Recipe.from_json(table.plan["recipe"])
    trials = min(len(table.members), math.ceil(setup.budget_epochs / expected_epochs(racing, table.epochs)))
    settings = Plan(
        dataset=table.space.definition.dataset.name,
        recipe=recipe,
        train_images=table.plan["train_images"],
        baselines=(),
        known=(),
        trials=trials,
        search_seeds=1,
        final_seeds=1,
        objectives=DEFAULT,
        sampler=sampler,
        sampler_seed=setup.repetition,
        racing=racing,
    )
    chooser = make(sampler, table.space, objectives=settings.objectives, trials=trials, seed=setup.repetition)
    race = Race(racing, smallest=table.space.smallest.params, largest=table.space.largest.params) if racing else None

    def agenda(history: History) -> SearchAgenda:
        return SearchAgenda(settings, chooser, history, race=race)

    state = RunState(MemoryLedger(), agenda, chooser, objectives=settings.objectives, clock=setup.clock)
    return SearchPlayer(state, table, repetition=setup.repetition)


def _stock(*, two_objectives: bool, asha: bool) -> Callable[[Setup], Player]:
    def player(setup: Setup) -> Player:
        # Stopped trials cost little: what ends the search is the budget, not the number of trials.
        return StockRay(
            setup.table,
            repetition=setup.repetition,
            two_objectives=two_objectives,
            asha=asha,
            trials=setup.budget_epochs,
        )

    return player


def _all() -> dict[str, Strategy]:
    found = []
    for name in PROPOSERS:
        text = SAMPLERS[name].does
        found.append(Strategy(name=name, text=text, player=_ours(name, race=False)))
        found.append(Strategy(name=f"{name}+racing", text=f"{text}; racing", player=_ours(name, race=True)))
    for name, text in STOCK.items():
        two = name == "ray-optuna"
        found.append(Strategy(name=name, text=text, player=_stock(two_objectives=two, asha=False)))
        text = f"{text}; Ray's ASHAScheduler on the error"
        found.append(Strategy(name=f"{name}+asha", text=text, player=_stock(two_objectives=two, asha=True)))
    return {strategy.name: strategy for strategy in found}


STRATEGIES = _all()


def chosen_strategies(names: str | None) -> list[str]:
    """The strategies of a comparison, random search first.

    Args:
        names: with commas between; None for all but the slow ones.

    Raises:
        RunError: there is no strategy of such a name.
    """
    asked = [name.strip() for name in names.split(",")] if names else [n for n in STRATEGIES if n not in SLOW]
    for name in asked:
        if name not in STRATEGIES:
            raise RunError(
                f"the strategies are {', '.join(STRATEGIES)}, but got {name!r}{nearest(name, STRATEGIES)}; name some "
                "of them with commas between"
            )
    return list(dict.fromkeys([REFERENCE, *asked]))
