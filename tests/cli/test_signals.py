"""Signals in the first moments of a command, while it is being imported and while it imports what it needs."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from rksearch.search.stopping import ENDING
from tests.helpers.command_line import TINY_SPACE, python

SIGNALLED = """
import os, sys
from rksearch.__main__ import main

class Signaller:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), {number})

sys.meta_path.insert(0, Signaller)
sys.argv = ["rksearch", *{words!r}]
main()
"""


def signalled(module: str, number: signal.Signals, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A command that gets a signal when it begins to import a module."""
    return python("-c", SIGNALLED.format(module=module, number=int(number), words=words), cwd=cwd)


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_while_the_command_line_is_imported(tmp_path: Path, number: signal.Signals) -> None:
    done = signalled("rksearch.cli.main", number, "--version", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "rksearch: interrupted\n")


def test_a_signal_that_was_ignored_stays_ignored(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        done = signalled("rksearch.cli.main", signal.SIGHUP, "--version", cwd=tmp_path)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_signal_while_a_run_imports_what_it_needs(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY_SPACE)
    done = signalled("torch", signal.SIGTERM, "run", "--space", "tiny.yaml", "--out", "run", cwd=tmp_path)
    assert (done.returncode, done.stderr.split("\n")) == (130, ["", "rksearch: interrupted", ""])
    assert not (tmp_path / "run" / "ledger.jsonl").exists()
