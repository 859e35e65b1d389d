"""Time-steps of Runge-Kutta methods, over stage functions of any kind (paper, Eqs. 2 to 6).

All take and return states of shape (N, C, H, W).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from rksearch.arch.period import Solver, Steps
from rksearch.models.kernels.channels_last import side_by_side
from rksearch.models.parts import Maker, Parts, number_of

StageMaker = Callable[[Parts, str], nn.Module]
"""Builds the module of the stage function at a path: (N, C, H, W) to (N, C, H, W)."""


class Coefficients(nn.Module):
    """a_ij, b_i and h of a method: numbers, or parameters where they learn. It computes sums of slopes, no layer.

    Fixed coefficients that are zero are skipped, so the sum costs what the method needs.
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
        """y + h Σ_j a_ij k_j over the slopes k_j there are."""
        if self.trainable:
            factors: list[float | Tensor] = [self.a[self._places[i, j]] for j in range(len(slopes))]
        else:
            factors = list(self._matrix[i][: len(slopes)])
        return self._plus(y, factors, slopes)

    def next_state(self, y: Tensor, slopes: Sequence[Tensor]) -> Tensor:
        """y + h Σ_i b_i k_i."""
        factors: list[float | Tensor] = list(self.b) if self.trainable else list(self._weights)
        return self._plus(y, factors, slopes)

    def _plus(self, y: Tensor, factors: Sequence[float | Tensor], slopes: Sequence[Tensor]) -> Tensor:
        step: float | Tensor = self.h if self.learn_h else self._step
        for factor, slope in zip(factors, slopes, strict=True):
            if isinstance(factor, Tensor) or factor != 0.0:
                y = y + step * factor * slope
        return y


class ExplicitStep(nn.Sequential):
    """k_i = f_i(y + h Σ_{j<i} a_ij k_j); returns y + h Σ_i b_i k_i."""

    def __init__(self, parts: Parts, path: str, stage: StageMaker) -> None:
        super().__init__()
        for name, child in parts.children(path, "stage"):
            self.add_module(name, stage(parts, child))

    def forward(self, y: Tensor, method: Coefficients) -> Tensor:  # type: ignore[override]
        """State to next state; `method` belongs to the period."""
        slopes: list[Tensor] = []
        for i, stage in enumerate(self):
            slopes.append(stage(method.stage_input(y, i, slopes)))
        return method.next_state(y, slopes)


class Sweep(nn.Sequential):
    """One fixed-point sweep: new k_i = f_i(y + h Σ_j a_ij k_j) from the old k_j alone (Jacobi)."""

    def __init__(self, parts: Parts, path: str, stage: StageMaker) -> None:
        super().__init__()
        for name, child in parts.children(path, "stage"):
            self.add_module(name, stage(parts, child))

    def forward(self, y: Tensor, slopes: Sequence[Tensor], method: Coefficients) -> list[Tensor]:  # type: ignore[override]
        """All new slopes; no old ones mean that they are zero."""
        return [stage(method.stage_input(y, i, slopes)) for i, stage in enumerate(self)]


class ImplicitStep(nn.Sequential):
    """Fixed-point sweeps from k = 0, then y + h Σ_i b_i k_i."""

    def __init__(self, parts: Parts, path: str, stage: StageMaker) -> None:
        super().__init__()
        for name, child in parts.children(path, "sweep"):
            self.add_module(name, Sweep(parts, child, stage))

    def forward(self, y: Tensor, method: Coefficients) -> Tensor:  # type: ignore[override]
        """State to next state; `method` belongs to the period."""
        slopes: list[Tensor] = []
        for sweep in self:
            slopes = sweep(y, slopes, method)
        return method.next_state(y, slopes)


class SolvedPeriod(nn.Module):
    """r time-steps of one method, whose learned coefficients, if any, are the period's."""

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
    """k_i = f_i(concat(y, k_1, ..., k_{i-1})), returns y + Σ_i k_i; the coefficients are absorbed by convolutions."""

    def __init__(self, parts: Parts, path: str, stage: StageMaker) -> None:
        super().__init__()
        for name, child in parts.children(path, "stage"):
            self.add_module(name, stage(parts, child))

    def forward(self, y: Tensor) -> Tensor:
        """State (N, C, H, W) to the next state of the same shape."""
        seen = [y]
        for function in self:
            seen.append(function(side_by_side(seen)))
        for slope in seen[1:]:
            y = y + slope
        return y


class LearnedPeriod(nn.Sequential):
    """r time-steps of a method whose coefficients are absorbed by the convolutions."""

    def __init__(self, parts: Parts, path: str, stage: StageMaker) -> None:
        super().__init__()
        for name, child in parts.children(path, "step"):
            self.add_module(name, LearnedStep(parts, child, stage))


def periods_of(periods: Sequence[Steps], stage: StageMaker) -> Maker:
    """Builder of a network's periods from one kind of stage function, by learned methods or by tableaux."""

    def period(parts: Parts, path: str) -> nn.Module:
        solver = periods[number_of(path) - 1].solver
        return LearnedPeriod(parts, path, stage) if solver is None else SolvedPeriod(parts, path, solver, stage)

    return period
