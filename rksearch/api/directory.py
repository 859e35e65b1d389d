"""`Run`: a run directory, read once."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rksearch.errors import RunError, nearest
from rksearch.results.history import History
from rksearch.results.ledger import FILE_NAME
from rksearch.results.records import TrialResult, TrialSpec
from rksearch.results.run_dir import (
    RunDir,
    mirror_address,
    read_run,
    require_no_other_run,
    require_nothing_lost,
    require_own,
    stated_directory,
)

if TYPE_CHECKING:
    import pandas
    from plotly.graph_objects import Figure

    from rksearch.results.calibration import Calibration
    from rksearch.results.status import RunStatus
    from rksearch.results.tables import Tables

SIMULATED_RUNS = 100
"""Number of runs that a calibration simulates of each source of truths."""


class Run:
    """A run as its directory holds it; a running one is seen as it was when `history` was first asked for.

    Args:
        directory: the run directory.
        history: what its ledger says, where it has been read already; None to read it when it is needed.
        ending: how the session ended that returns this: `finished`, `interrupted` or `stopped`; None without one. After
            the test set was read, the run's own state, `history.state`, may be another one.

    Raises:
        RunError: the directory is no path.
    """

    def __init__(self, directory: str | Path, *, history: History | None = None, ending: str | None = None) -> None:
        self.run_dir = RunDir(stated_directory(directory))
        self.ending = ending
        self._history = history
        self._tables: tuple[History, Tables] | None = None

    @property
    def path(self) -> Path:
        """Absolute path of the directory."""
        return self.run_dir.path

    @property
    def history(self) -> History:
        """Everything that the ledger says.

        Raises:
            RunError: the directory holds no ledger.
            LedgerError: the ledger cannot be read.
        """
        if self._history is None:
            self._history = read_run(self.path)
        return self._history

    @property
    def trials(self) -> Mapping[str, tuple[TrialSpec, TrialResult]]:
        """Finished trials by id: complete, failed or pruned."""
        return self.history.trials

    @property
    def tables(self) -> Tables:
        """Everything that the report shows, derived from the history once."""
        from rksearch.results.tables import tables

        if self._tables is None or self._tables[0] is not self.history:
            self._tables = self.history, tables(self.history)
        return self._tables[1]

    @property
    def frame(self) -> pandas.DataFrame:
        """One row per architecture with a complete training, by parameters; see `rksearch.results.architectures`."""
        from rksearch.results.frames import architectures_frame

        return architectures_frame(self.tables)

    @property
    def front(self) -> pandas.DataFrame:
        """The rows of `frame` on the Pareto front of parameters and mean error, by rising parameters."""
        frame = self.frame
        return frame[frame["on_front"]].reset_index(drop=True)

    def figure(self, cost: str = "params") -> Figure:
        """The front as a figure of plotly's: networks, fronts, their band, and bars of a standard deviation over seeds.

        Args:
            cost: the cost across: `params`, `macs` or, where it was measured, `latency_ms`.

        Raises:
            RunError: the run has no such cost, or no complete training with a finite error.
        """
        from rksearch.report.figures import front_costs
        from rksearch.report.interactive import interactive_front

        known = {axis.field: axis for axis in front_costs(self.tables)}
        if not known:
            raise RunError(f"a figure needs a complete training, but {self.path} has none; resume the run first")
        if cost not in known:
            raise RunError(f"the cost across must be one of {', '.join(known)}, but got {cost!r}{nearest(cost, known)}")
        return interactive_front(self.tables, self.history.name, known[cost])

    @property
    def report(self) -> Path:
        """Path of the report's page, which is written where it is missing.

        Raises:
            RunError: the directory cannot be written.
        """
        page = self.path / "report.html"
        if not page.is_file():
            self.write_report()
        return page

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    def _repr_html_(self) -> str:
        """State and front, as notebooks show them."""
        from html import escape

        state = self.status()
        shown = self.front[["arch", "params", "macs", "seeds", self.history.metric.field, "p_front"]]
        return f"<p><b>{escape(state.run)}</b>: {escape(state.state)}, {state.done} trainings</p>{shown.to_html()}"

    def trial(self, trial_id: str) -> TrialSpec:
        """The finished trial of this id.

        Raises:
            RunError: there is none.
        """
        if trial_id not in self.trials:
            raise RunError(
                f"a finished trial of {self.path} must be named, but got {trial_id!r}{nearest(trial_id, self.trials)}"
            )
        return self.trials[trial_id][0]

    def status(self) -> RunStatus:
        """The state of the run. A run whose driver died is `killed`."""
        from rksearch.results.status import run_status

        history = self._seen()
        return run_status(history, self.run_dir.progress() if history.state == "running" else None)

    def watch(self, pause_s: float = 2.0) -> Iterator[RunStatus]:
        """The state of the run now, and again whenever it has changed, until the run has ended.

        Args:
            pause_s: time between two looks at it.
        """
        last: tuple[object, ...] | None = None
        while True:
            history = self._seen()
            live = self.run_dir.progress() if history.state == "running" else None
            records = (history.started, history.trials, history.paused, history.tests)
            seen = (history.state, history.last_time, live, *map(len, records))
            if seen != last:
                last = seen
                yield self.status()
            if history.state not in ("running", "empty"):
                return
            time.sleep(pause_s)
            self._history = None

    def _seen(self) -> History:
        """The history; `killed` where its driver died."""
        if self.history.state != "running" or self.run_dir.driven:
            return self.history
        # The driver may have ended since the ledger was read.
        self._history = None
        if self.history.state == "running":
            # A killed driver could not record its end, but the system has released its lock.
            self._history = replace(self.history, state="killed")
        return self.history

    def write_report(self, to: str | Path | None = None, *, calibration: Calibration | None = None) -> list[Path]:
        """Write all derived files again and return their paths.

        Args:
            to: directory for them; None for the run directory.
            calibration: what `calibrate` found, to be shown; None to leave it out.

        Raises:
            RunError: the directory cannot be written, or holds a report with trainings and the ledger has no record.
            TakenError: files that are not a report's stand in `to`, or in the directory of a ledger without a record;
                or `to` is the directory of another run.
        """
        from rksearch.report import write_report

        directory = self.path if to is None else stated_directory(to, "the directory for a report")
        history = self._seen()
        elsewhere = os.path.realpath(directory) != os.path.realpath(self.path)
        if elsewhere:
            require_no_other_run(directory, history, "a report")
        if elsewhere or history.is_blank:
            require_own(directory)
        require_nothing_lost(directory, history, self.path / FILE_NAME)
        return write_report(directory, history, _activation_bytes(history), calibration)

    @property
    def simulations(self) -> int:
        """Number of runs that `calibrate` simulates, of all sources of truths together."""
        from rksearch.bench.calibration import NOISES

        return len(NOISES) * SIMULATED_RUNS

    def calibrate(self, on_simulated: Callable[[], None] | None = None) -> Calibration:
        """Simulate runs of this shape, to see how often the report's intervals and probabilities hold in them.

        Args:
            on_simulated: called after each simulated run.

        Raises:
            RunError: the run has too few trainings to simulate runs like it.
        """
        from rksearch.bench.calibration import calibrate

        return calibrate(self.history, runs=SIMULATED_RUNS, on_run=on_simulated)

    def write_figures(self, to: str | Path | None = None) -> list[Path]:
        """Write every figure for paper, and tables for LaTeX, into `figures`; return their paths.

        Args:
            to: directory that holds `figures`; None for the run directory.

        Raises:
            RunError: no network was trained to the end, or the directory cannot be written.
            TakenError: files that are not a report's stand in `figures`, or `to` is the directory of another run.
        """
        from rksearch.report import write_figures

        history = self._seen()
        directory = self.path if to is None else stated_directory(to, "the directory for figures")
        if to is not None:
            require_no_other_run(directory, history, "figures")
        return write_figures(directory, history, _activation_bytes(history))

    def weights(self, trial_id: str) -> Mapping[str, Any]:
        """The state dictionary of a finished trial after its last epoch, from its checkpoint or the run's storage.

        Raises:
            RunError: there is no such trial, or its checkpoint is missing.
            StorageError: the storage cannot be read.
        """
        from rksearch.training.trial import finished_weights

        history = self.history
        storage = history.sessions[-1].options.get("storage") if history.sessions else None
        asked = storage if isinstance(storage, str) else None
        return finished_weights(
            self.trial(trial_id), self.run_dir.work, mirror_address(history, self.run_dir.storage(asked))
        )


def _activation_bytes(history: History) -> dict[str, int]:
    """Activation memory of every architecture trained, where the run minimises it: torch is imported for that alone."""
    name = "activation_bytes"
    if history.plan is None or name not in history.plan.objectives or history.data is None:
        return {}
    from rksearch.arch import parse
    from rksearch.training.memory import activation_bytes

    data = history.data.dataset
    archs = dict.fromkeys(spec.arch for spec, result in history.trials.values() if result.status == "complete")
    return {arch: activation_bytes(parse(arch), data) for arch in archs}
