"""Conversion between architectures and the separate decisions that samplers such as Optuna's make.

A proposal is a dictionary with one value per decision: `family`, `k`, and for period i `m<i>`, `s<i>`, `r<i>`,
`share<i>`, `method<i>`. Several proposals may be one network (with one time-step, `share` decides nothing) and many are
over budget; `nearest` finds the feasible one that takes the fewest steps on the lists of choices.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from rksearch.arch import ArchSpec, Period, Steps
from rksearch.arch.arrays import Integers
from rksearch.arch.equivalence import canonical_steps
from rksearch.arch.period import LEARNED
from rksearch.errors import SpaceError, nearest
from rksearch.space.counting.pricing import NO_GROWTH, PricedFamily, families, multiples, priced_family
from rksearch.space.definition import PeriodChoices, SpaceDefinition

FIELDS = ("m", "s", "r", "share", "method")
"""Decisions of each period, in their order."""


def dimensions(definition: SpaceDefinition) -> dict[str, tuple[Any, ...]]:
    """Every decision with its possible values, in ascending order.

    k and m are left out where no family has them, s where no method is learned, and the method where all are learned.
    """
    found: dict[str, tuple[Any, ...]] = {"family": definition.families}
    if definition.growth_rates:
        found["k"] = definition.growth_rates
    for i, choices in enumerate(definition.periods, 1):
        found |= {f"{name}{i}": getattr(choices, name) for name in FIELDS if _is_open(choices, name)}
    return found


def _is_open(choices: PeriodChoices, field: str) -> bool:
    return bool(getattr(choices, field)) and (field != "method" or choices.method != (LEARNED,))


def to_choices(definition: SpaceDefinition, spec: ArchSpec) -> dict[str, Any]:
    """The decisions that make `spec`, which the choices of the space spell.

    Where something decides nothing (sharing with r = 1, k of a residual network), the first listed value stands for
    all; the s of a tableau is the nearest listed one.
    """
    kind, k, periods = _parts(spec)
    decisions: dict[str, Any] = {"family": kind.name}
    if definition.growth_rates:
        decisions["k"] = k if kind.grows else definition.growth_rates[0]
    ms = multiples(periods).tolist()
    for i, (m, period, choices) in enumerate(zip(ms, periods, definition.periods, strict=True), 1):
        s, r, share, method = choices.decisions[_bare(period)]
        own = {"m": m or next(iter(choices.m), 0), "s": s, "r": r, "share": share, "method": method}
        decisions |= {f"{name}{i}": own[name] for name in FIELDS if _is_open(choices, name)}
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
    kind = priced_family(decisions["family"])
    periods = []
    for i, choices in enumerate(definition.periods, 1):
        s, method = decisions.get(f"s{i}", 0), decisions.get(f"method{i}", LEARNED)
        steps = choices.steps(s, decisions[f"r{i}"], decisions[f"share{i}"], method)
        periods.append(kind.period(decisions.get(f"m{i}", NO_GROWTH), steps))
    return kind.make(decisions.get("k", NO_GROWTH), tuple(periods))


def snap(definition: SpaceDefinition, spec: ArchSpec) -> ArchSpec:
    """`spec` with every value replaced by the nearest one that the choices list; of two equally near, the lower.

    Raises:
        SpaceError: no network of a family that spaces know or that could become one of the space's, or another number
            of periods than the space has.
    """
    kind, k, periods = _parts(spec)
    if len(periods) != len(definition.periods):
        raise SpaceError(
            f"{definition.name}: an architecture of this space has {len(definition.periods)} periods, "
            f"but {spec} has {len(periods)}"
        )
    known = [priced_family(name) for name in definition.families]
    near = [kind] if kind.name in definition.families else [own for own in known if kind.grows or not own.grows]
    if not near:
        raise SpaceError(
            f"{definition.name}: the families of this space are {', '.join(definition.families)}, and {spec} has "
            "neither growth rate nor growth multiples; propose an RKNet that has them"
        )
    target = next((own for own in near if own.grows == kind.grows), near[0])
    snapped = []
    for m, period, choices in zip(multiples(periods).tolist(), periods, definition.periods, strict=True):
        nearest_m = _nearest_value(m, choices.m) if target.grows else NO_GROWTH
        snapped.append(target.period(nearest_m, _snap_steps(period, choices)))
    return target.make(_nearest_value(k, definition.growth_rates) if target.grows else NO_GROWTH, tuple(snapped))


def _parts(spec: ArchSpec) -> tuple[PricedFamily, int, tuple[Steps, ...]]:
    """Family, growth rate and periods.

    Raises:
        SpaceError: an architecture of no family that has them.
    """
    if spec.family in families():
        kind = priced_family(spec.family)
        if read := kind.read(spec):
            return kind, *read
    raise SpaceError(
        f"only a Runge-Kutta network can be proposed, but got {spec}; the families are {', '.join(families())}"
    )


def _bare(period: Steps) -> Steps:
    """Integration of a period, without its growth multiple."""
    return Steps(s=period.s, r=period.r, share=period.share, solver=period.solver)


def distances(definition: SpaceDefinition, target: ArchSpec) -> Distances:
    """Numbers of steps on the lists of choices from `target`, which the choices spell, to other choices."""
    kind, k, periods = _parts(target)
    return Distances(definition, kind, k, periods)


@dataclass(frozen=True, slots=True)
class Distances:
    """Steps from one network to others: a decision counts only where it decides something in both.

    The steps between two numbers are those between their places in the ascending list of choices; different families or
    methods are one step apart.
    """

    definition: SpaceDefinition
    kind: PricedFamily
    k: int
    periods: tuple[Steps, ...]

    def to(self, family_name: str, k: int) -> int:
        """Steps to a family and growth rate."""
        own = int(family_name != self.kind.name)
        if not (self.kind.grows and priced_family(family_name).grows):
            return own
        rates = self.definition.growth_rates
        return own + abs(rates.index(k) - rates.index(self.k))

    def options(self, i: int, options: ChoiceIndices) -> Integers:
        """Steps to each option of period i."""
        own = ChoiceIndices.of(self.definition.periods[i], self.periods[i : i + 1])
        total = np.abs(options.r - own.r) + (options.method != own.method)
        total += np.where((options.m >= 0) & (own.m >= 0), np.abs(options.m - own.m), 0)
        total += np.where(options.learned & own.learned, np.abs(options.s - own.s), 0)
        # Sharing is a step only between networks in which it decides something.
        return np.asarray(total + ((options.share != own.share) & options.several & own.several))


class ChoiceIndices(NamedTuple):
    """Positions of the decisions of some options in the lists of choices; -1 where there is no list."""

    m: Integers
    s: Integers
    r: Integers
    share: Integers
    method: Integers
    learned: npt.NDArray[np.bool_]
    several: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, choices: PeriodChoices, options: Sequence[Steps]) -> ChoiceIndices:
        """Places of options that the choices make; `several` marks more than one time-step to share."""
        rows = []
        for option in options:
            s, r, share, method = choices.decisions[_bare(option)]
            m = choices.m.index(option.m) if isinstance(option, Period) else -1
            row = (m, choices.s.index(s) if choices.s else -1, choices.r.index(r), share)
            rows.append((*row, choices.method.index(method), method == LEARNED, r > 1))
        m, s, r, share, method, learned, several = np.array(rows, dtype=np.int64).T
        return cls(m, s, r, share, method, learned.astype(bool), several.astype(bool))


def neighbours(definition: SpaceDefinition, spec: ArchSpec) -> list[ArchSpec]:
    """The networks that one other choice makes of `spec`, which the choices spell; budgets are ignored."""
    decisions = to_choices(definition, spec)
    found = {
        from_choices(definition, {**decisions, key: value}): None
        for key, values in dimensions(definition).items()
        for value in values
    }
    found.pop(spec, None)
    return list(found)


def _snap_steps(period: Steps, choices: PeriodChoices) -> Steps:
    known = choices.decisions.get(_bare(canonical_steps(period)))
    if known is not None:
        return choices.steps(*known)
    method = period.method_name
    if method not in choices.method:
        method = choices.method[0]
    s, r = (_nearest_value(getattr(period, name), getattr(choices, name) or (0,)) for name in ("s", "r"))
    return choices.steps(s, r, period.share if period.share in choices.share else choices.share[0], method)


def _nearest_value(value: int, values: tuple[int, ...]) -> int:
    at = bisect_left(values, value)
    around = values[max(0, at - 1) : at + 1]
    return min(around, key=lambda v: (abs(v - value), v))


def _listed(values: Sequence[Any]) -> str:
    return ", ".join(str(value) for value in values)
