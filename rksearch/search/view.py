"""Views: how a driver shows a run while it runs. The command line brings its own; without one a run is silent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from rksearch.results.events import Forecast
from rksearch.search.run_state import RunState


class View(Protocol):
    """Display of one session of a run."""

    def message(self, text: str) -> None:
        """Show one line: the dashboard's address, a measurement."""

    def forecast(self, found: Forecast, smaller: Sequence[tuple[str, float]]) -> None:
        """Show what the run will cost, before anything trains.

        `smaller` holds options that would make a run of more than a day shorter, with the expected seconds of each.
        """

    def start(self, state: RunState, slots: int) -> None:
        """Show `state` from now on; the tasks are about to run, `slots` usual trials at a time."""

    def refresh(self) -> None:
        """Show what has changed. Called often, so it must be cheap when nothing has."""

    def close(self) -> None:
        """Show the last state; called once after `start`, on success and on error."""


class Silent:
    """A view that shows nothing."""

    def message(self, text: str) -> None:
        """Discard the line."""

    def forecast(self, found: Forecast, smaller: Sequence[tuple[str, float]]) -> None:
        """Show nothing."""

    def start(self, state: RunState, slots: int) -> None:
        """Show nothing."""

    def refresh(self) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Show nothing."""
