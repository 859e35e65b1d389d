"""Between architectures and separate decisions, as samplers such as Optuna's make them.

A proposal is a dictionary with one value per decision: `family`, `k`, and for period i `m<i>`, `s<i>`, `r<i>`,
`share<i>`. Several proposals may be one network (with one time-step, `share` decides nothing) and many are over
budget; `nearest` finds the feasible one that takes the fewest steps on the lists of choices.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rksearch.errors import SpaceError, nearest
from rksearch.space.definition import PeriodChoices, SpaceDefinition
from rksearch.space.feasible import Feasible, chunks
from rksearch.space.grid import Grid
from rksearch.spec import Period, RKNet

FIELDS = ("m", "s", "r", "share")
"""What is decided for each period, in the order of the decisions."""


def dimensions(definition: SpaceDefinition) -> dict[str, tuple[Any, ...]]:
    """Every decision with its possible values, in ascending order."""
    found: dict[str, tuple[Any, ...]] = {"family": definition.families, "k": definition.growth_rates}
    for i, choices in enumerate(definition.periods, 1):
        found |= {f"{name}{i}": getattr(choices, name) for name in FIELDS}
    return found


def to_choices(definition: SpaceDefinition, spec: RKNet) -> dict[str, Any]:
    """The decisions that make `spec`, which the choices of the space spell.

    Where sharing decides nothing (r = 1), the first listed value stands for all.
    """
    decisions: dict[str, Any] = {"family": spec.family, "k": spec.growth_rate}
    for i, (period, choices) in enumerate(zip(spec.periods, definition.periods, strict=True), 1):
        share = period.share if period.share in choices.share else choices.share[0]
        decisions |= {f"m{i}": period.m, f"s{i}": period.s, f"r{i}": period.r, f"share{i}": share}
    return decisions


def from_choices(definition: SpaceDefinition, decisions: Mapping[str, Any]) -> RKNet:
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
    return RKNet(growth_rate=decisions["k"], periods=tuple(periods), bottleneck=decisions["family"] == "dense_bc")


def snap(definition: SpaceDefinition, spec: RKNet) -> RKNet:
    """`spec` with every value replaced by the nearest one that the choices list; of two equally near, the lower.

    Raises:
        SpaceError: another number of periods than the space has.
    """
    if len(spec.periods) != len(definition.periods):
        raise SpaceError(
            f"{definition.name}: an architecture of this space has {len(definition.periods)} periods, "
            f"but {spec} has {len(spec.periods)}"
        )
    family = spec.family if spec.family in definition.families else definition.families[0]
    return RKNet(
        growth_rate=_nearest_value(spec.growth_rate, definition.growth_rates),
        periods=tuple(
            _snap_period(period, choices) for period, choices in zip(spec.periods, definition.periods, strict=True)
        ),
        bottleneck=family == "dense_bc",
    )


def nearest_feasible(
    definition: SpaceDefinition, grid: Grid, feasible: Feasible, spec: RKNet, excluded: Sequence[int]
) -> int | None:
    """Position of the feasible candidate nearest to `spec`, leaving out the `excluded` positions; None if none is left.

    The distance is the number of steps on the lists of choices, summed over the decisions. Among equally distant ones
    the nearest in parameters wins, then the lowest position.
    """
    target = snap(definition, spec)
    position = grid.position(target)
    if position is None:
        raise AssertionError(f"snapping left the choices: {target}")
    if position not in set(excluded) and feasible.rank(position) is not None:
        return position
    here = np.array([position], dtype=np.int32)
    target_params = grid.costs(here)[0][0]
    steps = _steps(definition, grid, target)
    left_out = np.array(sorted(set(excluded)), dtype=np.int32)
    best: tuple[int, int, int] | None = None
    for start, stop in chunks(len(feasible)):
        positions = np.setdiff1d(feasible.positions[start:stop], left_out, assume_unique=True)
        if not positions.size:
            continue
        digits = grid.digits(positions)
        distance = sum((table[digit] for table, digit in zip(steps, digits, strict=True)), np.int32(0))
        closest = int(np.min(distance))
        if best is not None and closest > best[0]:
            continue
        tied = positions[distance == closest]
        gap = np.abs(grid.costs(tied)[0] - target_params)
        at = int(np.argmin(gap))
        found = (closest, int(gap[at]), int(tied[at]))
        best = found if best is None else min(best, found)
    return best[2] if best else None


def _steps(definition: SpaceDefinition, grid: Grid, target: RKNet) -> list[npt.NDArray[np.int32]]:
    """For each digit, the distance of each of its values from the target's."""

    def away(values: Sequence[Any], value: Any) -> list[int]:
        return [abs(i - values.index(value)) for i in range(len(values))]

    tables = [away(grid.families, target.family), away(grid.growth_rates, target.growth_rate)]
    for period, choices, options in zip(target.periods, definition.periods, grid.options, strict=True):
        of = {
            name: dict(zip(values, away(values, getattr(period, name)), strict=True))
            for name in ("m", "s", "r")
            if (values := getattr(choices, name))
        }
        # Sharing is a step only between networks in which it decides something.
        tables.append(
            [
                sum(of[name][getattr(option, name)] for name in of)
                + (option.share != period.share and option.r > 1 and period.r > 1)
                for option in options
            ]
        )
    return [np.array(table, dtype=np.int32) for table in tables]


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
