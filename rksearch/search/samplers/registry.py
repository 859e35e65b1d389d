"""The samplers by name: those of rksearch, of plugins, and of the program itself.

Importing this module imports neither Optuna nor NumPy; a sampler's imports happen when it is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from rksearch.arch.registry import Registry
from rksearch.errors import PluginError, SpaceError

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

    from rksearch.space import Space


class SamplerFactory(Protocol):
    """Makes a sampler for one search."""

    def __call__(self, space: Space, *, objectives: Sequence[str], trials: int, seed: int) -> BaseSampler:
        """An Optuna sampler.

        Args:
            space: the architectures that may be proposed; `space.dimensions()` are the parameters of a trial.
            objectives: names of the minimised objectives, in the order of a trial's values.
            trials: number of architectures that the search is to propose.
            seed: seed of all random choices. The same arguments and results make the same proposals.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerEntry:
    """A sampler that can be chosen by name.

    Attributes:
        name: name in space files, on the command line and in plans.
        title: noun phrase for reports: "proposed by ...".
        description: one line that says how it chooses.
        make: makes it.
    """

    name: str
    title: str
    description: str
    make: SamplerFactory


def register_sampler(name: str, make: SamplerFactory, *, title: str, description: str) -> SamplerEntry:
    """Make a sampler known by name, in space files, on the command line and in reports.

    Args:
        name: its name.
        make: makes an Optuna sampler for a space; see `SamplerFactory`.
        title: noun phrase for reports: "proposed by ...".
        description: one line that says how it chooses.

    Raises:
        PluginError: another sampler has this name, `make` makes nothing, or a text is none.
    """
    if not callable(make):
        raise PluginError(f"the sampler {name!r} needs a function that makes it, but got {make!r}; give one")
    for field, text in (("title", title), ("description", description)):
        if not isinstance(text, str):
            raise PluginError(f"the {field} of the sampler {name!r} must be text, but got {text!r}; write some words")
    return samplers.register(SamplerEntry(name=name, title=title, description=description, make=make))


def make_sampler(name: str, space: Space, *, objectives: Sequence[str], trials: int, seed: int) -> BaseSampler:
    """The sampler of this name, for one search; arguments as for `SamplerFactory`.

    Raises:
        SpaceError: there is no such sampler or objective, there is not exactly one error among the objectives, or one
            of them is named twice.
    """
    from rksearch.search.objectives import objective
    from rksearch.space.plan import METRICS

    entry = samplers.get(name)
    for own in objectives:
        objective(own)
    errors = [metric.field for metric in METRICS.values()]
    if sum(name in errors for name in objectives) != 1 or len(set(objectives)) < len(objectives):
        raise SpaceError(
            f"the objectives must be {' or '.join(errors)} and costs beside it, each once, but got "
            f"{', '.join(objectives) or 'none'}"
        )
    return entry.make(space, objectives=objectives, trials=trials, seed=seed)


def _frontier(space: Space, *, objectives: Sequence[str], trials: int, seed: int) -> BaseSampler:
    from rksearch.search.samplers.frontier import FrontierSampler

    return FrontierSampler(space, objectives=objectives, trials=trials, seed=seed)


def _tpe(space: Space, *, objectives: Sequence[str], trials: int, seed: int) -> BaseSampler:
    from rksearch.search.samplers.stock import tpe

    return tpe(space, objectives=objectives, trials=trials, seed=seed)


def _nsga2(space: Space, *, objectives: Sequence[str], trials: int, seed: int) -> BaseSampler:
    from rksearch.search.samplers.stock import nsga2

    return nsga2(space, objectives=objectives, trials=trials, seed=seed)


def _gp(space: Space, *, objectives: Sequence[str], trials: int, seed: int) -> BaseSampler:
    from rksearch.search.samplers.stock import gp

    return gp(space, objectives=objectives, trials=trials, seed=seed)


def _evolution(space: Space, *, objectives: Sequence[str], trials: int, seed: int) -> BaseSampler:
    from rksearch.search.samplers.evolution import EvolutionSampler

    return EvolutionSampler(space, objectives=objectives, trials=trials, seed=seed)


def _random(space: Space, *, objectives: Sequence[str], trials: int, seed: int) -> BaseSampler:
    from rksearch.search.samplers.plain import RandomSampler

    return RandomSampler(space, objectives=objectives, seed=seed)


def _stratified(space: Space, *, objectives: Sequence[str], trials: int, seed: int) -> BaseSampler:
    from rksearch.search.samplers.plain import StratifiedSampler

    return StratifiedSampler(space, objectives=objectives, trials=trials, seed=seed)


def _grid(space: Space, *, objectives: Sequence[str], trials: int, seed: int) -> BaseSampler:
    from rksearch.search.samplers.plain import GridSampler

    return GridSampler(space, objectives=objectives)


def _shipped() -> list[SamplerEntry]:
    rows: list[tuple[str, SamplerFactory, str, str]] = [
        (
            "frontier",
            _frontier,
            "the frontier sampler",
            "models the error alone, since costs are known, and adds most to the front",
        ),
        ("tpe", _tpe, "Optuna's TPE sampler", "Optuna's multivariate tree-structured Parzen estimators"),
        ("nsga2", _nsga2, "Optuna's NSGA-II sampler", "Optuna's NSGA-II, a genetic algorithm"),
        (
            "gp",
            _gp,
            "Optuna's Gaussian-process sampler",
            "Optuna's Gaussian processes of every objective, with expected hypervolume improvement (slow)",
        ),
        (
            "evolution",
            _evolution,
            "evolution among neighbours",
            "one changed choice in a member of the front of the youngest architectures",
        ),
        ("random", _random, "random search", "every architecture is equally likely"),
        (
            "stratified",
            _stratified,
            "random search, stratified by size,",
            "spread evenly over the logarithm of the parameters",
        ),
        ("grid", _grid, "a grid", "in the order of the space's indices"),
    ]
    return [
        SamplerEntry(name=name, title=title, description=description, make=make)
        for name, make, title, description in rows
    ]


samplers: Registry[SamplerEntry] = Registry(
    "sampler", name_of=lambda entry: entry.name, shipped=_shipped, error=SpaceError
)
"""All samplers, in the order in which help texts list them."""
