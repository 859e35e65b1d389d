"""Expected final errors of trainings that stopped early."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from rksearch.arch.arrays import Floats

PRIOR_PAIRS = 4.0
"""Prior weight of a rung: number of pairs of trainings whose errors keep their distance."""

PRIOR_SD = 0.2
"""Prior standard deviation of logarithms of errors from one rung to the next."""


@dataclass(frozen=True, slots=True)
class Target:
    """Logarithm of the error at the end of a full training, as far as it is known.

    Attributes:
        value: the observed or expected logarithm.
        variance: variance of the expectation; 0 where the training is complete.
    """

    value: float
    variance: float


def final_errors(curves: Mapping[str, Floats]) -> dict[str, Target]:
    """Expected final errors of trainings, by regression from one rung to the next.

    A rung is an epoch at which some training stands. For the trainings that continued from it, the logarithms of the
    validation error and of the mean training loss so far (the steadier of the two) at the next rung are regressed on
    the same two at this rung. That only the better ones continued causes no bias: they were chosen by the regressors.

    Args:
        curves: one per training, as `curve` makes them, finite at their ends.

    Returns:
        One target per training, in the same order.
    """
    rungs = sorted({len(epochs) for epochs in curves.values()})
    state = {arch: epochs[-1] for arch, epochs in curves.items()}
    doubt = {arch: np.zeros((2, 2)) for arch in curves}
    for low, high in pairwise(rungs):
        above = [epochs for epochs in curves.values() if len(epochs) >= high]
        x = np.array([epochs[low - 1] for epochs in above])
        y = np.array([epochs[high - 1] for epochs in above])
        seen = np.isfinite(x).all(axis=1) & np.isfinite(y).all(axis=1)
        slopes, offset, variance = _line(x[seen], y[seen])
        for arch, epochs in curves.items():
            if len(epochs) <= low:
                state[arch] = offset + slopes.T @ state[arch]
                doubt[arch] = slopes.T @ doubt[arch] @ slopes + variance
    return {arch: Target(float(state[arch][0]), float(doubt[arch][0, 0])) for arch in curves}


def curve(val_errors_pct: Sequence[float], train_losses: Sequence[float]) -> Floats:
    """Logarithms of the validation error after each epoch and of the mean training loss up to it: (epochs, 2).

    The error stands in for a loss that is not finite or not positive.
    """
    errors = np.log(np.maximum(val_errors_pct, 1e-3))
    losses = np.cumsum(train_losses) / np.arange(1, len(train_losses) + 1)
    known = np.isfinite(losses) & (losses > 0)
    return np.stack([errors, np.where(known, np.log(np.where(known, losses, 1.0)), errors)], axis=1)


def final_value(val_error_pct: float) -> Floats:
    """The curve of a training of which the last epoch alone is known: (1, 2)."""
    return curve([val_error_pct], [math.nan])


def _line(x: Floats, y: Floats) -> tuple[Floats, Floats, Floats]:
    """Slopes, offsets and covariance around the plane of y over x, drawn towards no change but by an offset."""
    if not len(x):
        return np.eye(2), np.zeros(2), PRIOR_SD**2 * np.eye(2)
    middle, change = x.mean(axis=0), y - x
    off = x - middle
    ridge = PRIOR_PAIRS * PRIOR_SD**2 * np.eye(2)
    slopes = np.eye(2) + np.linalg.solve(off.T @ off + ridge, off.T @ (change - change.mean(axis=0)))
    offset = y.mean(axis=0) - middle @ slopes
    rest = y - offset - x @ slopes
    return slopes, offset, (rest.T @ rest + PRIOR_PAIRS * PRIOR_SD**2 * np.eye(2)) / (len(x) + PRIOR_PAIRS)
