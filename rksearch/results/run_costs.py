"""Costs that architectures are set against: parameters and MACs, and others where they were objectives of the run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rksearch.results.history import History
from rksearch.results.summaries import ArchSummary, CostFunction, by_macs, by_params
from rksearch.space.plan import LATENCY, OBJECTIVES

ACTIVATION = "activation_bytes"
"""Name of the objective that is the activation memory of an image."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RunCost:
    """A cost that architectures are set against.

    Attributes:
        field: name of the objective, of the attribute of an architecture's row and of the column in CSV files.
        title: noun phrase for people.
        of: the cost of an architecture; NaN where it is not known.
    """

    field: str
    title: str
    of: CostFunction

    def known(self, items: Iterable[ArchSummary]) -> list[ArchSummary]:
        """The architectures whose cost is known."""
        return [item for item in items if not math.isnan(self.of(item))]


def run_costs(history: History, items: Sequence[ArchSummary], activation: Mapping[str, int]) -> tuple[RunCost, ...]:
    """The costs that a run has: parameters, MACs, and the latency and activation memory that were its objectives.

    A cost that no architecture has is left out.

    Args:
        history: of the run.
        items: its architectures.
        activation: activation memory in bytes by name, as `rksearch.api.directory` computes it.
    """
    asked = history.plan.objectives if history.plan else ()
    found = [
        RunCost(field="params", title=OBJECTIVES["params"], of=by_params),
        RunCost(field="macs", title=OBJECTIVES["macs"], of=by_macs),
    ]
    measured: tuple[tuple[str, Mapping[str, float]], ...] = (
        (LATENCY, {item.arch: item.latency_ms for item in items if item.latency_ms is not None}),
        (ACTIVATION, activation),
    )
    for name, values in measured:
        cost = RunCost(field=name, title=OBJECTIVES[name], of=_of(values))
        if name in asked and cost.known(items):
            found.append(cost)
    return tuple(found)


def _of(values: Mapping[str, float]) -> CostFunction:
    return lambda item: float(values.get(item.arch, math.nan))
