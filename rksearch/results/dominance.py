"""Non-domination and hypervolume: the one place where both are computed. All objectives are minimised.

A point dominates another when it is nowhere larger and somewhere smaller, so that equal points do not dominate one
another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from rksearch.arch.arrays import Floats

    Indices = npt.NDArray[np.intp]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Corner up to which a hypervolume is counted: a cost and an error that count as bad."""

    cost: float
    error_pct: float


def dominates(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether point `a` dominates point `b`.

    Raises:
        ValueError: the points differ in length.
    """
    return all(x <= y for x, y in zip(a, b, strict=True)) and any(x < y for x, y in zip(a, b, strict=True))


def non_dominated(points: npt.ArrayLike, *, distinct: bool = False) -> Indices:
    """Places of the points that no other point dominates, in lexicographic order of the points.

    Args:
        points: (points, objectives), without NaN.
        distinct: whether only the first of equal points is kept; otherwise all are, in the order given.
    """
    import numpy as np

    rows = np.asarray(points, dtype=float)
    if len(rows) == 0:
        return np.zeros(0, dtype=np.intp)
    order = np.lexsort(rows.T[::-1])
    ordered = rows[order]
    first = np.concatenate([[True], (ordered[1:] != ordered[:-1]).any(axis=1)])
    kept = _undominated(ordered[first])
    return order[first][kept] if distinct else order[kept[np.cumsum(first) - 1]]


def _undominated(rows: Floats) -> npt.NDArray[np.bool_]:
    """Mask of the points on the front among different points in lexicographic order: none dominates an earlier one."""
    import numpy as np

    if rows.shape[1] == 2:
        least = np.minimum.accumulate(rows[:, 1])
        return np.concatenate([[True], rows[1:, 1] < least[:-1]])
    found: list[int] = []
    for i, row in enumerate(rows):
        if not found or not (rows[found] <= row).all(axis=1).any():
            found.append(i)
    kept = np.zeros(len(rows), dtype=bool)
    kept[found] = True
    return kept


def pareto(items: Iterable[T], *, cost: Callable[[T], float], error: Callable[[T], float]) -> list[T]:
    """The items that no other item dominates in cost and error, by rising cost.

    Items that are equal in both are all kept, in the order given. An item whose cost or error is NaN cannot be compared
    and is left out.
    """
    known = [(item, (cost(item), error(item))) for item in items]
    comparable = [(item, point) for item, point in known if not any(map(math.isnan, point))]
    return [comparable[i][0] for i in non_dominated([point for _, point in comparable]).tolist()]


def layers(points: Sequence[Sequence[float]]) -> list[int]:
    """The layer of fronts in which each point lies: 0 on the front, 1 on the front of the others, ..."""
    found = [0] * len(points)
    left, layer = list(range(len(points))), 0
    while left:
        front = {left[i] for i in non_dominated([points[i] for i in left]).tolist()}
        for i in front:
            found[i] = layer
        left = [i for i in left if i not in front]
        layer += 1
    return found


def on_front(errors_pct: Floats, costs: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Whether each column of each row of errors is dominated by no other column; as `pareto`, for many rows at once.

    Args:
        errors_pct: (draws, architectures).
        costs: (architectures,).

    Returns:
        (draws, architectures).
    """
    import numpy as np

    if errors_pct.shape[1] == 0:
        return np.zeros(errors_pct.shape, dtype=bool)
    levels, level_of = np.unique(np.asarray(costs, dtype=float), return_inverse=True)
    if len(levels) == errors_pct.shape[1]:
        return _on_front_of_different_costs(errors_pct, np.argsort(level_of))
    order = np.argsort(level_of, kind="stable")
    least = np.minimum.reduceat(errors_pct[:, order], np.searchsorted(level_of[order], np.arange(len(levels))), axis=1)
    cheaper = np.full_like(least, np.inf)
    cheaper[:, 1:] = np.minimum.accumulate(least, axis=1)[:, :-1]
    on: npt.NDArray[np.bool_] = (errors_pct == least[:, level_of]) & (errors_pct < cheaper[:, level_of])
    return on


def _on_front_of_different_costs(errors_pct: Floats, order: Indices) -> npt.NDArray[np.bool_]:
    """As `on_front`, where no two costs are equal; `order` has the columns by rising cost."""
    import numpy as np

    ordered = errors_pct[:, order]
    better = np.ones(ordered.shape, dtype=bool)
    better[:, 1:] = ordered[:, 1:] < np.minimum.accumulate(ordered, axis=1)[:, :-1]
    on = np.empty(ordered.shape, dtype=bool)
    on[:, order] = better
    return on


def hypervolume(errors_pct: Floats, costs: npt.ArrayLike, reference: Reference) -> Floats:
    """Area between the front of each row of errors and the reference point, in percent times decades of cost.

    Args:
        errors_pct: (draws, architectures).
        costs: (architectures,); a cost above the reference's adds nothing.
        reference: the upper right corner.

    Returns:
        (draws,).
    """
    import numpy as np

    values = np.asarray(costs, dtype=float)
    order = np.argsort(values, kind="stable")
    return area_of_largest(np.minimum.accumulate(errors_pct[:, order], axis=1), values[order], reference)


def area_of_largest(errors_pct: Floats, costs: npt.ArrayLike, reference: Reference) -> Floats:
    """Area below the reference's error where at each cost the largest architecture that is affordable is taken.

    Of a front whose errors fall with its costs it is the hypervolume. Where the errors of a front that was named by
    others are measured again, it is without the luck of a minimum: its expectation is the area of the expected errors,
    but for errors near the reference's.

    Args:
        errors_pct: (draws, architectures).
        costs: (architectures,), not falling; a cost above the reference's adds nothing.
        reference: the upper right corner.

    Returns:
        (draws,), in percent times decades of cost.
    """
    import numpy as np

    end = math.log10(reference.cost)
    widths = np.diff(np.minimum(np.log10(np.asarray(costs, dtype=float)), end), append=end)
    area: Floats = np.maximum(reference.error_pct - errors_pct, 0) @ widths
    return area
