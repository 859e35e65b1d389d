"""The directory of downloaded data sets: the one place that decides where it is."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "RKSEARCH_DATA"
"""Environment variable that names the directory."""

BESIDE = "data"
"""A folder of this name in the working directory is used where it exists."""


def data_home(given: Path | None) -> Path:
    """Absolute path of the directory for data sets, which need not exist.

    The first of: what the user gave; `RKSEARCH_DATA`; `data` in the working directory, if it exists; the platform's
    cache directory.

    Args:
        given: the user's choice; None for none.
    """
    if given is not None:
        return given.expanduser().absolute()
    if named := os.environ.get(VARIABLE):
        return Path(named).expanduser().absolute()
    if Path(BESIDE).is_dir():
        return Path(BESIDE).absolute()
    import platformdirs

    return platformdirs.user_cache_path("rksearch", appauthor=False) / BESIDE
