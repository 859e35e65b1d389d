"""Fronts of cost and of the error that a run compares networks by, in percent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rksearch.results.dominance import Reference, dominates, hypervolume, pareto
from rksearch.results.stats import central_interval
from rksearch.results.summaries import ArchSummary, CostFunction, by_macs, by_params

if TYPE_CHECKING:
    from rksearch.arch.arrays import Floats
    from rksearch.results.uncertainty import ErrorDraws

BAND = 0.90
"""Confidence of the bands of fronts and hypervolumes. That of a front holds over its whole length."""

BAND_COLUMNS = 400
"""Maximum number of architectures at which the band of a front counts the draws that it holds."""

BLOCK_COLUMNS = 400
"""Number of architectures that the band of a front is worked out for at once."""


def rk_front(items: Iterable[ArchSummary], *, cost: CostFunction = by_params) -> list[ArchSummary]:
    """The front of cost and mean error among the candidates and the paper's configurations."""
    return pareto((i for i in items if i.is_searched), cost=cost, error=lambda i: i.error_pct)


def both_fronts(items: Iterable[ArchSummary]) -> list[ArchSummary]:
    """The architectures on the front of parameters, then those on that of MACs alone, each by rising cost."""
    items = list(items)
    return list({item.arch: item for cost in (by_params, by_macs) for item in rk_front(items, cost=cost)}.values())


def membership(
    items: Sequence[ArchSummary], *, cost: CostFunction = by_params, resamples: int = 1000
) -> dict[str, float]:
    """The probability of each architecture that may stand on the front to be on the front of true errors.

    It is a share of the draws of the model in `rksearch.results.uncertainty`; the order of the items makes no
    difference. Where no architecture has two seeds yet, the spread between seeds is a guess. What is shown to people
    takes the `RESAMPLES` draws that all tables share, see `rksearch.results.tables`.
    """
    from rksearch.results.uncertainty import draw, front_shares  # numpy: not needed to read a ledger

    return front_shares(draw(items, resamples=resamples), items, cost)


def smallest(items: Iterable[ArchSummary], *, cost: CostFunction = by_params) -> str | None:
    """Name of the one architecture of least cost among those that may stand on the front; None where several have it.

    Whatever its error, nothing that is cheaper can dominate it, so that its place on the front says nothing.
    """
    searched = [item for item in items if item.is_searched]
    least = min(map(cost, searched), default=None)
    found = [item.arch for item in searched if cost(item) == least]
    return found[0] if len(found) == 1 else None


def front_band(errors_pct: Floats, confidence: float) -> tuple[list[float], list[float]]:
    """Simultaneous band of the least error up to each column, as lower and upper ends.

    A share `confidence` of the rows lies in it over its whole length. It is the band between the (k + 1)-th least and
    the (k + 1)-th greatest value of each column, with the largest k for which that holds: the rank envelope of
    Myllymäki et al. (2017), Journal of the Royal Statistical Society B 79:381.

    Args:
        errors_pct: (draws, architectures), by rising cost, at least one of each.
        confidence: share of the draws, above 0 and at most 1.
    """
    import numpy as np

    draws, columns = errors_pct.shape
    # Neighbouring columns are nearly the same, so that some of many tell how deep a row lies.
    looked = np.unique(np.linspace(0, columns - 1, min(columns, BAND_COLUMNS)).astype(int))
    depth = np.full(draws, draws, dtype=int)
    for start, least in _least_so_far(errors_pct):
        for column in least[:, looked[(looked >= start) & (looked < start + least.shape[1])] - start].T:
            _, place, counts = np.unique(column, return_inverse=True, return_counts=True)
            ends = np.cumsum(counts)
            below, above = ends - 1, draws - (ends - counts) - 1
            depth = np.minimum(depth, np.minimum(below, above)[place])
    kept = int(np.ceil(confidence * draws - 1e-9))
    k = int(np.sort(depth)[draws - kept])
    low, high = list[float](), list[float]()
    for _, least in _least_so_far(errors_pct):
        ordered = np.partition(least, (k, draws - 1 - k), axis=0)
        low += ordered[k].tolist()
        high += ordered[draws - 1 - k].tolist()
    return low, high


def _least_so_far(errors_pct: Floats) -> Iterator[tuple[int, Floats]]:
    """The least error up to each column, in blocks of columns, each with the place of its first one."""
    import numpy as np

    before = np.full(len(errors_pct), np.inf)
    for start in range(0, errors_pct.shape[1], BLOCK_COLUMNS):
        block = errors_pct[:, start : start + BLOCK_COLUMNS]
        least = np.minimum(np.minimum.accumulate(block, axis=1), before[:, None])
        yield start, least
        before = least[:, -1]


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontRow:
    """An architecture on the front.

    Attributes:
        item: the architecture.
        beaten_by: baselines that dominate it, by rising cost; empty when none does.
    """

    item: ArchSummary
    beaten_by: tuple[str, ...]


def front_rows(items: Sequence[ArchSummary], *, cost: CostFunction = by_params) -> list[FrontRow]:
    """The front by rising cost, each with the baselines that dominate it."""
    baselines = sorted((i for i in items if i.is_baseline), key=lambda i: (cost(i), i.arch))

    def point(item: ArchSummary) -> tuple[float, float]:
        return cost(item), item.error_pct

    return [
        FrontRow(item=f, beaten_by=tuple(b.arch for b in baselines if dominates(point(b), point(f))))
        for f in rk_front(items, cost=cost)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class HypervolumeBand:
    """Area between the front and the reference point, in percent times decades of cost.

    Attributes:
        of_means: area of the front of mean errors; optimistic, because the front selects lucky trainings.
        expected: median over draws of the true errors.
        band: ends of the middle 90 % of the draws; None where the spread between seeds is not known.
        reference: corner up to which the area counts.
    """

    of_means: float
    expected: float
    band: tuple[float, float] | None
    reference: Reference


def hypervolume_band(
    items: Sequence[ArchSummary], draws: ErrorDraws, reference: Reference, *, cost: CostFunction = by_params
) -> HypervolumeBand | None:
    """The hypervolume of the architectures that may stand on the front; None where there are none."""
    import numpy as np

    searched = [i for i in items if i.is_searched]
    if not searched:
        return None
    costs = [cost(i) for i in searched]
    areas = np.concatenate([hypervolume(block, costs, reference) for block in draws.blocks(searched)])
    means = np.array([[i.error_pct for i in searched]])
    return HypervolumeBand(
        of_means=float(hypervolume(means, costs, reference)[0]),
        expected=float(np.median(areas)),
        band=central_interval(areas, BAND) if draws.spread_known else None,
        reference=reference,
    )
