"""What a training that stopped early says about where it would have ended."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from rksearch.records import Epoch

PRIOR_PAIRS = 4.0
"""A rung begins as worth so many pairs of trainings whose errors keep their distance (slope 1)."""

PRIOR_SD = 0.2
"""How far logarithms of errors scatter from a rung to the next, until pairs of trainings tell."""


@dataclass(frozen=True, slots=True)
class Target:
    """Logarithm of the error at the end of a full training, as far as it is known.

    Attributes:
        value: as seen, or as expected.
        variance: of the expectation; 0 where the training is complete.
    """

    value: float
    variance: float


def final_errors(curves: Mapping[str, Sequence[Epoch]]) -> dict[str, Target]:
    """Where trainings end, by regression from one rung to the next.

    A rung is an epoch at which some training stands. Of those that went on from it, the logarithm of the error at the
    next rung is regressed on that at this one. That only the better ones went on does not bias this: they were chosen
    by what is regressed on.

    Args:
        curves: epochs of each training, at least one each, with finite errors at their ends.

    Returns:
        For each training, in the same order.
    """
    rungs = sorted({len(epochs) for epochs in curves.values()})
    found = {arch: Target(level(epochs, len(epochs)), 0.0) for arch, epochs in curves.items()}
    for low, high in pairwise(rungs):
        above = [epochs for epochs in curves.values() if len(epochs) >= high]
        x = np.array([level(epochs, low) for epochs in above])
        y = np.array([level(epochs, high) for epochs in above])
        seen = np.isfinite(x) & np.isfinite(y)
        x, y = x[seen], y[seen]
        slope, offset, variance = _line(x, y)
        for arch, epochs in curves.items():
            if len(epochs) <= low:
                own = found[arch]
                found[arch] = Target(offset + slope * own.value, slope**2 * own.variance + variance)
    return found


def level(epochs: Sequence[Epoch], at: int) -> float:
    """Logarithm of the validation error after epoch `at`."""
    return math.log(max(epochs[at - 1].val_error_pct, 1e-3))


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float]:
    """Slope, offset and variance around the line of y over x, drawn towards slope 1."""
    if not len(x):
        return 1.0, 0.0, PRIOR_SD**2
    centre = x.mean()
    spread = ((x - centre) ** 2).sum()
    change = y - x
    slope = 1 + ((x - centre) * (change - change.mean())).sum() / (spread + PRIOR_PAIRS * PRIOR_SD**2)
    offset = y.mean() - slope * centre
    rest = ((y - offset - slope * x) ** 2).sum()
    return float(slope), float(offset), float((rest + PRIOR_PAIRS * PRIOR_SD**2) / (len(x) + PRIOR_PAIRS))
