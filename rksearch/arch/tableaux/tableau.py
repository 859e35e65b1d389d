"""Butcher tableaux and their orders, computed exactly from the order conditions.

A method with coefficients a, b, c has order p exactly when, for every rooted tree t with at most p vertices,
Σ_i b_i Φ_i(t) = 1 / γ(t). Φ and γ are computed recursively from a tree's branches, in exact numbers, so the order is
proved, not measured. Source: Hairer, Nørsett, Wanner, Solving Ordinary Differential Equations I, section II.2.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from math import prod

from rksearch.arch.tableaux.numbers import Number, Surd
from rksearch.errors import SpecError

MAX_ORDER = 6
"""Largest order that is checked; every method in the catalogue is below it."""

Matrix = tuple[tuple[Number, ...], ...]


@dataclass(frozen=True, slots=True)
class Tree:
    """Rooted tree, given by the trees below its root."""

    branches: tuple[Tree, ...] = ()

    @property
    def size(self) -> int:
        """Number of vertices."""
        return 1 + sum(branch.size for branch in self.branches)

    @property
    def density(self) -> int:
        """Density γ(t): the size times the densities of the branches."""
        return self.size * prod(branch.density for branch in self.branches)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tableau:
    """Runge-Kutta method: k_i = f(y + h Σ_j a_ij k_j), next y = y + h Σ_i b_i k_i.

    Attributes:
        name: word for the method in the name of an architecture.
        title: usual name.
        source: publication.
        a: s rows of s coefficients.
        b: s weights.
        c: s nodes.

    Raises:
        SpecError: the shapes do not match, a number is not exact, or a row sum or the sum of weights is wrong.
    """

    name: str
    title: str
    source: str
    a: Matrix
    b: tuple[Number, ...]
    c: tuple[Number, ...]

    def __post_init__(self) -> None:
        s = len(self.b)
        if not s or len(self.a) != s or len(self.c) != s or any(len(row) != s for row in self.a):
            raise SpecError(
                f"tableau {self.name}: a must be s x s and b and c of length s at least 1, but got rows of "
                f"{[len(row) for row in self.a]}, {s} weights and {len(self.c)} nodes"
            )
        for number in (*(x for row in self.a for x in row), *self.b, *self.c):
            if not isinstance(number, Fraction | Surd):
                raise SpecError(f"tableau {self.name}: every coefficient must be an exact fraction, but got {number!r}")
        for i, (row, node) in enumerate(zip(self.a, self.c, strict=True), 1):
            if _sum(row) != node:
                raise SpecError(
                    f"tableau {self.name}: row {i} must sum to its node, but it sums to {_sum(row)} and c_{i} = {node}"
                )
        if _sum(self.b) != 1:
            raise SpecError(f"tableau {self.name}: the weights must sum to 1, but they sum to {_sum(self.b)}")

    @property
    def stages(self) -> int:
        """Number of stages s of the tableau as published."""
        return len(self.b)

    @property
    def explicit(self) -> bool:
        """Whether every stage depends on earlier stages only."""
        return not any(self.a[i][j] for i in range(self.stages) for j in range(i, self.stages))

    @property
    def order(self) -> int:
        """Largest p, at most `MAX_ORDER`, for which all order conditions of up to p vertices hold."""
        order = 0
        while order < MAX_ORDER and all(self.satisfies(tree) for tree in rooted_trees(order + 1)):
            order += 1
        return order

    def satisfies(self, tree: Tree) -> bool:
        """Whether the order condition of a tree holds: Σ_i b_i Φ_i(tree) = 1 / γ(tree), exactly."""
        elementary = _elementary(self.a, tree)
        return _sum(tuple(b * phi for b, phi in zip(self.b, elementary, strict=True))) == Fraction(1, tree.density)

    def reduced(self) -> Tableau:
        """Same method without the stages that do not affect the next y.

        Methods with an error estimate have such a stage (the last one of Bogacki-Shampine and of Dormand-Prince). Its
        weights would receive no gradient.
        """
        needed = {i for i, b in enumerate(self.b) if b}
        while more := {j for i in needed for j, x in enumerate(self.a[i]) if x} - needed:
            needed |= more
        kept = sorted(needed)
        return Tableau(
            name=self.name,
            title=self.title,
            source=self.source,
            a=tuple(tuple(self.a[i][j] for j in kept) for i in kept),
            b=tuple(self.b[i] for i in kept),
            c=tuple(self.c[i] for i in kept),
        )


@cache
def rooted_trees(size: int) -> tuple[Tree, ...]:
    """All rooted trees with `size` vertices, each once; there are 1, 1, 2, 4, 9, 20, ..."""
    return tuple(Tree(branches) for branches in _forests(size - 1, size - 1, 0))


def _forests(vertices: int, largest: int, start: int) -> Iterator[tuple[Tree, ...]]:
    """Yield multisets of trees with `vertices` vertices in total and at most `largest` vertices in a tree.

    Trees are taken in descending order of size, then in ascending order of index, so that each forest is listed once;
    `start` is the first index that is allowed for trees of size `largest`.
    """
    if vertices == 0:
        yield ()
        return
    for size in range(min(vertices, largest), 0, -1):
        trees = rooted_trees(size)
        for i in range(start if size == largest else 0, len(trees)):
            for rest in _forests(vertices - size, size, i):
                yield (trees[i], *rest)


def _elementary(a: Matrix, tree: Tree) -> list[Number]:
    """Elementary weights Φ_i(tree) of all stages i: the product over branches of Σ_j a_ij Φ_j(branch)."""
    values: list[Number] = [Fraction(1)] * len(a)
    for branch in tree.branches:
        below = _elementary(a, branch)
        sums = [_sum(tuple(x * phi for x, phi in zip(row, below, strict=True))) for row in a]
        values = [value * total for value, total in zip(values, sums, strict=True)]
    return values


def _sum(numbers: tuple[Number, ...]) -> Number:
    total: Number = Fraction(0)
    for number in numbers:
        total = total + number
    return total
