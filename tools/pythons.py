"""Run the tests on every supported version of Python, each in an environment that uv makes, and print a table.

    python tools/pythons.py                       # the fast tests on 3.11, 3.12 and 3.13
    python tools/pythons.py --python 3.13 -- tests/arch tests/space

What follows `--` is for pytest. Environments stay in `.venvs/`, or in the directory given by `--environments`, so that
a second run installs nothing. The exit code is 1 when any version fails.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PYTHONS = ("3.11", "3.12", "3.13")
PLACE = ROOT / ".venvs"
COUNTS = re.compile(r"(\d+) (passed|failed|error|errors|skipped|xfailed|xpassed)\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the tests said on one version.

    Attributes:
        python: the version asked for.
        version: the whole version that ran; empty where it could not be installed.
        code: exit code of pytest, or of uv where that failed.
        counts: numbers of tests by outcome.
        minutes: wall time.
    """

    python: str
    version: str
    code: int
    counts: dict[str, int]
    minutes: float


def counts_of(output: str) -> dict[str, int]:
    """Numbers of tests by outcome, from pytest's last line that has any."""
    for line in reversed(output.splitlines()):
        found = {what.removesuffix("s") if what == "errors" else what: int(n) for n, what in COUNTS.findall(line)}
        if found:
            return found
    return {}


def commands(python: str, tests: Sequence[str]) -> tuple[list[str], list[str]]:
    """The commands that print the version, after installing what is missing, and that run the tests."""
    run = ["uv", "run", "--python", python]
    return [*run, "python", "-c", "import platform; print(platform.python_version())"], [*run, "pytest", *tests]


def environment(python: str, place: Path) -> Mapping[str, str]:
    """The environment of these commands: a virtual environment for each version, in the directory `place`."""
    outer = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
    return {**outer, "UV_PROJECT_ENVIRONMENT": str(place.absolute() / python)}


def try_python(python: str, tests: Sequence[str], place: Path) -> Outcome:
    """Run the tests on one version; their output is passed on as it comes."""
    began = time.monotonic()
    version, testing = commands(python, tests)
    seen = subprocess.run(version, cwd=ROOT, env=environment(python, place), stdout=subprocess.PIPE, text=True)
    if seen.returncode:
        return Outcome(python=python, version="", code=seen.returncode, counts={}, minutes=0.0)
    lines = []
    with subprocess.Popen(
        testing, cwd=ROOT, env=environment(python, place), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None, "it is a pipe"
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    return Outcome(
        python=python,
        version=seen.stdout.strip(),
        code=process.returncode,
        counts=counts_of("".join(lines)),
        minutes=(time.monotonic() - began) / 60,
    )


def table(outcomes: Sequence[Outcome]) -> str:
    """The outcomes as a Markdown table, for CONTRIBUTING.md."""
    lines = ["| Python | tests | result |", "|---|---|---|"]
    for own in outcomes:
        counts = ", ".join(f"{number:,} {what}" for what, number in own.counts.items()) or "none ran"
        result = "pass" if own.code == 0 else f"exit code {own.code}"
        lines.append(f"| {own.version or f'{own.python}, not installed'} | {counts} | {result} |")
    return "\n".join(lines)


def main() -> None:
    """Run the tests on every version that is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--python", action="append", choices=PYTHONS, help="a version; may be repeated")
    parser.add_argument("--environments", type=Path, default=PLACE, help="directory of the environments [.venvs]")
    parser.add_argument("tests", nargs="*", help="arguments of pytest, after --")
    asked = parser.parse_args()
    outcomes = []
    for python in asked.python or PYTHONS:
        print(f"== Python {python}", flush=True)
        outcomes.append(try_python(python, asked.tests, asked.environments))
    print(f"\n{table(outcomes)}")
    sys.exit(any(own.code for own in outcomes))


if __name__ == "__main__":
    main()
