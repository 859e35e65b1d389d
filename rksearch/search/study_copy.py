"""The copy of a run's study beside the driver: a view that passes what the ledger says on to a process that writes it.

The process (`rksearch.search.samplers.study_file`) keeps `work/optuna.db` in line, for optuna-dashboard and for anyone
who loads it with Optuna. It has the lowest priority. The driver never waits for it while a run goes on, and whatever
happens to it costs a line on the screen.
"""

from __future__ import annotations

import json
import math
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from rksearch.arch import parse
from rksearch.arch.cost import cost
from rksearch.data.facts import dataset
from rksearch.results.events import Forecast
from rksearch.results.history import History
from rksearch.results.ledger import FILE_NAME as LEDGER_NAME
from rksearch.results.plan import Plan
from rksearch.results.processes import child_environment, own_python
from rksearch.results.records import Role, TrialResult, TrialSpec, parse_trial_id
from rksearch.results.run_dir import RunDir
from rksearch.search.beside import Beside
from rksearch.search.objectives import objective, values_of
from rksearch.search.run_state import RunState
from rksearch.search.samplers import attributes
from rksearch.search.view import View
from rksearch.space import Space

FINISH_S = 10.0
"""Longest wait for the process at the end of a session, in seconds; what is left it writes by itself."""

STATES = {"complete": "COMPLETE", "failed": "FAIL", "pruned": "PRUNED", "paused": "RUNNING"}
"""Optuna's states by those of a training's result."""


class TrialRows:
    """Trainings of a run as trials of a study.

    Args:
        space: the search space, whose decisions are the parameters of its members; other architectures have none.
        plan: of the run.
        report: address of the run's report.
    """

    def __init__(self, space: Space, plan: Plan, report: str) -> None:
        self._space, self._plan, self._report = space, plan, report
        self._objectives = tuple(map(objective, plan.objectives))
        self._params: dict[str, dict[str, Any]] = {}

    def study(self, name: str) -> dict[str, Any]:
        """The study itself."""
        return {
            "name": name,
            "objectives": list(self._plan.objectives),
            "dimensions": {key: list(values) for key, values in self._space.dimensions().items()},
            "attrs": {"rksearch:space": self._space.name, attributes.REPORT: self._report},
        }

    def of_history(self, history: History) -> list[dict[str, Any]]:
        """All that a study holds: results of other runs, and trainings in the order in which they began."""
        found = [self._imported(item.arch, item.run, item.values) for item in self._plan.imported]
        known = {**history.paused, **history.trials}
        for trial in dict.fromkeys((*history.started, *known)):
            spec, result = known[trial] if trial in known else (self.spec(trial), None)
            if not spec.has_own_seeds:
                found.append(self.of(spec, result))
        return found

    def of(self, spec: TrialSpec, result: TrialResult | None) -> dict[str, Any]:
        """A training: one that is running where there is no result."""
        arch, row = parse(spec.arch), self._row(spec.id, spec.arch)
        counts, own = cost(arch, dataset(spec.dataset)), row["attrs"]
        own |= {
            attributes.ROLE: spec.role,
            attributes.REPLICATE: spec.replicate,
            attributes.SEED: spec.seed,
            attributes.PARAMS: counts.params,
            attributes.MACS: counts.macs,
            attributes.REPORT: self._report,
        }
        if result is None:
            return row
        metric = self._plan.metric
        if result.status == "failed":
            own[attributes.FAILURE] = f"{result.failure}: {result.message}"
        errors = [epoch.error_pct(metric) for epoch in result.epochs]
        losses = [epoch.train_loss for epoch in result.epochs]
        if errors and all(map(math.isfinite, (*errors, *losses))):
            own |= {attributes.VAL_ERRORS: errors, attributes.TRAIN_LOSSES: losses}
        row["state"] = STATES[result.status]
        if result.status == "complete":
            values = values_of(spec, result, self._objectives)
            finite = all(map(math.isfinite, values))
            row |= {"values": list(values)} if finite else {"state": "FAIL"}
        if result.work_times is not None:
            row |= {"began_s": result.work_times.began_s, "ended_s": result.work_times.ended_s}
        return row

    def _row(self, key: str, arch: str) -> dict[str, Any]:
        if arch not in self._params:
            spec = parse(arch)
            self._params[arch] = self._space.choices(spec) if spec in self._space else {}
        attrs = {attributes.TRIAL: key, attributes.ARCH: arch}
        return {"key": key, "state": "RUNNING", "params": self._params[arch], "values": None, "attrs": attrs}

    def _imported(self, arch: str, run: str, values: tuple[float | None, ...]) -> dict[str, Any]:
        row = self._row(f"{run}:{arch}", arch)
        row["attrs"][attributes.ROLE] = "imported"
        known = [value for value in values if value is not None and math.isfinite(value)]
        return row | ({"state": "COMPLETE", "values": known} if len(known) == len(values) else {"state": "FAIL"})

    def spec(self, trial: str) -> TrialSpec:
        """The training of this id."""
        arch, own_seeds, replicate = parse_trial_id(trial)
        plan = self._plan
        role: Role = "baseline" if arch in plan.baselines else "known" if arch in plan.known else "candidate"
        return TrialSpec(
            arch=arch,
            dataset=plan.dataset,
            recipe=plan.recipe,
            train_images=plan.train_images,
            replicate=replicate,
            role=own_seeds or role,
        )


