"""The limits that the budgets set on the costs of networks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rksearch.arch.arrays import Integers
from rksearch.space.counting.dominance import Limits


@dataclass(frozen=True, slots=True)
class Box:
    """Inclusive limits on params, macs and depth, for the networks of one chain."""

    low: tuple[int, int, int]
    high: tuple[int, int, int]

    def limits(self, edges: Integers | None = None) -> Limits:
        """Limits with windows of params between `edges`, which must lie within the box; by default one window."""
        if edges is None:
            edges = np.array([self.low[0] - 1, self.high[0]], dtype=np.int64)
        return Limits(edges, (self.low[1], self.high[1]), (self.low[2], self.high[2]))

    def keeps(self, costs: Integers) -> npt.NDArray[np.bool_]:
        """Mask of the columns of costs (3, n) inside the box."""
        low, high = np.array(self.low)[:, None], np.array(self.high)[:, None]
        return np.asarray(((costs >= low) & (costs <= high)).all(axis=0))
