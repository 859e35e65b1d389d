"""Exact numbers p + q √3: the coefficients of Gauss's two-stage method are irrational, all others are fractions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Surd:
    """Number p + q √3 with fractions p and q; addition, subtraction and multiplication are exact.

    Attributes:
        p: the rational part.
        q: the factor of √3.
    """

    p: Fraction
    q: Fraction

    def __add__(self, other: Number | int) -> Surd:
        o = _surd(other)
        return Surd(self.p + o.p, self.q + o.q)

    def __neg__(self) -> Surd:
        return Surd(-self.p, -self.q)

    def __sub__(self, other: Number | int) -> Surd:
        return self + -_surd(other)

    def __mul__(self, other: Number | int) -> Surd:
        o = _surd(other)
        return Surd(self.p * o.p + 3 * self.q * o.q, self.p * o.q + self.q * o.p)

    def __rsub__(self, other: Number | int) -> Surd:
        return -self + other

    __radd__ = __add__
    __rmul__ = __mul__

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Surd | Fraction | int):
            return NotImplemented
        o = _surd(other)
        return self.p == o.p and self.q == o.q

    def __hash__(self) -> int:
        return hash(self.p) if not self.q else hash((self.p, self.q))

    def __bool__(self) -> bool:
        return bool(self.p or self.q)

    def __float__(self) -> float:
        return float(self.p) + float(self.q) * math.sqrt(3.0)

    def __str__(self) -> str:
        if not self.q:
            return str(self.p)
        sign = "-" if self.q < 0 else "+"
        size = abs(self.q)
        factor = "" if size.numerator == 1 else str(size.numerator)
        root = f"{factor}√3" + (f"/{size.denominator}" if size.denominator > 1 else "")
        if not self.p:
            return f"{'-' if self.q < 0 else ''}{root}"
        return f"{self.p} {sign} {root}"


Number = Fraction | Surd
"""Coefficient of a tableau."""


def _surd(value: Number | int) -> Surd:
    return value if isinstance(value, Surd) else Surd(Fraction(value), Fraction(0))
