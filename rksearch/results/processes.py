"""Processes that this program starts to run modules of its own."""

from __future__ import annotations

import os
from pathlib import Path

import rksearch


def child_environment(**more: str) -> dict[str, str]:
    """Environment of this process, with the running package first on the path, and further variables."""
    places = [str(Path(rksearch.__file__).parent.parent), os.environ.get("PYTHONPATH")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places)), **more}
