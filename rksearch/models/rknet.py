"""Blocks of the dense RKNet families: time-steps and stages of dense layers."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from rksearch.arch.families.rknet import RKNet
from rksearch.arch.family import Makers
from rksearch.models.blocks import DenseLayer, Transition, grow
from rksearch.models.methods import SolvedPeriod
from rksearch.models.parts import Parts, number_of, side_by_side


class TimeStep(nn.Sequential):
    """One step of an s-stage explicit Runge-Kutta method: y + sum_i h b_i k_i (paper, Eqs. 2 and 3).

    Layer j reads concat(y, the growths before it). Growths i*m ... i*m + m - 1 are stage i's h b_i k_i, as wide as y;
    the coefficients are absorbed by the convolutions.
    """

    def __init__(self, parts: Parts, path: str, stages: int) -> None:
        super().__init__()
        self.stages = stages
        for name, child in parts.children(path, "layer"):
            self.add_module(name, DenseLayer(parts, child))

    def forward(self, y: Tensor) -> Tensor:
        """State (N, m * k, H, W) to the next state of the same shape."""
        return next_state(y, grow(self, y)[1], self.stages)


class DenseStage(nn.Sequential):
    """f(z) of a method with explicit coefficients: m layers, each reading concat(z, the growths before it)."""

    def __init__(self, parts: Parts, path: str) -> None:
        super().__init__()
        for name, child in parts.children(path, "layer"):
            self.add_module(name, DenseLayer(parts, child))

    def forward(self, z: Tensor) -> Tensor:
        """What the stage sees, (N, m * k, H, W), to its slope: the m growths, (N, m * k, H, W)."""
        return side_by_side(grow(self, z)[1])


class DensePeriod(nn.Sequential):
    """r time-steps in a row."""

    def __init__(self, parts: Parts, path: str, stages: int) -> None:
        super().__init__()
        for name, child in parts.children(path, "step"):
            self.add_module(name, TimeStep(parts, child, stages))


def next_state(y: Tensor, growths: Sequence[Tensor], stages: int) -> Tensor:
    """y + sum_i h b_i k_i, all (N, m * k, H, W), from the m growths of each stage."""
    width = len(growths) // stages
    for first in range(0, len(growths), width):
        # Not as parts of one concatenation: adding parts of a few channels takes several times as long.
        y = y + side_by_side(growths[first : first + width])
    return y


def makers(spec: RKNet) -> Makers:
    """What builds periods and transitions."""

    def period(parts: Parts, path: str) -> nn.Module:
        own = spec.periods[number_of(path) - 1]
        if own.solver is None:
            return DensePeriod(parts, path, stages=own.s)
        return SolvedPeriod(parts, path, own.solver, DenseStage)

    return {"period": period, "transition": Transition}
