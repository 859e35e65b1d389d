"""Commands beside a plugin that fails: one line where its registry is needed, and nothing elsewhere."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def broken(tmp_path: Path) -> dict[str, str]:
    """Environment of a process in which an installed plugin raises."""
    (tmp_path / "broken_plugin.py").write_text("def register():\n    raise ValueError('no such\\ntable')\n")
    installed = tmp_path / "broken_plugin-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-plugin\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("[rksearch.plugins]\nbroken = broken_plugin:register\n")
    path = os.pathsep.join([str(tmp_path), str(ROOT), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path}


def command(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rksearch", *words], env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("words", [("--help",), ("run", "--help"), ("describe", "--help"), ("space", "--help")])
def test_help_loads_no_plugin(broken: dict[str, str], words: tuple[str, ...]) -> None:
    done = command(broken, *words)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Usage: rksearch")


def test_help_names_the_samplers_that_are_shipped(broken: dict[str, str]) -> None:
    text = command(broken, "run", "--help").stdout
    assert "frontier" in text
    assert "nsga2" in text


@pytest.mark.parametrize(
    "words",
    [
        ("families",),
        ("space", "list"),
        ("describe", "ResNet-8", "--dataset", "digits"),
        ("run", "--space", "quickstart", "--sampler", "random"),
        ("run", "--space", "quickstart"),
    ],
)
def test_a_command_that_needs_the_registry_ends_with_one_line(broken: dict[str, str], words: tuple[str, ...]) -> None:
    done = command(broken, *words)
    assert done.returncode == 2
    assert done.stderr == (
        "rksearch: the plugin 'broken' (broken_plugin:register) must load, but raised ValueError: no such table; "
        "correct or uninstall it\n"
    )
    assert done.stdout == ""
