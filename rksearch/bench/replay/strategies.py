"""The strategies that are compared, by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec

from rksearch.bench.replay.forecast import ForecastStandings
from rksearch.bench.replay.judging import STARTS, Start
from rksearch.bench.replay.ledger_in_memory import MemoryLedger
from rksearch.bench.replay.moasha import Moasha
from rksearch.bench.replay.ordinary_study import OrdinaryStudy
from rksearch.bench.replay.search_player import SearchPlayer
from rksearch.bench.replay.simulation import Player, VirtualClock
from rksearch.bench.replay.stock_ray import StockRay
from rksearch.bench.replay.synflow import SynFlow
from rksearch.bench.replay.table import Table
from rksearch.bench.replay.whole_trainings import Proposals, WholeTrainings
from rksearch.errors import RunError, nearest
from rksearch.results.plan import Plan, RacingRule
from rksearch.search.assembly import search_agenda
from rksearch.search.planning import REPLICATES_SHARE
from rksearch.search.racing import Standings, expected_epochs
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
        slow: whether a replay takes long, so that it plays the first repetitions with one start only.
        starts: the starts that it plays.
        needs: module that is no dependency of rksearch and must be installed; None without one.
        remedy: how to install it.
        builds: whether it builds the networks, so that it plays on tables of real trainings alone.
    """

    name: str
    text: str
    player: Callable[[Setup], Player]
    slow: bool = False
    starts: tuple[Start, ...] = STARTS
    needs: str | None = None
    remedy: str = ""
    builds: bool = False

    @property
    def installed(self) -> bool:
        """Whether all that it needs is installed."""
        return self.needs is None or find_spec(self.needs) is not None


RANDOM = "random"

REFERENCE = "random+smallest"
"""The strategy that all are compared with."""

EARLY = ("+racing", "+asha", "+forecast")
"""Ends of the names of strategies that stop trainings early."""

NOT_COMPARED = ("grid",)
"""Samplers that are no strategy: the order of the indices has no meaning."""

ORDINARY = "frontier-optuna"
"""The default sampler in an ordinary Optuna study, from final values alone."""

SEEDS = "+seeds"
"""End of the name of the strategy that spends a part of its budget on further seeds, as a run does by default."""

DEFAULT_STRATEGY = SearchPlan().sampler + ("+racing" if SearchPlan().racing else "")
"""The sampler and racing of `rksearch run` unless a space says otherwise, without the further seeds of its front."""

SLOW = ("gp",)
"""Samplers whose proposals take seconds."""


def _ours(sampler: str, *, race: bool) -> Callable[[Setup], Player]:
    def player(setup: Setup) -> Player:
        return search_player(setup, sampler=sampler, racing=setup.racing if race else None)

    return player


def _random_smallest(setup: Setup) -> Player:
    return search_player(replace(setup, start="same"), sampler=RANDOM, racing=None)


def _forecast(setup: Setup) -> Player:
    return search_player(setup, sampler=SearchPlan().sampler, racing=setup.racing, standings=ForecastStandings)


def search_player(
    setup: Setup,
    *,
    sampler: str,
    racing: RacingRule | None,
    standings: Callable[[], Standings] | None = None,
    seeds: bool = False,
) -> SearchPlayer:
    """The run that `rksearch run` would make of the table's space.

    Baselines are known at the start rather than trained: none is a member, so that no sampler learns from them.

    Args:
        setup: conditions.
        sampler: registered name.
        racing: when trials pause; None to train each to its end.
        standings: which paused trials continue; None for the rule of racing.
        seeds: whether a part of the budget is for second seeds of the front and for where it is uncertain, as in a run
            that says nothing else.
    """
    table = setup.table
    # How many a rule of its own stops is not known before: the budget ends that search, not the number of candidates.
    each = racing.rungs[0] if standings and racing else expected_epochs(racing, table.epochs)
    trials = min(len(table.members), math.ceil(setup.budget_epochs / each))
    further = math.ceil(trials * REPLICATES_SHARE) if seeds else 0
    plan = Plan(
        dataset=table.space.definition.dataset.name,
        recipe=table.plan.recipe,
        train_images=table.plan.train_images,
        baselines=(),
        known=(),
        trials=trials - further,
        search_seeds=1,
        final_seeds=2 if seeds else 1,
        replicates=further,
        objectives=DEFAULT_OBJECTIVES,
        sampler=sampler,
        sampler_seed=setup.repetition,
        racing=racing,
        start=setup.first,
    )
    state = RunState(MemoryLedger(), search_agenda(table.space, plan, standings=standings), clock=setup.clock)
    return SearchPlayer(state, table, repetition=setup.repetition)


