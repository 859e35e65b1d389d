"""Catalogue of the methods that a name can give to a period."""

from __future__ import annotations

from fractions import Fraction
from types import MappingProxyType

from rksearch.arch.tableaux.numbers import Number, Surd
from rksearch.arch.tableaux.tableau import Tableau
from rksearch.errors import SpecError, nearest


def tableau(name: str) -> Tableau:
    """Tableau of the method called `name`.

    Raises:
        SpecError: there is none of that name.
    """
    try:
        return TABLEAUX[name]
    except KeyError:
        raise SpecError(
            f"the tableau must be one of {', '.join(TABLEAUX)}, but got {name!r}{nearest(name, TABLEAUX)}"
        ) from None


def _explicit(name: str, title: str, source: str, rows: str, weights: str) -> Tableau:
    """Tableau from its strictly lower triangle, rows separated by `;`; the nodes are the row sums."""
    b = _numbers(weights)
    below = [_numbers(row) for row in f";{rows}".split(";")] if rows else [()]
    a = tuple((*row, *(Fraction(0) for _ in range(len(b) - len(row)))) for row in below)
    return Tableau(name=name, title=title, source=source, a=a, b=b, c=tuple(sum(row, Fraction(0)) for row in a))


def _implicit(
    name: str, title: str, source: str, a: tuple[tuple[Number, ...], ...], b: str, c: tuple[Number, ...]
) -> Tableau:
    return Tableau(name=name, title=title, source=source, a=a, b=_numbers(b), c=c)


def _numbers(text: str) -> tuple[Fraction, ...]:
    return tuple(Fraction(word) for word in text.split())


def _surd(p: str, q: str) -> Surd:
    return Surd(Fraction(p), Fraction(q))


_HALF, _ONE = Fraction(1, 2), Fraction(1)

TABLEAUX: MappingProxyType[str, Tableau] = MappingProxyType(
    {
        t.name: t
        for t in (
            _explicit("euler", "Euler's method", "Euler 1768", "", "1"),
            _explicit("midpoint", "explicit midpoint rule", "Runge 1895", "1/2", "0 1"),
            _explicit("heun2", "Heun's method of order 2", "Heun 1900", "1", "1/2 1/2"),
            _explicit("ralston2", "Ralston's method of order 2", "Ralston 1962", "2/3", "1/4 3/4"),
            _explicit("kutta3", "Kutta's method of order 3", "Kutta 1901", "1/2; -1 2", "1/6 2/3 1/6"),
            _explicit("heun3", "Heun's method of order 3", "Heun 1900", "1/3; 0 2/3", "1/4 0 3/4"),
            _explicit("ralston3", "Ralston's method of order 3", "Ralston 1962", "1/2; 0 3/4", "2/9 1/3 4/9"),
            _explicit(
                "ssprk3",
                "strong-stability-preserving method of order 3",
                "Shu and Osher 1988",
                "1; 1/4 1/4",
                "1/6 1/6 2/3",
            ),
            _explicit(
                "rk4",
                "the classical Runge-Kutta method",
                "Kutta 1901",
                "1/2; 0 1/2; 0 0 1",
                "1/6 1/3 1/3 1/6",
            ),
            _explicit("rk38", "Kutta's 3/8-rule", "Kutta 1901", "1/3; -1/3 1; 1 -1 1", "1/8 3/8 3/8 1/8"),
            _explicit(
                "bosh3",
                "Bogacki-Shampine 3(2)",
                "Bogacki and Shampine 1989",
                "1/2; 0 3/4; 2/9 1/3 4/9",
                "2/9 1/3 4/9 0",
            ),
            _explicit(
                "dopri5",
                "Dormand-Prince 5(4)",
                "Dormand and Prince 1980",
                "1/5; 3/40 9/40; 44/45 -56/15 32/9; 19372/6561 -25360/2187 64448/6561 -212/729;"
                "9017/3168 -355/33 46732/5247 49/176 -5103/18656; 35/384 0 500/1113 125/192 -2187/6784 11/84",
                "35/384 0 500/1113 125/192 -2187/6784 11/84 0",
            ),
            _implicit("backeuler", "backward Euler", "Euler 1768, Cauchy 1824", ((_ONE,),), "1", (_ONE,)),
            _implicit(
                "impmid", "implicit midpoint rule (Gauss, one stage)", "Kuntzmann 1961", ((_HALF,),), "1", (_HALF,)
            ),
            _implicit(
                "gauss2",
                "Gauss, two stages",
                "Hammer and Hollingsworth 1955",
                ((Fraction(1, 4), _surd("1/4", "-1/6")), (_surd("1/4", "1/6"), Fraction(1, 4))),
                "1/2 1/2",
                (_surd("1/2", "-1/6"), _surd("1/2", "1/6")),
            ),
            _implicit(
                "radau2",
                "Radau IIA, two stages",
                "Ehle 1969",
                (_numbers("5/12 -1/12"), _numbers("3/4 1/4")),
                "3/4 1/4",
                _numbers("1/3 1"),
            ),
        )
    }
)
"""All methods by name, explicit ones first."""
