"""Settings of a search as a space states them, and the names of objectives and ranks with their titles.

Spaces, plans, reports and searches use the same names of objectives, so the names stand below all of them;
`rksearch.search.objectives` has their values.
"""

from __future__ import annotations

from dataclasses import dataclass

from rksearch.errors import SpaceError

ERROR = "val_error_pct"
LATENCY = "latency_ms"

OBJECTIVES = {
    ERROR: "validation error",
    "params": "parameters",
    "macs": "MACs",
    "activation_bytes": "activation memory of an image",
    LATENCY: "latency of an image",
}
"""Titles of the objectives by name. All are minimised."""

DEFAULT_OBJECTIVES = (ERROR, "params")

DEFAULT_SAMPLER = "frontier"

RANKS = ("val_error", "train_loss_sum")
"""Quantities by which racing may rank trials."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RacingPlan:
    """Early stopping of candidates; see `rksearch.search.racing`.

    Attributes:
        rungs: shares of the recipe's epochs after which trials pause, rising.
        keep: share of each band that continues after a rung.
        bands: number of bands of equal width in log-parameters; trials are compared within a band only.
        rank: one of `RANKS`: the validation error at the rung, or the sum of the training losses up to it.
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
    # In replays on trained and on made-up tables no rule of racing gained anything beyond noise.
    racing: RacingPlan | None = None
    replicates: int | None = None


def checked_objectives(names: tuple[str, ...]) -> tuple[str, ...]:
    """Two or three different objectives, the error among them.

    Raises:
        SpaceError: they are not.
    """
    if len(set(names)) != len(names) or not 2 <= len(names) <= 3 or ERROR not in names:
        raise SpaceError(f"there must be two or three objectives, {ERROR} among them, but got {', '.join(names)}")
    return names
