"""Write the versions installed here as the tested ones: into pyproject.toml for uv, and constraints.txt for pip.

    uv sync --upgrade --group docs && uv run pytest && uv run --group docs python tools/pin.py

`--check` changes nothing and fails when the two files disagree with one another.
"""

from __future__ import annotations

import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parent.parent
PYPROJECT = ROOT / "pyproject.toml"
CONSTRAINTS = ROOT / "constraints.txt"
HEADER = "# The versions that the tests ran with, written by tools/pin.py: pip install . -c constraints.txt\n"


def installed() -> list[str]:
    """`name==version` of every package in this environment, sorted, but for this project and pip itself."""
    found = {}
    for distribution in metadata.distributions():
        name = re.sub(r"[-_.]+", "-", distribution.metadata["Name"]).lower()
        if name not in ("rksearch", "pip", "setuptools", "wheel", "uv"):
            # A local build label (`+cu130`) names one registry's build; the version alone is the same code.
            found[name] = distribution.version.partition("+")[0]
    return [f"{name}=={version}" for name, version in sorted(found.items())]


def pinned() -> list[str]:
    """The pins that pyproject.toml holds."""
    pins: list[str] = tomllib.loads(PYPROJECT.read_text())["tool"]["uv"]["constraint-dependencies"]
    return pins


def constraints(pins: list[str]) -> str:
    """The text of constraints.txt."""
    return HEADER + "".join(f"{pin}\n" for pin in pins)


def write(pins: list[str]) -> None:
    """Put the pins into both files."""
    lines = "".join(f'    "{pin}",\n' for pin in pins)
    text, count = re.subn(
        r"constraint-dependencies = \[[^\]]*\]", f"constraint-dependencies = [\n{lines}]", PYPROJECT.read_text()
    )
    if count != 1:
        raise SystemExit("pyproject.toml must have one constraint-dependencies list under [tool.uv]")
    PYPROJECT.write_text(text)
    CONSTRAINTS.write_text(constraints(pins))


def main() -> None:
    """Write the pins, or check them."""
    if sys.argv[1:] == ["--check"]:
        if CONSTRAINTS.read_text() != constraints(pinned()):
            raise SystemExit("constraints.txt and pyproject.toml differ; run: uv run --group docs python tools/pin.py")
    elif sys.argv[1:]:
        raise SystemExit(__doc__)
    else:
        write(installed())


if __name__ == "__main__":
    main()
