"""A measured number with its interval."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number, and the ends of its interval."""

    value: float
    low: float
    high: float
