"""Processes that this program starts to run modules of its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import rksearch

SAFE_PATH = "PYTHONSAFEPATH"
"""Variable with which every Python of a process's descendants starts as with `-P`."""


def own_python(*words: str) -> list[str]:
    """A command of this Python, which never looks for modules in the working directory: that may be anybody's run.

    Args:
        words: `-m` or `-c` and what follows them.
    """
    return [sys.executable, "-P", *words]


def child_environment(**more: str) -> dict[str, str]:
    """Environment of this process, with the running package first on the path, and further variables."""
    places = [str(Path(rksearch.__file__).parent.parent), os.environ.get("PYTHONPATH")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places)), **more}
