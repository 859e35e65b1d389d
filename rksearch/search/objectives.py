"""The minimised objectives of a search: an error on the validation split, and costs beside it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from rksearch.arch import ArchSpec, parse
from rksearch.arch.cost import cost
from rksearch.data.facts import Dataset, dataset
from rksearch.errors import SpaceError, nearest
from rksearch.results.records import TrialResult, TrialSpec
from rksearch.space.plan import LATENCY, METRICS, ErrorMetric
from rksearch.training.memory import activation_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """A number of a network that is minimised; exactly one of `known` and `measured` computes it.

    Attributes:
        name: name with its unit where it has one.
        known: computes its value before any training, from the architecture.
        measured: reads its value from a training.
    """

    name: str
    known: Callable[[ArchSpec, Dataset], float] | None = None
    measured: Callable[[TrialResult], float] | None = None

    def value(self, spec: ArchSpec, data: Dataset, result: TrialResult) -> float:
        """Its value for a training of `spec` on `data` that has run some epochs; NaN where it was not measured."""
        if self.known is not None:
            return self.known(spec, data)
        return self.measured(result) if self.measured is not None else math.nan


def _error(metric: ErrorMetric) -> Objective:
    """The error that `metric` names, after the last epoch so far."""
    return Objective(name=metric.field, measured=lambda result: result.epochs[-1].error_pct(metric))


def _latency(result: TrialResult) -> float:
    measured = result.image_latency_ms
    return math.nan if measured is None else measured


def _activation_bytes(spec: ArchSpec, data: Dataset) -> float:
    return float(activation_bytes(spec, data))


OBJECTIVES: dict[str, Objective] = {
    o.name: o
    for o in (
        *map(_error, METRICS.values()),
        Objective(name="params", known=lambda spec, data: float(cost(spec, data).params)),
        Objective(name="macs", known=lambda spec, data: float(cost(spec, data).macs)),
        Objective(name="activation_bytes", known=_activation_bytes),
        Objective(name=LATENCY, measured=_latency),
    )
}


def objective(name: str) -> Objective:
    """The objective called `name`.

    Raises:
        SpaceError: there is none of that name.
    """
    if name not in OBJECTIVES:
        raise SpaceError(f"the objectives are {', '.join(OBJECTIVES)}, but got {name!r}{nearest(name, OBJECTIVES)}")
    return OBJECTIVES[name]


def values_of(spec: TrialSpec, result: TrialResult, objectives: Iterable[Objective]) -> tuple[float, ...]:
    """The objectives of a training that has run some epochs; NaN for one that was not measured yet."""
    arch, data = parse(spec.arch), dataset(spec.dataset)
    return tuple(o.value(arch, data, result) for o in objectives)
