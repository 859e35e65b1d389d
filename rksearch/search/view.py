"""Views: how a driver shows a run while it runs. The command line brings its own; without one a run is silent."""

from __future__ import annotations

from typing import Protocol

from rksearch.results.events import Forecast
from rksearch.search.run_state import RunState


class View(Protocol):
    """Display of one session of a run."""

    def message(self, text: str) -> None:
        """Show one line: the dashboard's address, a measurement."""

    def forecast(self, found: Forecast) -> None:
        """Show what the run will cost, before anything trains."""

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

    def forecast(self, found: Forecast) -> None:
        """Show nothing."""

    def start(self, state: RunState, slots: int) -> None:
        """Show nothing."""

    def refresh(self) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Show nothing."""
