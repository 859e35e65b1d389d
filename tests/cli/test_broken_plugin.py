"""Commands beside a plugin that fails: one line where its registry is needed, and nothing elsewhere."""

import subprocess
from pathlib import Path

import pytest

from tests.helpers.command_line import rksearch
from tests.helpers.extending import installed


@pytest.fixture
def broken(tmp_path: Path) -> dict[str, str]:
    """Environment of a process in which an installed plugin raises."""
    return installed(tmp_path, "broken", "broken_plugin", "def register():\n    raise ValueError('no such\\ntable')\n")


def command(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return rksearch(*words, env=environment)


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
