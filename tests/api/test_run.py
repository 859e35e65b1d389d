"""`Run`: what a notebook asks a run directory."""

import shutil
from pathlib import Path

import pytest

from rksearch.api import Run
from rksearch.errors import RunError
from rksearch.results.ledger import FILE_NAME
from tests.helpers.ledgers import full_run


def test_a_run_is_read_once_and_says_what_its_ledger_says(tmp_path: Path) -> None:
    ledger = full_run(tmp_path)
    run = Run(tmp_path)
    expected = ledger.read()
    assert run.trials == expected.trials
    (tmp_path / FILE_NAME).unlink()
    assert run.history == expected
    assert run.status().state == "finished"


def test_the_report_of_a_copy_is_written_again_byte_for_byte(tmp_path: Path) -> None:
    full_run(tmp_path / "run")
    first = {path.name: path.read_bytes() for path in Run(tmp_path / "run").write_report()}
    shutil.copytree(tmp_path / "run", tmp_path / "copy" / "run")
    assert {path.name: path.read_bytes() for path in Run(tmp_path / "copy" / "run").write_report()} == first


def test_a_trial_that_is_not_there_costs_one_line(tmp_path: Path) -> None:
    full_run(tmp_path)
    run = Run(tmp_path)
    known = next(iter(run.trials))
    assert run.trial(known).id == known
    with pytest.raises(RunError, match=r"a finished trial of .* must be named, but got 'ResNet-9999@0'"):
        run.trial("ResNet-9999@0")


def test_a_directory_without_a_ledger_costs_one_line(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="a run directory holds"):
        Run(tmp_path).status()
