"""The networks that an arm of a run has found, in order, with the epochs spent by then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rksearch.results.history import History
from rksearch.results.records import SEARCHED, Role

ARMS: dict[str, tuple[Role, ...]] = {"Search": SEARCHED, "Control: networks drawn at random": ("control",)}
"""Roles of the trainings of each arm, by the arm's title."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Discoveries:
    """The first complete training of each architecture of an arm.

    Attributes:
        archs: canonical names, in the order in which these trainings ended.
        epochs: epochs spent by then, those of pruned and failed trainings included; further seeds left out.
        spent: epochs spent in all.
    """

    archs: tuple[str, ...]
    epochs: tuple[int, ...]
    spent: int

    def within(self, epochs: int) -> tuple[str, ...]:
        """The architectures found with at most this number of epochs."""
        return tuple(arch for arch, spent in zip(self.archs, self.epochs, strict=True) if spent <= epochs)


def discoveries(history: History, roles: Sequence[Role]) -> Discoveries:
    """The networks that trainings of these roles have found."""
    searched = history.plan.search_seeds if history.plan else 1
    spent, found = 0, dict[str, int]()
    for spec, result in history.trials.values():
        if spec.role not in roles or spec.replicate >= searched:
            continue
        spent += len(result.epochs)
        if result.status == "complete":
            found.setdefault(spec.arch, spent)
    return Discoveries(archs=tuple(found), epochs=tuple(found.values()), spent=spent)
