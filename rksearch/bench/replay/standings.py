"""Statistics over the repetitions of a replay."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rksearch.bench.replay.judging import Moment, Replay

GRID = 200
"""Steps of the curves from nothing to the whole budget."""


@dataclass(frozen=True, slots=True)
class Quartiles:
    """A quarter, half and three quarters of the repetitions lie at or below these."""

    low: float
    median: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A strategy over all repetitions.

    Attributes:
        strategy: its name.
        final: honest hypervolume when the budget is spent.
        seen: optimistic hypervolume then.
        epochs: epochs until the honest hypervolume first reaches the target, as a share of the budget; infinite in
            repetitions that never do.
        settled: the same until it reaches the target for good.
        time: the same as `epochs` in virtual time, as a share of the time that random search took.
        below: share of the repetitions that end lower than the target.
        below_rival: share of the repetitions that end lower than random search does in the same repetition.
        started, complete: trainings, mean.
    """

    strategy: str
    final: Quartiles
    seen: Quartiles
    epochs: Quartiles
    settled: Quartiles
    time: Quartiles
    below: float
    below_rival: float
    started: float
    complete: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Quartiles of the honest hypervolume against epochs."""

    strategy: str
    epochs: tuple[float, ...]
    values: tuple[Quartiles, ...]


def quartiles(values: Sequence[float]) -> Quartiles:
    """Linear interpolation between order statistics, infinities allowed."""
    ordered = sorted(values)
    return Quartiles(*(_quantile(ordered, share) for share in (0.25, 0.5, 0.75)))


def _quantile(ordered: Sequence[float], share: float) -> float:
    place = share * (len(ordered) - 1)
    below, above = ordered[math.floor(place)], ordered[math.ceil(place)]
    # Not `below + weight * (above - below)` throughout: infinities have no difference.
    return below if below == above else below + (place - math.floor(place)) * (above - below)


def standing(replays: Sequence[Replay], rivals: Sequence[Replay], *, budget_epochs: int) -> Standing:
    """A strategy beside random search.

    Args:
        replays: of the strategy, by repetition.
        rivals: of random search, in the same repetitions; their median final hypervolume is the target.
        budget_epochs: what each may spend.
    """
    goal = target(rivals)
    rival_time_s = quartiles([rival.time_s for rival in rivals]).median
    first = [replay.first(goal) for replay in replays]
    settled = [replay.settled(goal) for replay in replays]
    by_repetition = {rival.repetition: rival.final.honest for rival in rivals}
    count = len(replays)
    return Standing(
        strategy=replays[0].strategy,
        final=quartiles([replay.final.honest for replay in replays]),
        seen=quartiles([replay.final.optimistic for replay in replays]),
        epochs=quartiles([_epochs(moment) / budget_epochs for moment in first]),
        settled=quartiles([_epochs(moment) / budget_epochs for moment in settled]),
        time=quartiles([(moment.time_s if moment else math.inf) / rival_time_s for moment in first]),
        below=sum(replay.final.honest < goal for replay in replays) / count,
        below_rival=sum(replay.final.honest < by_repetition[replay.repetition] for replay in replays) / count,
        started=sum(replay.started for replay in replays) / count,
        complete=sum(replay.complete for replay in replays) / count,
    )


def target(rivals: Sequence[Replay]) -> float:
    """Random search's median final honest hypervolume."""
    return quartiles([rival.final.honest for rival in rivals]).median


def curve(replays: Sequence[Replay], *, budget_epochs: int) -> Curve:
    """Growth of a strategy's hypervolume, over all repetitions."""
    grid = [budget_epochs * i / GRID for i in range(GRID + 1)]
    values = tuple(quartiles([replay.at(epochs) for replay in replays]) for epochs in grid)
    return Curve(strategy=replays[0].strategy, epochs=tuple(grid), values=values)


def by_strategy(replays: Sequence[Replay]) -> Mapping[str, list[Replay]]:
    """Replays of each strategy by repetition, strategies in the order of their first appearance."""
    groups: dict[str, list[Replay]] = {}
    for replay in replays:
        groups.setdefault(replay.strategy, []).append(replay)
    return {name: sorted(group, key=lambda r: r.repetition) for name, group in groups.items()}


def _epochs(moment: Moment | None) -> float:
    return moment.epochs if moment else math.inf
