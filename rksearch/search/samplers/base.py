"""What a sampler is asked and told."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from typing import Protocol

from rksearch.results.records import Epoch, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What became of an architecture's first training.

    Attributes:
        arch: canonical name.
        status: `paused` at a rung (it may go on and will be told again then), `pruned` there for good, `complete`, or
            `failed`.
        epochs: those that ran so far.
        values: the run's objectives in their order, each the better the smaller, with the validation error of the last
            epoch that ran; None when failed. Only those of a complete training may be compared with one another.
    """

    arch: str
    status: Status
    epochs: tuple[Epoch, ...]
    values: tuple[float, ...] | None


class Sampler(Protocol):
    """Chooses architectures of one space."""

    def propose(self, taken: Set[str]) -> str | None:
        """Name of a feasible, canonical architecture that is not in `taken` (all that was ever proposed, and the
        baselines), or None when there is none left."""

    def observe(self, observation: Observation) -> None:
        """Learn from a training; one architecture may be observed several times, each time with more epochs.

        Architectures outside of the space (baselines, for one) teach nothing and are no error.
        """
