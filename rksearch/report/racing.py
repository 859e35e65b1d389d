"""What racing stopped, and what that saved."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from rksearch.report import text
from rksearch.results.ledger import History


@dataclass(frozen=True, slots=True, kw_only=True)
class Racing:
    """Trainings that were stopped before their last epoch.

    Attributes:
        pruned: how many.
        by_rung: how many were stopped after each number of epochs, by rising number.
        epochs_run: epochs of all trainings, whatever became of them.
        epochs_saved: epochs that the pruned ones would have gone on for.
    """

    pruned: int
    by_rung: dict[int, int]
    epochs_run: int
    epochs_saved: int


def racing(history: History) -> Racing:
    """What was stopped so far."""
    stopped = [(spec, result) for spec, result in history.trials.values() if result.status == "pruned"]
    return Racing(
        pruned=len(stopped),
        by_rung=dict(sorted(Counter(len(result.epochs) for _, result in stopped).items())),
        epochs_run=sum(len(result.epochs) for _, result in history.trials.values()),
        epochs_saved=sum(spec.recipe.epochs - len(result.epochs) for spec, result in stopped),
    )


def racing_plan(asked: dict[str, Any] | None) -> str:
    """The rule by which trainings are stopped, in words; empty without racing."""
    if not asked:
        return ""
    rungs = text.listing([str(rung) for rung in asked["rungs"]])
    bands = asked["bands"]
    where = f"within each of {bands} bands of size" if bands > 1 else "among all"
    rank = asked["rank"].replace("_", " ")
    return f"after {rungs} epochs the best {text.share(asked['keep'])} {where} go on, ranked by {rank}"


def racing_sentence(found: Racing) -> str:
    """What was stopped and what that saved, in words; empty where nothing was."""
    if not found.pruned:
        return ""
    rungs = text.listing([f"{count} after {text.count(epochs, 'epoch')}" for epochs, count in found.by_rung.items()])
    whole = found.epochs_run + found.epochs_saved
    return (
        f"{text.count(found.pruned, 'training')} pruned ({rungs}), which saved {found.epochs_saved:,} of {whole:,} "
        f"epochs ({text.share(found.epochs_saved / whole)})"
    )
