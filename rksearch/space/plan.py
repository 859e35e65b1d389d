"""Settings of a search as a space states them, and the names of errors, objectives and ranks with their titles.

Spaces, plans, ledgers, reports and searches use the same names, so the names stand below all of them;
`rksearch.search.objectives` has the values of objectives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rksearch.errors import SpaceError, nearest


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorMetric:
    """An error that a run can compare networks by.

    Attributes:
        name: name in space files.
        field: name of the objective, and the attribute of an epoch that holds it, in percent.
        test_field: attribute of a reading of the test set that holds it, in percent.
        title, test_title: noun phrases for people.
    """

    name: str
    field: str
    test_field: str
    title: str
    test_title: str


ERROR = "val_error_pct"
BALANCED_ERROR = "balanced_val_error_pct"
LATENCY = "latency_ms"

TOP1 = ErrorMetric(
    name="top1_error", field=ERROR, test_field="test_error_pct", title="validation error", test_title="test error"
)
"""Share of the images whose most probable class is wrong."""

BALANCED = ErrorMetric(
    name="balanced_error",
    field=BALANCED_ERROR,
    test_field="balanced_test_error_pct",
    title="balanced validation error",
    test_title="balanced test error",
)
"""Mean over the classes of each class's top-1 error; classes without an image do not count."""

METRICS: dict[str, ErrorMetric] = {metric.name: metric for metric in (TOP1, BALANCED)}
"""The errors that a run can compare networks by, by name."""

OBJECTIVES = {
    **{metric.field: metric.title for metric in METRICS.values()},
    "params": "parameters",
    "macs": "MACs",
    "activation_bytes": "activation memory of an image",
    LATENCY: "latency of an image",
}
"""Titles of the objectives by name. All are minimised."""

DEFAULT_OBJECTIVES = (ERROR, "params")

DEFAULT_SAMPLER = "frontier"

DEFAULT_WINDOW = 8
"""Number of trainings under way in a deterministic run where the user names none; with more slots, some stay empty."""

SEEDS_AGAIN = 3
"""Trainings of each network of a run that trains another run's networks again, unless another number is stated."""

RANKS = ("val_error", "train_loss_sum")
"""Quantities by which racing may rank trials; `val_error` is the error that the run compares networks by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RacingPlan:
    """Early stopping of candidates; see `rksearch.search.racing`.

    Attributes:
        rungs: shares of the recipe's epochs after which trials pause, rising.
        keep: share of each band that continues after a rung.
        bands: number of bands of equal width in log-parameters; trials are compared within a band only.
        rank: one of `RANKS`: the compared error at the rung, or the sum of the training losses up to it.
    """

    # From replays on trained tables: stricter racing stops well-chosen candidates, for early errors predict little.
    rungs: tuple[float, ...] = (1 / 3,)
    keep: float = 2 / 3
    bands: int = 8
    rank: str = "train_loss_sum"


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPlan:
    """Sampler, objectives, early stopping and replicates of a search.

    Attributes:
        sampler: registered name of a sampler.
        objectives: names of the quantities that the sampler minimises.
        racing: None to train every candidate to the end.
        replicates: further trainings given where membership in the front is uncertain; None for a share of the
            candidates.
    """

    sampler: str = DEFAULT_SAMPLER
    objectives: tuple[str, ...] = DEFAULT_OBJECTIVES
    # In replays on trained and on made-up tables no rule of racing gained the default sampler more than chance.
    racing: RacingPlan | None = None
    replicates: int | None = None

    @property
    def metric(self) -> ErrorMetric:
        """The error by which networks are compared."""
        return metric_of(self.objectives)


def error_metric(name: str) -> ErrorMetric:
    """The error of this name.

    Raises:
        SpaceError: there is none.
    """
    if name not in METRICS:
        raise SpaceError(f"the metrics are {', '.join(METRICS)}, but got {name!r}{nearest(name, METRICS)}")
    return METRICS[name]


def metric_of(objectives: Sequence[str]) -> ErrorMetric:
    """The error among objectives, which is what a run compares networks by; the top-1 error where there is none."""
    return next((metric for metric in METRICS.values() if metric.field in objectives), TOP1)


def error_place(objectives: Sequence[str]) -> int:
    """Index of the error among objectives.

    Raises:
        ValueError: there is none.
    """
    return tuple(objectives).index(metric_of(objectives).field)


def objectives_by(metric: ErrorMetric, objectives: Sequence[str] = DEFAULT_OBJECTIVES) -> tuple[str, ...]:
    """The objectives with `metric` in place of their error."""
    errors = {other.field for other in METRICS.values()}
    return tuple(metric.field if name in errors else name for name in objectives)


def checked_objectives(names: tuple[str, ...]) -> tuple[str, ...]:
    """Two or three different objectives, exactly one error among them.

    Raises:
        SpaceError: they are not.
    """
    errors = [metric.field for metric in METRICS.values()]
    found = sum(name in errors for name in names)
    if len(set(names)) != len(names) or not 2 <= len(names) <= 3 or found != 1:
        raise SpaceError(
            f"there must be two or three objectives, either {' or '.join(errors)} among them, but got "
            f"{', '.join(names)}"
        )
    return names
