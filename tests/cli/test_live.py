"""The plain lines of a run on a console that is no terminal."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from rksearch.cli.live import ConsoleView
from rksearch.results.records import TestResult
from rksearch.search.final import FinalAgenda
from rksearch.search.run_state import RunState
from tests.helpers.ledgers import begin, plan_record, trial


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
