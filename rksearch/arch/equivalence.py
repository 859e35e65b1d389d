"""Canonical periods: different names can be one network, the same sums of the same layers, number for number.

A name is taken for another one only where the two networks have as many parameters of the same shapes, in the same
order, and compute the same from them, so that they also learn the same. A test builds both, copies the parameters and
compares outputs and gradients, for every rule:

1.  One time-step has nothing to share: `1x1s` would be `1x1` (names forbid it, choices are mapped).
2.  Euler's method with h = 1 adds k_1 to the state, which is what a learned method of one stage does.
3.  Two tableaux may be one method once stages are left out that the next state does not depend on: Bogacki-Shampine's
    third-order formula is Ralston's.
4.  An implicit method of one stage, swept N times, evaluates one function N times: an explicit method of N stages that
    are tied. The implicit midpoint rule swept twice is the explicit one.
5.  With one stage and h = 1, a weight b_1 that learns is a step size that learns.

Networks that merely can be trained to the same function are not merged, because they start elsewhere or learn at
another rate: explicit tableaux that learn all their numbers from different beginnings, fixed step sizes that a
convolution could absorb, `b` learning beside a fixed h other than 1. Nor are different k and m with the same m * k,
whose layers have different widths.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from rksearch.arch.period import DEFAULT_SWEEPS, Solver, Steps
from rksearch.arch.tableaux import TABLEAUX, Tableau

S = TypeVar("S", bound=Steps)


def canonical_steps(steps: S) -> S:
    """The period that stands for all that are the same as `steps`."""
    if steps.solver is None:
        return steps
    solver = _canonical_solver(steps.solver)
    return replace(steps, s=1 if solver is None else solver.method.stages, solver=solver)


def _canonical_solver(solver: Solver) -> Solver | None:
    """The solver that stands for all that are the same, None for a learned method of one stage."""
    method = solver.method
    if method.stages == 1 and method.explicit:
        if solver.trainable and solver.h == 1:
            return replace(solver, trainable=False, learn_h=True)
        if not solver.trainable and not solver.learn_h and solver.h == 1:
            return None
    if method.stages == 1 and not method.explicit and not solver.trainable:
        explicit = _swept_once_each(method, solver.sweeps)
        if explicit is not None:
            return replace(solver, tableau=explicit, tie=True, sweeps=DEFAULT_SWEEPS)
    same = (name for name, other in TABLEAUX.items() if _equal(other.reduced(), method))
    return replace(solver, tableau=next(same))


def _swept_once_each(method: Tableau, sweeps: int) -> str | None:
    """The explicit method whose stages are the sweeps of an implicit method of one stage, if the catalogue has it."""
    (only,), (weight,) = method.a[0], method.b
    for name, other in TABLEAUX.items():
        reduced = other.reduced()
        subdiagonal = all(
            value == (only if j == i - 1 else 0) for i, row in enumerate(reduced.a) for j, value in enumerate(row)
        )
        if reduced.stages == sweeps and subdiagonal and not any(reduced.b[:-1]) and reduced.b[-1] == weight:
            return name
    return None


def _equal(a: Tableau, b: Tableau) -> bool:
    return a.a == b.a and a.b == b.b
