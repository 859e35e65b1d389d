"""Time-steps of Runge-Kutta methods, for stage functions of any kind (paper, Eqs. 2 to 6).

All modules take and return states of shape (N, C, H, W).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from rksearch.arch.period import Solver, Steps
from rksearch.models.parts import Maker, Parts, number_of, side_by_side

StageMaker = Callable[[Parts, str], nn.Module]
"""Builder of the stage function at a path, a module from (N, C, H, W) to (N, C, H, W)."""


class Coefficients(nn.Module):
    """Coefficients a_ij, b_i and h of a method: fixed numbers, or parameters where they learn.

    Fixed coefficients that are zero are skipped.
    """

    def __init__(self, solver: Solver) -> None:
        super().__init__()
        method = solver.method
        self._weights = [float(b) for b in method.b]
        self._matrix = [[float(x) for x in row] for row in method.a]
        self._step = float(solver.h)
        self._places: dict[tuple[int, int], int] = {}
        self.trainable, self.learn_h = solver.trainable, solver.learn_h
        if solver.trainable:
            s = method.stages
            places = [(i, j) for i in range(s) for j in range(s) if j < i or not method.explicit]
            self._places = {place: n for n, place in enumerate(places)}
            if places:
                self.a = nn.Parameter(torch.tensor([self._matrix[i][j] for i, j in places]))
            self.b = nn.Parameter(torch.tensor(self._weights))
        if solver.learn_h:
            self.h = nn.Parameter(torch.tensor(self._step))

    def stage_input(self, y: Tensor, i: int, slopes: Sequence[Tensor]) -> Tensor:
        """Input of stage i: y + h Σ_j a_ij k_j over the given slopes k_j."""
        if self.trainable:
            factors: list[float | Tensor] = [self.a[self._places[i, j]] for j in range(len(slopes))]
        else:
            factors = list(self._matrix[i][: len(slopes)])
        return self._plus(y, factors, slopes)

    def next_state(self, y: Tensor, slopes: Sequence[Tensor]) -> Tensor:
        """State after the time-step: y + h Σ_i b_i k_i."""
        if self.trainable:
            learned = self.b.unbind()
            factors: list[float | Tensor] = [learned[i] for i in range(len(slopes))]
        else:
            factors = list(self._weights)
        return self._plus(y, factors, slopes)

    def _plus(self, y: Tensor, factors: Sequence[float | Tensor], slopes: Sequence[Tensor]) -> Tensor:
        step: float | Tensor = self.h if self.learn_h else self._step
        for factor, slope in zip(factors, slopes, strict=True):
            if not (isinstance(factor, float) and factor == 0.0):
                y = y + step * factor * slope
        return y


class ExplicitStep(nn.Sequential):
    """Explicit time-step: k_i = f_i(y + h Σ_{j<i} a_ij k_j), then y + h Σ_i b_i k_i."""

    def __init__(self, parts: Parts, path: str, stage: StageMaker) -> None:
        super().__init__()
        for name, child in parts.children(path, "stage"):
            self.add_module(name, stage(parts, child))

    def forward(self, y: Tensor, method: Coefficients) -> Tensor:  # type: ignore[override]
        """Next state; `method` holds the coefficients, which belong to the period."""
        slopes: list[Tensor] = []
        for i, stage in enumerate(self):
            slopes.append(stage(method.stage_input(y, i, slopes)))
        return method.next_state(y, slopes)


class Sweep(nn.Sequential):
    """Fixed-point sweep (Jacobi): new k_i = f_i(y + h Σ_j a_ij k_j) from the old k_j only."""

    def __init__(self, parts: Parts, path: str, stage: StageMaker) -> None:
        super().__init__()
        for name, child in parts.children(path, "stage"):
            self.add_module(name, stage(parts, child))

    def forward(self, y: Tensor, slopes: Sequence[Tensor], method: Coefficients) -> tuple[Tensor, ...]:  # type: ignore[override]
        """New slopes of all stages; an empty `slopes` stands for zeros."""
        # A tuple, not a list: backward hooks see the tensors of tuples alone.
        return tuple(stage(method.stage_input(y, i, slopes)) for i, stage in enumerate(self))


class ImplicitStep(nn.Sequential):
    """Implicit time-step: fixed-point sweeps from k = 0, then y + h Σ_i b_i k_i."""

    def __init__(self, parts: Parts, path: str, stage: StageMaker) -> None:
        super().__init__()
        for name, child in parts.children(path, "sweep"):
            self.add_module(name, Sweep(parts, child, stage))

    def forward(self, y: Tensor, method: Coefficients) -> Tensor:  # type: ignore[override]
        """Next state; `method` holds the coefficients, which belong to the period."""
        slopes: tuple[Tensor, ...] = ()
        for sweep in self:
            slopes = sweep(y, slopes, method)
        return method.next_state(y, slopes)


class SolvedPeriod(nn.Module):
    """Period of r time-steps of one method; learned coefficients are shared by its time-steps."""

    def __init__(self, parts: Parts, path: str, solver: Solver, stage: StageMaker) -> None:
        super().__init__()
        self.method = Coefficients(solver)
        step = ExplicitStep if solver.method.explicit else ImplicitStep
        self.steps = [name for name, _ in parts.children(path, "step")]
        for name, child in parts.children(path, "step"):
            self.add_module(name, step(parts, child, stage))

    def forward(self, y: Tensor) -> Tensor:
        """State after all time-steps."""
        for name in self.steps:
            y = self.get_submodule(name)(y, self.method)
        return y


class LearnedStep(nn.Sequential):
    """Learned time-step: k_i = f_i(concat(y, k_1, ..., k_{i-1})), then y + Σ_i k_i.

    The convolutions absorb the coefficients.
    """

    def __init__(self, parts: Parts, path: str, stage: StageMaker) -> None:
        super().__init__()
        for name, child in parts.children(path, "stage"):
            self.add_module(name, stage(parts, child))

    def forward(self, y: Tensor) -> Tensor:
        """Next state, of the same shape (N, C, H, W)."""
        seen = [y]
        for function in self:
            seen.append(function(side_by_side(seen)))
        for slope in seen[1:]:
            y = y + slope
        return y


class LearnedPeriod(nn.Sequential):
    """Period of r time-steps of a method whose coefficients the convolutions absorb."""

    def __init__(self, parts: Parts, path: str, stage: StageMaker) -> None:
        super().__init__()
        for name, child in parts.children(path, "step"):
            self.add_module(name, LearnedStep(parts, child, stage))


def periods_of(periods: Sequence[Steps], stage: StageMaker) -> Maker:
    """Builder of a network's periods from one kind of stage function, for learned methods and for tableaux."""

    def period(parts: Parts, path: str) -> nn.Module:
        solver = periods[number_of(path) - 1].solver
        return LearnedPeriod(parts, path, stage) if solver is None else SolvedPeriod(parts, path, solver, stage)

    return period
