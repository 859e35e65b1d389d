"""Statistics over the repetitions of a replay, with intervals.

An interval holds the middle 95 % of bootstrap draws. A draw takes repetitions with replacement and, with them, one draw
of the judging seeds, the same for all strategies, so that differences are paired in both. Strategies that play the
first repetitions only are compared with the same repetitions of the others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rksearch.arch.arrays import Floats
from rksearch.bench.estimates import Estimate
from rksearch.bench.replay.judging import CORNERS, CornerName, Judged

GRID = 200
"""Steps of the curves from nothing to the whole budget."""

DRAWS = 1000
"""Number of bootstrap draws."""

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Quartiles:
    """A quarter, half and three quarters of the repetitions lie at or below these."""

    low: float
    median: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A strategy over all repetitions that it played.

    Attributes:
        strategy: its name.
        repetitions: how many it played.
        final: median honest area when the budget is spent.
        seen: the same by what the strategy saw.
        epochs: median epochs until the honest area first reaches the target, which is the reference's median
            final one, as a share of the budget; infinite in repetitions that never do.
        settled: the same until it reaches the target for good.
        time: the same as `epochs` in virtual time, as a share of the reference's median time in all.
        below: share of the repetitions that end lower than the target.
        below_reference: share of the repetitions that end lower than the reference does in the same repetition.
        lead: mean difference of the final honest area to the reference's in the same repetition.
        to_default: the same to the default strategy's; None where that did not play.
        spread: quartiles of the final honest area over the repetitions.
        started, complete: trainings, mean.
        spent: epochs, mean, as a share of the budget.
    """

    strategy: str
    repetitions: int
    final: Estimate
    seen: Estimate
    epochs: Estimate
    settled: Estimate
    time: Estimate
    below: Estimate
    below_reference: Estimate
    lead: Estimate
    to_default: Estimate | None
    spread: Quartiles
    started: float
    complete: float
    spent: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Quartiles of the honest area against epochs."""

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


class _Runs:
    """All repetitions of a strategy as arrays; shorter ones stay at their last standing.

    Attributes:
        repetitions: numbers, rising.
        epochs, time_s: (repetitions, moments); infinite after the last moment.
        honest: (repetitions, moments, draws of the judging seeds).
        seen: (repetitions,), final.
        whole_s: (repetitions,), virtual time in all.
    """

    def __init__(self, judged: Sequence[Judged], corner: int) -> None:
        ordered = sorted(judged, key=lambda own: own.replay.repetition)
        most = max(len(own.epochs) for own in ordered)
        self.repetitions = [own.replay.repetition for own in ordered]
        self.epochs = np.stack([_padded(own.epochs, most, np.inf) for own in ordered])
        self.time_s = np.stack([_padded(own.time_s, most, np.inf) for own in ordered])
        self.honest = np.stack(
            [np.pad(own.honest[corner], ((0, most - len(own.epochs)), (0, 0)), mode="edge") for own in ordered]
        )
        self.seen = np.array([own.seen[corner, -1] for own in ordered])
        self.whole_s = np.array([own.replay.time_s for own in ordered])
        self.started = float(np.mean([own.replay.started for own in ordered]))
        self.complete = float(np.mean([len(own.replay.finished) for own in ordered]))
        self.spent = float(np.mean([own.replay.epochs for own in ordered]))

    def rows(self, repetitions: Sequence[int]) -> npt.NDArray[np.int64]:
        """Places of some repetitions."""
        places = {repetition: i for i, repetition in enumerate(self.repetitions)}
        return np.array([places[repetition] for repetition in repetitions])

    def finals(self, rows: npt.NDArray[np.int64], draw: int) -> Floats:
        """Final honest areas."""
        return np.asarray(self.honest[rows, -1, draw])


def _padded(values: Floats, length: int, end: float) -> Floats:
    return np.concatenate([values, np.full(length - len(values), end)])


FIGURES = ("final", "seen", "epochs", "settled", "time", "below", "below_reference", "lead", "to_default")


def standings(
    judged: Mapping[str, Sequence[Judged]], corner: CornerName, *, budget_epochs: int, reference: str, default: str
) -> list[Standing]:
    """All strategies beside the reference.

    Args:
        judged: by strategy, the reference's among them; each has played the first repetitions.
        corner: where the hypervolume ends.
        budget_epochs: what each may spend.
        reference: the strategy that all are compared with.
        default: the strategy that all are compared with besides.
    """
    place = CORNERS.index(corner)
    runs = {name: _Runs(group, place) for name, group in judged.items()}
    return [_standing(name, own, runs[reference], runs.get(default), budget_epochs) for name, own in runs.items()]


def _standing(name: str, own: _Runs, reference: _Runs, default: _Runs | None, budget_epochs: int) -> Standing:
    """One strategy over the repetitions that it, the reference and the default have played."""
    others = [reference] if default is None else [reference, default]
    common = [r for r in own.repetitions if all(r in other.repetitions for other in others)]
    count = len(common)
    places = [runs.rows(common) for runs in (own, *others)]
    value = _figures(own, others, places, 0, budget_epochs)
    # The same draws for all strategies of as many repetitions.
    rng = np.random.default_rng(0)
    draws = own.honest.shape[2]
    drawn = np.empty((DRAWS, len(FIGURES)))
    for i in range(DRAWS):
        draw = int(rng.integers(1, draws)) if draws > 1 else 0
        chosen = rng.integers(count, size=count)
        drawn[i] = _figures(own, others, [rows[chosen] for rows in places], draw, budget_epochs)
    tail = (1 - CONFIDENCE) / 2
    # Without interpolation: some ends are infinite.
    low, high = np.quantile(drawn, [tail, 1 - tail], axis=0, method="inverted_cdf")
    figures = {
        key: Estimate(float(v), float(a), float(b)) for key, v, a, b in zip(FIGURES, value, low, high, strict=True)
    }
    if default is None:
        figures.pop("to_default")
    return Standing(
        strategy=name,
        repetitions=len(own.repetitions),
        spread=quartiles(own.finals(places[0], 0).tolist()),
        started=own.started,
        complete=own.complete,
        spent=own.spent / budget_epochs,
        to_default=figures.pop("to_default", None),
        **figures,
    )


def _figures(
    own: _Runs, others: Sequence[_Runs], places: Sequence[npt.NDArray[np.int64]], draw: int, budget_epochs: int
) -> Floats:
    """The numbers of `FIGURES` for some repetitions, in their order."""
    rows = places[0]
    finals = own.finals(rows, draw)
    rivals = [other.finals(other_rows, draw) for other, other_rows in zip(others, places[1:], strict=True)]
    goal = float(np.median(rivals[0]))
    reaches = own.honest[rows, :, draw] >= goal
    at = np.arange(len(rows))
    # The first moment from which on all are at the goal: one after the last that is below it.
    lasting = reaches.shape[1] - np.argmin(reaches[:, ::-1], axis=1)
    lasting = np.where(reaches.all(axis=1), 0, lasting)
    first = np.argmax(reaches, axis=1)
    ever, stays = reaches.any(axis=1), reaches[:, -1]
    epochs, times = own.epochs[rows], own.time_s[rows]
    whole = float(np.median(others[0].whole_s[places[1]]))
    return np.array(
        [
            np.median(finals),
            np.median(own.seen[rows]),
            np.median(np.where(ever, epochs[at, first], np.inf)) / budget_epochs,
            np.median(np.where(stays, epochs[at, np.minimum(lasting, reaches.shape[1] - 1)], np.inf)) / budget_epochs,
            np.median(np.where(ever, times[at, first], np.inf)) / whole,
            np.mean(finals < goal),
            np.mean(finals < rivals[0]),
            np.mean(finals - rivals[0]),
            np.mean(finals - rivals[-1]),
        ]
    )


def target(rivals: Sequence[Judged], corner: CornerName) -> float:
    """Median final honest area of the reference's replays."""
    return quartiles([own.final(corner) for own in rivals]).median


def curve(name: str, judged: Sequence[Judged], corner: CornerName, *, budget_epochs: int) -> Curve:
    """Growth of a strategy's hypervolume, over all repetitions."""
    runs = _Runs(judged, CORNERS.index(corner))
    grid = np.linspace(0, budget_epochs, GRID + 1)
    # The last moment that is not after each epoch; the first one is at nothing spent.
    places = [np.searchsorted(own, grid, side="right") - 1 for own in runs.epochs]
    values = np.stack([runs.honest[i, own, 0] for i, own in enumerate(places)])
    found = np.quantile(values, [0.25, 0.5, 0.75], axis=0).T
    return Curve(strategy=name, epochs=tuple(grid.tolist()), values=tuple(Quartiles(*row) for row in found.tolist()))
