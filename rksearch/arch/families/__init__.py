"""The registry of families: those that rksearch ships, those of plugins, and those that a program registers."""

from __future__ import annotations

from collections.abc import Iterable

from rksearch.arch.family import Family, RungeKuttaFamily
from rksearch.arch.registry import Registry
from rksearch.arch.spec import ArchSpec
from rksearch.errors import PluginError, SpecError


def _shipped() -> Iterable[Family]:
    from rksearch.arch.families import cliquenet, densenet, preact_resnet, residual_rknet, resnet, rkcnn, rknet

    modules = (rknet, residual_rknet, rkcnn, densenet, resnet, preact_resnet, cliquenet)
    return [family for module in modules for family in module.FAMILIES]


FAMILIES: Registry[Family] = Registry("family", name_of=lambda family: family.key, shipped=_shipped, error=SpecError)
"""All families by key, in the order in which they are listed."""


def register_family(family: Family) -> Family:
    """Add a family, so that its names, spaces, trainings and reports work as those of the shipped ones; returns it.

    Raises:
        PluginError: it is no family, another one has its key, or another kind of family has the head of its names.
    """
    if not isinstance(family, Family):
        raise PluginError(f"a family must be a value of rksearch.arch.Family, but got {family!r}; make one of it")
    for other in FAMILIES:
        if other.head == family.head and other.key != family.key and type(other).read is not type(family).read:
            raise PluginError(
                f"each family needs a head of its own for its names, but {family.key} and {other.key} have "
                f"{family.head!r}; choose another head"
            )
    return FAMILIES.register(family)


def family_of(spec: ArchSpec) -> Family:
    """The family that a spec belongs to.

    Raises:
        SpecError: it is not registered.
    """
    return FAMILIES.get(spec.family)


def canonical(spec: ArchSpec) -> ArchSpec:
    """The architecture that stands for all that are the same network as `spec`; see `rksearch.arch.equivalence`."""
    return family_of(spec).canonical(spec)


def learns_coefficients(spec: ArchSpec) -> bool:
    """Whether training changes coefficients or step sizes of a Runge-Kutta method of the network."""
    solvers = [period.solver for period in family_of(spec).periods(spec)]
    return any(solver is not None and solver.learned_numbers > 0 for solver in solvers)


def draws_random_numbers(spec: ArchSpec) -> bool:
    """Whether a training step draws random numbers for the network itself, as dropout does."""
    return family_of(spec).draws_random_numbers(spec)


def searchable() -> dict[str, RungeKuttaFamily]:
    """Families that a search space of choices can hold, by key."""
    return {family.key: family for family in FAMILIES if isinstance(family, RungeKuttaFamily)}
