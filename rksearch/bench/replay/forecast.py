"""A rule of racing across sizes: a paused training continues when it is predicted that it may enter the front.

The prediction is that of the default sampler's learning curves (`rksearch.search.samplers.ladder`): the logarithm of
the final error, with a variance, from the validation errors and training losses so far. A training may enter the front
when its final error is below those of all complete trainings of no more parameters with a probability of at least
`LEAST`. Sizes are compared through the front alone, so that there are no bands.
"""

from __future__ import annotations

import math
from collections.abc import Container
from statistics import NormalDist

from rksearch.search.racing import Racer
from rksearch.search.samplers.ladder import Target, curve, final_errors

LEAST = 0.1
"""Probability of entering the front from which on a training continues."""

FEWEST = 4
"""Complete trainings before which nothing is stopped: fewer say little about how trainings end."""


class ForecastStandings:
    """All trials of a race and how they are predicted to end; in place of `rksearch.search.racing.RungStandings`."""

    def __init__(self) -> None:
        self._racers: dict[str, Racer] = {}
        self._chances: dict[str, float] | None = None

    def set(self, racer: Racer) -> None:
        """Set the state of a trial, in place of an earlier state of the same architecture."""
        if self._racers.get(racer.arch) != racer:
            self._racers[racer.arch] = racer
            self._chances = None

    def promoted(self, running: Container[str] = ()) -> str | None:
        """Name of the waiting trial that is likeliest to enter the front; None where none is likely enough."""
        if self._chances is None:
            self._chances = self._computed()
        likely = {arch: p for arch, p in self._chances.items() if p >= LEAST and arch not in running}
        return max(likely, key=lambda arch: (likely[arch], arch), default=None)

    def _computed(self) -> dict[str, float]:
        """Probability of entering the front, of each waiting trial."""
        curves = {
            arch: curve([e.val_error_pct for e in own.epochs], [e.train_loss for e in own.epochs])
            for arch, own in self._racers.items()
            if own.epochs and math.isfinite(own.epochs[-1].val_error_pct)
        }
        full = max((len(own) for own in curves.values()), default=0)
        complete = [arch for arch, own in curves.items() if len(own) == full and not self._racers[arch].waits]
        waiting = [arch for arch in curves if self._racers[arch].waits]
        if len(complete) < FEWEST:
            return dict.fromkeys(waiting, 1.0)
        targets = final_errors(curves)
        return {
            arch: chance(
                targets[arch],
                min(
                    (targets[c].value for c in complete if self._racers[c].params <= self._racers[arch].params),
                    default=math.inf,
                ),
            )
            for arch in waiting
        }


def chance(target: Target, best: float) -> float:
    """Probability that a training ends below the logarithm of an error."""
    if math.isinf(best):
        return 1.0
    if not target.variance:
        return float(target.value < best)
    return NormalDist(target.value, math.sqrt(target.variance)).cdf(best)
