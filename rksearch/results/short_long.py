"""Short and long trainings of the same networks: what a run found, and what training its networks again found."""

from __future__ import annotations

from dataclasses import dataclass

from rksearch.results.fronts import both_fronts
from rksearch.results.history import History
from rksearch.results.plan import SourceRun
from rksearch.results.stats import rank_correlation, sample_sd
from rksearch.results.summaries import ArchSummary, exact_mean, summarise


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortLongRow:
    """A network after short and after long trainings; errors are those by which the runs compare networks, in percent.

    Attributes:
        item: the network after long trainings.
        short_error_pct, short_error_sd_pct, short_seeds: mean, spread and number of its short trainings.
        short_rank, long_rank: its places by error among the networks of the table, from 1; ties share the mean place.
        on_short_front, on_long_front: whether it was, and is, on the front of parameters or of MACs.
    """

    item: ArchSummary
    short_error_pct: float
    short_error_sd_pct: float | None
    short_seeds: int
    short_rank: float
    long_rank: float
    on_short_front: bool
    on_long_front: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortLong:
    """Short beside long trainings.

    Attributes:
        source: the run of the short trainings.
        rows: the networks that both have trained to the end, by rising parameters.
        correlation: rank correlation of the mean errors; NaN for fewer than two networks, or where all errors of one
            side are equal.
        interval: its interval; None where there are too few networks.
        left: searched networks that were on the short front and are not on the long one.
    """

    source: SourceRun
    rows: tuple[ShortLongRow, ...]
    correlation: float
    interval: tuple[float, float] | None
    left: tuple[str, ...]


def short_and_long(history: History) -> ShortLong | None:
    """Short beside long trainings; None for a run that trains no other run's networks again."""
    source = history.plan.source if history.plan else None
    if source is None:
        return None
    from scipy import stats  # type: ignore[import-untyped]  # not needed to read a ledger

    items = {item.arch: item for item in summarise(history)}
    front = {item.arch for item in both_fronts(items.values())}
    pairs = [(result, items[result.arch]) for result in source.results if result.arch in items and result.errors_pct]
    short = [exact_mean(result.errors_pct) for result, _ in pairs]
    long = [item.error_pct for _, item in pairs]
    correlation, interval = rank_correlation(short, long) if len(pairs) > 1 else (float("nan"), None)
    short_ranks, long_ranks = stats.rankdata(short).tolist(), stats.rankdata(long).tolist()
    rows = [
        ShortLongRow(
            item=item,
            short_error_pct=short[i],
            short_error_sd_pct=sample_sd(result.errors_pct),
            short_seeds=len(result.errors_pct),
            short_rank=short_ranks[i],
            long_rank=long_ranks[i],
            on_short_front=result.on_front,
            on_long_front=item.arch in front,
        )
        for i, (result, item) in enumerate(pairs)
    ]
    return ShortLong(
        source=source,
        rows=tuple(sorted(rows, key=lambda row: (row.item.params, row.item.arch))),
        correlation=correlation,
        interval=interval,
        left=tuple(row.item.arch for row in rows if row.on_short_front and not row.on_long_front),
    )
