"""The parts of a search that learn: proposers and race, put together from a space and a plan."""

from __future__ import annotations

from collections.abc import Callable

from rksearch.results.history import History
from rksearch.results.plan import Plan
from rksearch.search.agenda import SearchAgenda
from rksearch.search.ordered import DeferredProposer
from rksearch.search.racing import Race, Standings
from rksearch.search.samplers.registry import make_sampler
from rksearch.search.samplers.study import RunStudy
from rksearch.space import Space


def search_agenda(
    space: Space, plan: Plan, *, standings: Callable[[], Standings] | None = None
) -> Callable[[History], SearchAgenda]:
    """The agenda of a run, given its history.

    Args:
        space: the architectures.
        plan: of the run.
        standings: makes the rule by which paused trials continue; None for that of the plan's racing.

    Raises:
        SpaceError: there is no such sampler or objective.
        SpecError: one of the plan's first candidates is no name of an architecture.
    """
    race = None
    if plan.racing:
        race = Race(plan.racing, smallest=space.smallest.params, largest=space.largest.params, metric=plan.metric)

    def chosen() -> RunStudy:
        proposer = _proposer(space, plan, plan.sampler, seed=plan.sampler_seed, start=plan.start)
        for item in plan.imported:
            values = tuple(value for value in item.values if value is not None)
            if len(values) == len(item.values):  # an older version imported trainings that lack an objective
                proposer.add_imported(item.arch, values)
        return proposer

    def drawn() -> RunStudy:
        return _proposer(space, plan, "random", seed=plan.sampler_seed + 1)

    def agenda(history: History) -> SearchAgenda:
        own = standings() if standings else None
        return SearchAgenda(
            plan,
            proposer or DeferredProposer(chosen),
            history,
            race=race,
            standings=own,
            control=(control or DeferredProposer(drawn)) if plan.control else None,
        )

    # A deterministic run proposes from what the ledger says alone: each of its agendas has proposers of its own.
    proposer = None if plan.deterministic else chosen()
    control = None if plan.deterministic or not plan.control else drawn()
    return agenda


def _proposer(space: Space, plan: Plan, name: str, *, seed: int, start: tuple[str, ...] = ()) -> RunStudy:
    sampler = make_sampler(name, space, objectives=plan.objectives, trials=plan.trials, seed=seed)
    return RunStudy(space, sampler, objectives=plan.objectives, start=start)
