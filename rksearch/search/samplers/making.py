"""Samplers: who chooses the next architecture. `make` makes one; a model's imports happen only when it is made."""

from __future__ import annotations

from collections.abc import Sequence

from rksearch.errors import SpaceError, nearest
from rksearch.search.objectives import ERROR, objective
from rksearch.search.samplers.base import Observation, Sampler
from rksearch.space import Space
from rksearch.space.vocabulary import SAMPLERS

__all__ = ["SAMPLERS", "Observation", "Sampler", "make"]


def make(
    name: str,
    space: Space,
    *,
    objectives: Sequence[str],
    trials: int,
    seed: int,
    proposed: int = 0,
    start: Sequence[str] = (),
) -> Sampler:
    """The sampler called `name`.

    The same arguments, and the same observations in the same order, make the same proposals.

    Args:
        name: one of `SAMPLERS`.
        space: what may be proposed.
        objectives: names of what is made small, in the order of the values of the observations to come.
        trials: how many architectures the search will propose; decides how long its stratified start is.
        seed: of all random choices.
        proposed: how many architectures earlier sessions have proposed, so that random streams go on.
        start: names of architectures to propose first; those that are not in the space are passed over.

    Raises:
        SpaceError: there is no such sampler or objective, the validation error is not among the objectives, or one of
            them is named twice.
        SpecError: one of `start` is no name of an architecture.
    """
    if name not in SAMPLERS:
        raise SpaceError(f"the samplers are {', '.join(SAMPLERS)}, but got {name!r}{nearest(name, SAMPLERS)}")
    for own in objectives:
        objective(own)
    if ERROR not in objectives or len(set(objectives)) < len(objectives):
        raise SpaceError(
            f"the objectives must be {ERROR} and costs beside it, each once, but got {', '.join(objectives) or 'none'}"
        )
    if name in ("random", "grid", "stratified"):
        from rksearch.search.samplers import plain

        return plain.make(name, space, trials=trials, seed=seed, proposed=proposed, start=start)
    from rksearch.search.samplers.start import Start

    if name == "frontier":
        from rksearch.search.samplers.frontier import STARTING, FrontierSampler

        counted = "params" in objectives
        beginning = Start(space, trials=trials, seed=seed, start=start, most=STARTING, smallest=counted)
        return FrontierSampler(space, beginning, objectives=objectives, seed=seed, proposed=proposed)
    beginning = Start(space, trials=trials, seed=seed, start=start)
    if name == "evolution":
        from rksearch.search.samplers.evolution import EvolutionSampler

        return EvolutionSampler(space, beginning, seed=seed, proposed=proposed)
    if name == "tpe":
        from rksearch.search.samplers.tpe import TpeSampler

        return TpeSampler(space, beginning, objectives=objectives, seed=seed, proposed=proposed)
    if name == "nsga2":
        from rksearch.search.samplers.nsga2 import Nsga2Sampler

        return Nsga2Sampler(space, beginning, objectives=objectives, trials=trials, seed=seed, proposed=proposed)
    from rksearch.search.samplers.gp import GpSampler

    return GpSampler(space, beginning, objectives=objectives, seed=seed, proposed=proposed)
