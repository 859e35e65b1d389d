"""Between architectures and separate decisions, as samplers such as Optuna's make them.

A proposal is a dictionary with one value per decision: `family`, `k`, and for period i `m<i>`, `s<i>`, `r<i>`,
`share<i>`. Several proposals may be one network (with one time-step, `share` decides nothing) and many are over
budget; `nearest` finds the feasible one that takes the fewest steps on the lists of choices.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rksearch.errors import SpaceError, nearest
from rksearch.space.definition import PeriodChoices, SpaceDefinition
from rksearch.space.family import FAMILIES, family
from rksearch.spec import ArchSpec, Period

FIELDS = ("m", "s", "r", "share")
"""What is decided for each period, in the order of the decisions."""


def dimensions(definition: SpaceDefinition) -> dict[str, tuple[Any, ...]]:
    """Every decision with its possible values, in ascending order."""
    found: dict[str, tuple[Any, ...]] = {"family": definition.families, "k": definition.growth_rates}
    for i, choices in enumerate(definition.periods, 1):
        found |= {f"{name}{i}": getattr(choices, name) for name in FIELDS}
    return found


def to_choices(definition: SpaceDefinition, spec: ArchSpec) -> dict[str, Any]:
    """The decisions that make `spec`, which the choices of the space spell.

    Where sharing decides nothing (r = 1), the first listed value stands for all.
    """
    own, k, periods = _parts(spec)
    decisions: dict[str, Any] = {"family": own, "k": k}
    for i, (period, choices) in enumerate(zip(periods, definition.periods, strict=True), 1):
        share = period.share if period.share in choices.share else choices.share[0]
        decisions |= {f"m{i}": period.m, f"s{i}": period.s, f"r{i}": period.r, f"share{i}": share}
    return decisions


def from_choices(definition: SpaceDefinition, decisions: Mapping[str, Any]) -> ArchSpec:
    """The canonical network that the decisions make, whether or not it is within budget.

    Raises:
        SpaceError: a decision is missing or unknown, or its value is not one of the choices.
    """
    known = dimensions(definition)
    for key in decisions:
        if key not in known:
            raise SpaceError(
                f"{definition.name}: the decisions are {', '.join(known)}, but got {key!r}{nearest(key, known)}"
            )
    for key, values in known.items():
        if key not in decisions:
            raise SpaceError(f"{definition.name}: the decision {key} is missing; choose from {_listed(values)}")
        if decisions[key] not in values:
            raise SpaceError(f"{definition.name}: {key} must be one of {_listed(values)}, but got {decisions[key]!r}")
    periods = []
    for i, choices in enumerate(definition.periods, 1):
        s, r, share = choices.canonical(*(decisions[f"{name}{i}"] for name in ("s", "r", "share")))
        periods.append(Period(m=decisions[f"m{i}"], s=s, r=r, share=share))
    return family(decisions["family"]).make(decisions["k"], tuple(periods))


def snap(definition: SpaceDefinition, spec: ArchSpec) -> ArchSpec:
    """`spec` with every value replaced by the nearest one that the choices list; of two equally near, the lower.

    Raises:
        SpaceError: no network of a family that spaces know, or another number of periods than the space has.
    """
    own, k, periods = _parts(spec)
    if len(periods) != len(definition.periods):
        raise SpaceError(
            f"{definition.name}: an architecture of this space has {len(definition.periods)} periods, "
            f"but {spec} has {len(periods)}"
        )
    return family(own if own in definition.families else definition.families[0]).make(
        _nearest_value(k, definition.growth_rates),
        tuple(_snap_period(period, choices) for period, choices in zip(periods, definition.periods, strict=True)),
    )


def _parts(spec: ArchSpec) -> tuple[str, int, tuple[Period, ...]]:
    """Family, growth rate and periods.

    Raises:
        SpaceError: an architecture of no family that has them.
    """
    for name in FAMILIES:
        if read := family(name).read(spec):
            return name, *read
    raise SpaceError(
        f"only a Runge-Kutta network can be proposed, but got {spec}; the families are {', '.join(FAMILIES)}"
    )


def steps(definition: SpaceDefinition, target: ArchSpec) -> Steps:
    """How many steps on the lists of choices lead from `target`, which the choices spell, to other choices."""
    own, k, periods = _parts(target)

    def away(values: Sequence[Any], value: Any) -> dict[Any, int]:
        return {other: abs(i - values.index(value)) for i, other in enumerate(values)}

    tables = []
    for period, choices in zip(periods, definition.periods, strict=True):
        of = {name: away(getattr(choices, name), getattr(period, name)) for name in ("m", "s", "r")}
        tables.append((period, of))
    return Steps(away(definition.families, own), away(definition.growth_rates, k), tables)


@dataclass(frozen=True, slots=True)
class Steps:
    """Distances from one network: of families, of growth rates, and of the options of each period."""

    families: dict[str, int]
    growth_rates: dict[int, int]
    _periods: list[tuple[Period, dict[str, dict[int, int]]]]

    def options(self, i: int, options: Sequence[Period]) -> npt.NDArray[np.int64]:
        """Of each option of period i."""
        target, of = self._periods[i]
        return np.array(
            [
                sum(of[name][getattr(option, name)] for name in of)
                # Sharing is a step only between networks in which it decides something.
                + (option.share != target.share and option.r > 1 and target.r > 1)
                for option in options
            ],
            dtype=np.int64,
        )


def neighbours(definition: SpaceDefinition, spec: ArchSpec) -> list[ArchSpec]:
    """The networks that one other choice makes of `spec`, which the choices spell; budgets are not looked at."""
    decisions = to_choices(definition, spec)
    found = {
        from_choices(definition, {**decisions, key: value}): None
        for key, values in dimensions(definition).items()
        for value in values
    }
    found.pop(spec, None)
    return list(found)


def _snap_period(period: Period, choices: PeriodChoices) -> Period:
    share = period.share if period.share in choices.share else choices.share[0]
    m, s, r = (_nearest_value(getattr(period, name), getattr(choices, name)) for name in ("m", "s", "r"))
    s, r, share = choices.canonical(s, r, share)
    return Period(m=m, s=s, r=r, share=share)


def _nearest_value(value: int, values: tuple[int, ...]) -> int:
    at = bisect_left(values, value)
    around = values[max(0, at - 1) : at + 1]
    return min(around, key=lambda v: (abs(v - value), v))


def _listed(values: Sequence[Any]) -> str:
    return ", ".join(str(value) for value in values)
