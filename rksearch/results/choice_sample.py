"""The networks that effects and importances of the choices rest on: such as no result chose, wherever there are any.

A search proposes what earlier results promise, and so joins the values that did well. Among its networks the good
values of all choices stand together; beside networks drawn at random, good networks come from one arm and poor ones
from the other. A contrast then credits each choice with what the others do: effects come out too large, and intervals
hold less often than they say, however pairs are matched. Networks that were drawn without a look at results do not have
this fault, so that these alone serve where a run has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rksearch.results.history import History
from rksearch.results.records import Role
from rksearch.results.summaries import ArchSummary

UNINFORMED_SAMPLERS = ("random", "stratified", "grid")
"""Samplers that propose without a look at results."""

Origin = Literal["whole space", "control arm", "sampler", "results"]
"""Reason why a sample has its networks: the run proposed every member of its space, the control arm drew them, the
sampler proposed them without a look at results, or results chose them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceSample:
    """Networks that effects and importances rest on.

    Attributes:
        origin: reason why it has these networks.
        items: summaries of the networks, each trained to the end.
    """

    origin: Origin
    items: tuple[ArchSummary, ...]

    @property
    def is_descriptive(self) -> bool:
        """Whether results chose the networks, so that their differences do not say what a choice does."""
        return self.origin == "results"


def choice_sample(history: History, items: Sequence[ArchSummary]) -> ChoiceSample:
    """The networks of a run that its choices are judged by.

    A network that was drawn counts as such whatever else it is: its summary's role would hide that the search took it
    too.

    Args:
        history: of the run.
        items: its architectures with a complete training.
    """
    plan, space = history.plan, history.space
    if plan is None or plan.source is not None:
        return _sample("results", items)  # trained again because of what they did in another run
    proposed = _archs(history, "candidate", "complete", "failed") | _archs(history, "control", "complete", "failed")
    if space is not None and 0 < space.feasible <= len(proposed):
        return _sample("whole space", items, proposed)
    drawn = _archs(history, "control", "complete")
    if plan.control or drawn:
        return _sample("control arm", items, drawn)
    if all(record.plan.sampler in UNINFORMED_SAMPLERS for record in history.plans):
        # Those to start with were named by somebody.
        return _sample("sampler", items, _archs(history, "candidate", "complete").difference(plan.start))
    return _sample("results", items)


def _archs(history: History, role: Role, *statuses: str) -> set[str]:
    """Architectures with a finished trial of this role and one of these statuses."""
    return {spec.arch for spec, result in history.trials.values() if spec.role == role and result.status in statuses}


def _sample(origin: Origin, items: Sequence[ArchSummary], archs: set[str] | None = None) -> ChoiceSample:
    """The sample of these architectures, of all where none are named; baselines are no choice of the space."""
    chosen = (item for item in items if not item.is_baseline and (archs is None or item.arch in archs))
    return ChoiceSample(origin=origin, items=tuple(chosen))
