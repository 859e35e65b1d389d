"""The plain lines of a run on a console that is no terminal."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console

from rksearch.cli.live import ConsoleView
from rksearch.results.codec import to_plain
from rksearch.results.ledger import Ledger
from rksearch.results.records import TestResult
from rksearch.search.agenda import SearchAgenda
from rksearch.search.final import FinalAgenda
from rksearch.search.run_state import RunState
from tests.helpers.command_line import environment
from tests.helpers.ledgers import begin, complete, environment_record, plan_record, space_record, trial
from tests.helpers.simulation import ARCHS, ListProposer, must, settings
from tests.helpers.simulation import KNOWN as KNOWN_NAMES

KNOWN_NAME = KNOWN_NAMES[0]


def test_readings_of_the_test_set_are_printed(tmp_path: Path) -> None:
    ledger = begin(tmp_path)
    shown = io.StringIO()
    view = ConsoleView(Console(file=shown, width=200))

    state = RunState(ledger, lambda _: FinalAgenda(plan_record(), [], fresh=0))
    view.start(state, 1)
    ledger.write_test(trial("ResNet-8"), TestResult(test_error_pct=13.5, test_loss=0.4, test_images=100))
    state.history = ledger.read()
    view.refresh()
    view.close()
    assert shown.getvalue() == "ResNet-8@0: test error 13.50 %\n"


def test_the_table_shows_what_runs_what_waits_and_the_best_of_networks_and_baselines(tmp_path: Path) -> None:
    plan = settings(trials=4)
    ledger = Ledger(tmp_path)
    ledger.write_run(name="run", space=space_record(), plan=plan)
    ledger.write_session(environment=environment_record(), options={})
    state = RunState(ledger, lambda history: SearchAgenda(plan, ListProposer(ARCHS), history))
    for params in (21_000, 60_000, 12_000):
        task = must(state.next())
        state.on_start(task)
        state.on_end(task, {"result": to_plain(complete(33.0, params=params))})
    running, waiting = must(state.next()), must(state.next())
    state.on_start(running)
    state.on_epoch(running, complete(40.0).epochs[3])
    crashed = must(state.next())
    state.on_start(crashed)
    state.on_end(crashed, {"failure": "worker_died", "message": "the worker died"})
    shown = io.StringIO()
    view = ConsoleView(Console(file=shown, width=160, force_terminal=True, color_system=None))
    view.message("Starting Ray ...")
    view.start(state, 1)
    view.close()
    words = shown.getvalue()
    assert words.startswith("Starting Ray ...\n")
    assert re.search(rf"{re.escape(running.id)} +4/9 +\d\.\d\d\d +\d\d\.\d\d +0:00:\d\d", words)
    assert re.search(rf"{re.escape(waiting.id)} +waits", words)
    assert f"{crashed.id}: failed: the worker died; it waits to see whether others fail alike" in words
    assert "3 done, 1 running, 1 waiting, 1 kept back, " in words
    assert "further seeds), 0 failed; elapsed 0:00:" in words
    tables = words.split("params")[1:]
    assert "best Runge-Kutta network so far" in tables[0]
    assert KNOWN_NAME in tables[0]
    assert "baseline" in tables[1]
    assert all(name in tables[1] for name in plan.baselines)


def test_an_output_that_is_full_is_written_to_once() -> None:
    class Full(io.StringIO):
        writes = 0

        def write(self, text: str) -> int:
            self.writes += 1
            raise OSError(28, "No space left on device")

    full = Full()
    view = ConsoleView(Console(file=full))
    for _ in range(3):
        view.message("a line")
    assert full.writes == 1


WRITES = """
import sys
from pathlib import Path
from rich.console import Console
from rksearch.cli.live import ConsoleView
view = ConsoleView(Console())
for number in range(10_000):
    view.message("line %d" % number)
Path(sys.argv[1]).write_text("alive")
"""


def test_a_pipe_that_closes_ends_what_is_shown_and_not_the_run(tmp_path: Path) -> None:
    found = tmp_path / "found"
    with subprocess.Popen(
        [sys.executable, "-c", WRITES, str(found)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"line 0\n"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 0
    assert found.read_text() == "alive"
