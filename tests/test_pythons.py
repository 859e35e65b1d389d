"""The script that runs the tests on every supported Python, without running them."""

from __future__ import annotations

import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from tests.helpers.tools import tool

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def pythons() -> ModuleType:
    return tool("pythons")


def test_it_runs_the_versions_that_the_project_names(pythons: ModuleType) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [line.rpartition(" ")[2] for line in project["classifiers"] if "Python :: 3." in line]
    assert list(pythons.PYTHONS) == named
    assert project["requires-python"] == f">={named[0]}"


@pytest.mark.parametrize(
    ("output", "counts"),
    [
        ("....\n1203 passed, 4 skipped in 200.1s\n", {"passed": 1203, "skipped": 4}),
        ("2 failed, 10 passed, 1 error in 3s", {"failed": 2, "passed": 10, "error": 1}),
        ("3 passed in 1s\nsome words after it", {"passed": 3}),
        ("error: no such file", {}),
    ],
)
def test_counts_are_those_of_the_last_line_that_has_any(
    pythons: ModuleType, output: str, counts: dict[str, int]
) -> None:
    assert pythons.counts_of(output) == counts


def test_each_version_has_an_environment_of_its_own(pythons: ModuleType) -> None:
    place = Path("/somewhere")
    places = {python: pythons.environment(python, place)["UV_PROJECT_ENVIRONMENT"] for python in pythons.PYTHONS}
    assert places == {python: f"/somewhere/{python}" for python in pythons.PYTHONS}
    assert "VIRTUAL_ENV" not in pythons.environment("3.12", place)
    version, tests = pythons.commands("3.12", ["tests/arch"])
    assert version[:4] == tests[:4] == ["uv", "run", "--python", "3.12"]
    assert tests[4:] == ["pytest", "tests/arch"]


def test_the_table_says_what_failed(pythons: ModuleType) -> None:
    good = pythons.Outcome(python="3.11", version="3.11.9", code=0, counts={"passed": 1200, "skipped": 3}, minutes=1.0)
    bad = pythons.Outcome(python="3.13", version="", code=2, counts={}, minutes=0.0)
    assert pythons.table([good, bad]).splitlines()[2:] == [
        "| 3.11.9 | 1,200 passed, 3 skipped | pass |",
        "| 3.13, not installed | none ran | exit code 2 |",
    ]
