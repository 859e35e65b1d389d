"""Commands in a working directory of somebody else's: nothing that lies there is executed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.command_line import TINY_SPACE, environment

SCRIPT = "from rksearch.__main__ import main\nif __name__ == '__main__':\n    main()\n"
"""What the installed `rksearch` is: a script in a directory of its own."""

POISON = """
import os

os.close(os.open({mark!r} + __name__, os.O_CREAT))
"""
"""A module that leaves a file behind where it is imported."""


@pytest.fixture
def poisoned(tmp_path: Path) -> Path:
    """A directory with a module of each name of the standard library, and of some that rksearch imports."""
    directory = tmp_path / "somebody"
    directory.mkdir()
    (tmp_path / "executed").mkdir()
    for name in (*sys.stdlib_module_names, "numpy", "optuna", "ray", "rksearch", "torch"):
        text = POISON.format(mark=f"{tmp_path / 'executed'}{os.sep}")
        (directory / f"{name}.py").write_text(text, encoding="utf-8")
    return directory


def executed(poisoned: Path, *words: str) -> list[str]:
    """Names of the modules of the working directory that a command has executed; it succeeds."""
    script = poisoned.parent / "bin" / "rksearch"
    script.parent.mkdir(exist_ok=True)
    script.write_text(SCRIPT, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script), *words],
        cwd=poisoned,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return sorted(os.listdir(poisoned.parent / "executed"))


def test_a_process_of_its_own_takes_no_modules_from_the_working_directory(poisoned: Path) -> None:
    assert executed(poisoned, "bench", "latency", "ResNet-8", "--dataset", "digits", "--device", "cpu") == []


@pytest.mark.slow
@pytest.mark.ci
def test_processes_of_multiprocessing_take_no_modules_from_the_working_directory(poisoned: Path) -> None:
    small = ("--dataset", "digits", "--device", "cpu", "--rounds", "1", "--steps", "1", "--batch-size", "4")
    assert executed(poisoned, "bench", "train", "ResNet-8", *small) == []


@pytest.mark.slow
@pytest.mark.ci
def test_a_run_takes_no_modules_from_the_working_directory(poisoned: Path) -> None:
    """Neither the driver, nor the processes beside it, nor Ray and its workers do."""
    (poisoned / "tiny.yaml").write_text(TINY_SPACE, encoding="utf-8")
    assert executed(poisoned, "run", "--space", "tiny.yaml", "--trials", "1", "--device", "cpu", "--out", ".") == []
    assert executed(poisoned, "resume", ".", "--trials", "2") == []
