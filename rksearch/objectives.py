"""What a search makes small: the validation error, and costs beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rksearch.cost import cost
from rksearch.datasets import Dataset
from rksearch.errors import SpaceError, nearest
from rksearch.records import TrialResult
from rksearch.spec import ArchSpec

ERROR = "val_error_pct"
DEFAULT = (ERROR, "params")


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """A number of a network that is better the smaller it is.

    Attributes:
        name: with its unit where it has one.
        label: for people.
        known: its value before any training, from the architecture; None where it must be measured.
        measured: its value from a finished training.
    """

    name: str
    label: str
    known: Callable[[ArchSpec, Dataset], float] | None
    measured: Callable[[TrialResult], float]


def _last_error(result: TrialResult) -> float:
    return result.epochs[-1].val_error_pct


def _count(field: str) -> Callable[[TrialResult], float]:
    def read(result: TrialResult) -> float:
        value = getattr(result, field)
        if value is None:
            raise SpaceError(f"the objective {field} must be counted in every training, but one lacks it")
        return float(value)

    return read


OBJECTIVES: dict[str, Objective] = {
    o.name: o
    for o in (
        Objective(name=ERROR, label="validation error, %", known=None, measured=_last_error),
        Objective(
            name="params", label="parameters", known=lambda s, d: float(cost(s, d).params), measured=_count("params")
        ),
        Objective(name="macs", label="MACs", known=lambda s, d: float(cost(s, d).macs), measured=_count("macs")),
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