class StudyCopy:
    """A view of a run that also keeps the copy of its study.

    Args:
        view: shows the run.
        run_dir: directory of the run.
        space, plan: of the run.
    """

    def __init__(self, view: View, run_dir: RunDir, space: Space, plan: Plan) -> None:
        self._view = view
        self._run_dir = run_dir
        self._rows = TrialRows(space, plan, (run_dir.path / "report.html").as_uri())
        self._process: subprocess.Popen[bytes] | None = None
        self._beside: Beside | None = None
        self._state: RunState | None = None
        self._seen: History | None = None
        self._sent: set[str] = set()
        self._finished = self._begun = 0
        self._paused: dict[str, TrialResult] = {}
        self._off = False

    @property
    def path(self) -> Path:
        """The file."""
        return self._run_dir.work / "optuna.db"

    def message(self, text: str) -> None:
        """Show one line."""
        self._view.message(text)

    def forecast(self, found: Forecast, smaller: Sequence[tuple[str, float]]) -> None:
        """Show what the run will cost."""
        self._view.forecast(found, smaller)

    def start(self, state: RunState, slots: int) -> None:
        """Show `state` from now on, and copy it."""
        self._view.start(state, slots)
        self._state = state
        self._guarded(lambda: self._begin(state.history))

    def refresh(self) -> None:
        """Show and copy what has changed."""
        self._view.refresh()
        self._guarded(self._send_news)

    def close(self) -> None:
        """Show the last state, and copy what is left."""
        self._view.close()
        self._guarded(self._send_news)

    def finish(self, history: History) -> None:
        """Wait for the process at the end of a session; a run in which nothing was left to do is copied as it is."""
        self._guarded(lambda: self._finish(history))

    def stop(self) -> None:
        """Let the process end by itself, after what it has been given."""
        if self._beside is not None:
            self._beside.do(self._close_pipe)

    def _begin(self, history: History) -> None:
        """Start the process, and give it what there is."""
        self._seen = history
        self._finished, self._begun, self._sent = len(history.trials), len(history.started), set(history.started)
        self._paused = {key: result for key, (_, result) in history.paused.items()}
        rows = self._rows.of_history(history)
        first = {"study": self._rows.study(history.name), "rows": rows}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - this Python, with a module of ours
                own_python("-m", "rksearch.search.samplers.study_file", str(self.path), str(self._ledger)),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=log,
                env=child_environment(OMP_NUM_THREADS="1"),
                start_new_session=True,  # ctrl-C is for the driver
            )
        self._beside = Beside("study copy")
        self._send(first)

    def _send_news(self) -> None:
        if self._state is None or self._beside is None:
            return
        for row in self._news(self._state):
            self._send(row)

    def _news(self, state: RunState) -> Iterator[dict[str, Any]]:
        """Trainings that have begun, in the order in which they did, and those that have paused or ended since."""
        history = state.history
        for key in islice(history.started, self._begun, None):  # also those that have ended meanwhile
            yield from self._beginning(key, self._rows.spec(key))
        self._begun = len(history.started)
        for key, task in list(state.running.items()):
            if task.action == "train":
                yield from self._beginning(key, task.trial)
        if history is self._seen:
            return
        self._seen = history
        for key, (spec, result) in history.paused.items():
            if self._paused.get(key) is not result and not spec.has_own_seeds:
                self._paused[key] = result
                yield self._rows.of(spec, result)
        for spec, result in islice(history.trials.values(), self._finished, None):
            self._paused.pop(spec.id, None)
            if not spec.has_own_seeds:
                yield self._rows.of(spec, result)
        self._finished = len(history.trials)

    def _beginning(self, key: str, spec: TrialSpec) -> Iterator[dict[str, Any]]:
        if key not in self._sent:
            self._sent.add(key)
            if not spec.has_own_seeds:
                yield self._rows.of(spec, None)

    def _send(self, value: dict[str, Any]) -> None:
        assert self._process is not None
        assert self._beside is not None
        line, pipe = json.dumps(value).encode() + b"\n", self._process.stdin
        assert pipe is not None

        def write() -> None:
            try:
                pipe.write(line)
                pipe.flush()
            except OSError:
                self._off = True  # the process has ended, and its log says why

        self._beside.do(write)

    def _close_pipe(self) -> None:
        """Tell the process that nothing more comes."""
        if self._process is not None and self._process.stdin is not None:
            with suppress(OSError):  # it has ended before
                self._process.stdin.close()

    def _finish(self, history: History) -> None:
        if self._process is None:
            if history.state not in ("finished", "stopped") or self._is_untouched():
                return
            self._begin(history)
        assert self._process is not None
        assert self._beside is not None
        until = time.monotonic() + FINISH_S
        self._beside.do(self._close_pipe)
        if not self._beside.close(FINISH_S):
            return
        try:
            code = self._process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            return  # it writes the rest by itself
        if code:
            reason = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            self._tell(reason[-1] if reason else f"its process ended with {code}")
        else:
            self._log.unlink(missing_ok=True)

    def _is_untouched(self) -> bool:
        """Whether nobody has written to copy or ledger since the copy was complete and took the ledger's time."""
        try:
            return self.path.stat().st_mtime_ns == self._ledger.stat().st_mtime_ns
        except OSError:
            return False

    @property
    def _ledger(self) -> Path:
        return self._run_dir.path / LEDGER_NAME

    @property
    def _log(self) -> Path:
        return self._run_dir.work / "optuna.log"

    def _guarded(self, call: Callable[[], None]) -> None:
        """Make a call whose failure costs the copy and not the run."""
        if self._off and self._process is None:
            return
        try:
            call()
        except Exception as error:  # noqa: BLE001 - whatever it is, the run matters more
            self._off, self._process = True, None
            self._tell(f"{type(error).__name__}: {error}")

    def _tell(self, reason: str) -> None:
        self._view.message(f"work/optuna.db is not up to date, and the run is not affected: {' '.join(reason.split())}")
