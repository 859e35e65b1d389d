"""Means, spreads and Student's quantiles, in pure Python."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache


def mean(values: Sequence[float]) -> float:
    """Arithmetic mean, exactly rounded, so that it does not depend on the order of the values.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("a mean needs at least one value, but got none")
    return math.fsum(values) / len(values)


def sample_sd(values: Sequence[float]) -> float | None:
    """Standard deviation with n - 1 in the denominator; None for fewer than two values, which have no spread."""
    if len(values) < 2:
        return None
    centre = mean(values)
    return math.sqrt(math.fsum((v - centre) ** 2 for v in values) / (len(values) - 1))


@cache  # the same few degrees of freedom are asked for over and over
def student_quantile(confidence: float, degrees: float) -> float:
    """The t for which a Student variable lies in [-t, t] with probability `confidence`.

    With t = sqrt(v) tan(a), the density becomes cos(a)^(v - 1) up to a constant, a smooth function on a short interval,
    which Simpson's rule integrates to five digits or more.

    Args:
        confidence: probability, above 0 and below 1.
        degrees: degrees of freedom v, at least 1; not necessarily whole.

    Raises:
        ValueError: an argument is out of range.
    """
    if not 0 < confidence < 1 or degrees < 1:
        raise ValueError(f"confidence must lie in (0, 1) and degrees be at least 1, but got {confidence}, {degrees}")
    scale = 2 / math.sqrt(math.pi) * math.exp(math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2))

    def coverage(angle: float) -> float:
        steps = 256
        width = angle / steps
        total = math.fsum(
            (1 if i in (0, steps) else 4 if i % 2 else 2) * math.cos(i * width) ** (degrees - 1)
            for i in range(steps + 1)
        )
        return scale * total * width / 3

    low, high = 0.0, math.pi / 2
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if coverage(middle) < confidence else (low, middle)
    return math.sqrt(degrees) * math.tan((low + high) / 2)
