"""Sentences about racing: its rule, the trainings that it stopped, and the epochs that this saved."""

from __future__ import annotations

from rksearch.report import text
from rksearch.results.early_stops import EarlyStops
from rksearch.results.plan import RacingRule


def racing_plan(rule: RacingRule | None) -> str:
    """The rule by which trainings are stopped, in words; empty without racing."""
    if rule is None:
        return ""
    rungs = text.listing([str(rung) for rung in rule.rungs])
    where = f"within each of {rule.bands} bands of size" if rule.bands > 1 else "among all"
    rank = rule.rank.replace("_", " ")
    return f"after {rungs} epochs the best {text.share(rule.keep)} {where} continue, ranked by {rank}"


def racing_sentence(stops: EarlyStops) -> str:
    """The trainings that were stopped and the epochs saved, in words; empty where there are none."""
    if not stops.pruned:
        return ""
    rungs = text.listing([f"{count} after {text.count(epochs, 'epoch')}" for epochs, count in stops.by_epochs.items()])
    whole = stops.epochs_run + stops.epochs_saved
    return (
        f"{text.count(stops.pruned, 'training')} pruned ({rungs}), which saved {stops.epochs_saved:,} of {whole:,} "
        f"epochs ({text.share(stops.epochs_saved / whole)})"
    )