def _seeds(setup: Setup) -> Player:
    return search_player(setup, sampler=SearchPlan().sampler, racing=None, seeds=True)


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
        return StockRay(
            setup.table,
            repetition=setup.repetition,
            two_objectives=two_objectives,
            asha=asha,
            first=setup.first,
        )

    return player


def _qlognehvi(setup: Setup) -> Player:
    from rksearch.bench.replay.qlognehvi import QLogNehvi

    proposals = QLogNehvi(setup.table.space, trials=setup.trainings, seed=setup.repetition)
    return _whole_trainings(setup, proposals)


def _synflow(setup: Setup) -> Player:
    return _whole_trainings(setup, SynFlow(setup.table, trials=setup.trainings, seed=setup.repetition))


def _whole_trainings(setup: Setup, proposals: Proposals) -> Player:
    return WholeTrainings(
        setup.table, repetition=setup.repetition, proposals=proposals, trials=setup.trainings, first=setup.first
    )


def _moasha(setup: Setup) -> Player:
    return Moasha(setup.table, repetition=setup.repetition, first=setup.first)


RIVALS = (
    Strategy(
        name="ray-optuna",
        text="Ray's OptunaSearch as it comes, on error and parameters",
        player=_stock(two_objectives=True, asha=False),
    ),
    Strategy(
        name="ray-optuna-error+asha",
        text="Ray's OptunaSearch as it comes, on the error alone; Ray's ASHAScheduler on it",
        player=_stock(two_objectives=False, asha=True),
        slow=True,
    ),
    Strategy(
        name="botorch",
        text="BoTorch's qLogNoisyExpectedHypervolumeImprovement over a pool of members, with known parameters",
        player=_qlognehvi,
        slow=True,
        needs="botorch",
        remedy="pip install 'rksearch[bench]'",
    ),
    Strategy(
        name="synflow",
        text="a zero-cost proxy without learning: the highest SynFlow score of each size band",
        player=_synflow,
        slow=True,
        builds=True,
    ),
    Strategy(
        name="moasha+asha",
        text="Syne Tune's multi-objective asynchronous successive halving, on error and parameters",
        player=_moasha,
        needs="syne_tune",
        remedy="pip install --no-deps syne-tune dill",
    ),
)
"""Searches of others that no sampler of ours plays."""


@cache
def strategies() -> Mapping[str, Strategy]:
    """All strategies by name: samplers, the fast ones with racing too, the default's variants, and rivals."""
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
        if not slow:  # what racing is worth is seen on the others, in a fraction of the time
            found.append(Strategy(name=f"{name}+racing", text=f"{text}; racing", player=_ours(name, race=True)))
    text = f"{samplers.get(SearchPlan().sampler).description}; racing across sizes by predicted final errors"
    found.append(Strategy(name=f"{SearchPlan().sampler}+forecast", text=text, player=_forecast))
    text = f"{samplers.get(SearchPlan().sampler).description}; the last quarter for second seeds of the front"
    found.append(Strategy(name=f"{SearchPlan().sampler}{SEEDS}", text=text, player=_seeds))
    text = f"{samplers.get('frontier').description}; in an ordinary Optuna study, from final values alone"
    found.append(Strategy(name=ORDINARY, text=text, player=_ordinary))
    return {strategy.name: strategy for strategy in (*found, *RIVALS)}


def left_out(*, real: bool) -> Mapping[str, str]:
    """Strategies that cannot play, and why.

    Args:
        real: whether the table holds trainings of real networks.
    """
    found = {}
    for name, own in strategies().items():
        if not own.installed:
            found[name] = f"{own.needs} is not installed; `{own.remedy}`"
        elif own.builds and not real:
            found[name] = "the networks of a made-up table have no weights; take a table of real trainings"
    return found


def chosen_strategies(names: str | None, *, real: bool = True) -> list[str]:
    """The strategies of a comparison, the reference first.

    Args:
        names: with commas between; None for all that can play.
        real: whether the table holds trainings of real networks.

    Raises:
        RunError: there is no strategy of such a name, or it cannot play.
    """
    missing = left_out(real=real)
    asked = [name.strip() for name in names.split(",")] if names else [n for n in strategies() if n not in missing]
    for name in asked:
        if name not in strategies():
            raise RunError(
                f"the strategies are {', '.join(strategies())}, but got {name!r}{nearest(name, strategies())}; name "
                "some of them with commas between"
            )
        if name in missing:
            raise RunError(f"every strategy that is asked for must be able to play, but {name} cannot: {missing[name]}")
    return list(dict.fromkeys([REFERENCE, *asked]))
