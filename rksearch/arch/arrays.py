"""Types of the arrays that rooms pass to one another."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
"""Counts, costs and positions: exact."""

Floats = npt.NDArray[np.float64]
"""Errors, shares and other measured or modelled values."""
