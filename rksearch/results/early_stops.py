"""Trainings that racing stopped, and the epochs that this saved."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from rksearch.results.history import History


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyStops:
    """Trainings that were stopped before their last epoch.

    Attributes:
        pruned: their number.
        by_epochs: numbers of trainings stopped, by the epochs they had run, rising.
        epochs_run: epochs of all trainings, stopped or not.
        epochs_saved: epochs that the pruned ones would have run further.
    """

    pruned: int
    by_epochs: dict[int, int]
    epochs_run: int
    epochs_saved: int


def early_stops(history: History) -> EarlyStops:
    """The trainings that were stopped so far."""
    stopped = list(history.pruned.values())
    return EarlyStops(
        pruned=len(stopped),
        by_epochs=dict(sorted(Counter(len(result.epochs) for _, result in stopped).items())),
        epochs_run=sum(len(result.epochs) for _, result in history.trials.values()),
        epochs_saved=sum(spec.recipe.epochs - len(result.epochs) for spec, result in stopped),
    )
