"""Ratios of times that were measured in the same rounds, with the interval that their spread leaves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

RESAMPLES = 2000
LEVEL_PCT = 95.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """How many times faster one contestant is than another.

    Attributes:
        median: median of the ratios of the rounds.
        low, high: interval of the median: 95 % of bootstrap samples of the rounds lie in it.
        of_minima: ratio of the shortest times: what is left where nothing disturbs.
    """

    median: float
    low: float
    high: float
    of_minima: float


def speed_up(base_s: Sequence[float], other_s: Sequence[float]) -> Ratio:
    """Times of `base` over those of `other`, round by round.

    Args:
        base_s, other_s: seconds of both in the same rounds.

    Raises:
        ValueError: no rounds, or another number of them.
    """
    base, other = np.asarray(base_s, float), np.asarray(other_s, float)
    if base.shape != other.shape or not base.size:
        raise ValueError(f"both need the same rounds, at least one, but got {base.size} and {other.size}")
    ratios = base / other
    low, high = interval(ratios)
    return Ratio(median=float(np.median(ratios)), low=low, high=high, of_minima=float(base.min() / other.min()))


def interval(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Percentile interval of the median of values (rounds,), by bootstrap; the same for the same values."""
    drawn = np.random.default_rng(0).integers(0, values.size, (RESAMPLES, values.size))
    beside = (100 - LEVEL_PCT) / 2
    low, high = np.percentile(np.median(values[drawn], axis=1), (beside, 100 - beside))
    return float(low), float(high)
