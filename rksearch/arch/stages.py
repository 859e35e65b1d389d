"""The stage functions of a period in the order of computation, and whose weights each one has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from rksearch.arch.period import Steps
from rksearch.arch.rows import Writer


class Stage(NamedTuple):
    """One evaluation of a stage function.

    Attributes:
        path: of its module, for example `period1.step2.stage3`, or `period1.step2.sweep1.stage3` in a sweep.
        owner: path of the stage whose convolutions it uses.
        number: i of stage i, counted from 1.
    """

    path: str
    owner: str
    number: int


def stages(period: Steps, prefix: str) -> Iterator[Stage]:
    """Every evaluation of a stage function in the period at `prefix`.

    Convolutions belong to the first time-step where time-steps share them, to the first stage where stages share them,
    and to the first sweep always.
    """
    solver = period.solver
    sweeps = [""] if solver is None or solver.method.explicit else [f"sweep{i}." for i in range(1, solver.sweeps + 1)]
    for step in range(1, period.r + 1):
        for sweep in sweeps:
            for stage in range(1, period.s + 1):
                owner_stage = 1 if solver is not None and solver.tie else stage
                yield Stage(
                    f"{prefix}.step{step}.{sweep}stage{stage}",
                    f"{prefix}.step{1 if period.share else step}.{sweeps[0]}stage{owner_stage}",
                    stage,
                )


def write_coefficients(w: Writer, period: Steps, prefix: str, channels: int) -> None:
    """A row for the numbers of the period's method that learn, where any do."""
    if period.solver is not None and period.solver.learned_numbers:
        w.coefficients(f"{prefix}.method", channels, period.solver.learned_numbers)
