"""The directory of downloaded data sets: the one place that decides where it is."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "RKSEARCH_DATA"
"""Environment variable that names the directory."""

BESIDE = "data"
"""A folder of this name in the working directory is used where it exists."""


def data_home(given: Path | None, base: Path | None = None) -> Path:
    """Absolute path of the directory for data sets, which need not exist.

    The first of: what the user gave; `RKSEARCH_DATA`; `data` in the working directory, if it exists; the platform's
    cache directory.

    Args:
        given: the user's choice; None for none.
        base: directory beneath which relative paths lie; None for the working directory.
    """
    base = base or Path.cwd()
    if given is not None:
        return (base / given.expanduser()).absolute()
    if named := os.environ.get(VARIABLE):
        return Path(named).expanduser().absolute()
    if (base / BESIDE).is_dir():
        return (base / BESIDE).absolute()
    import platformdirs

    return platformdirs.user_cache_path("rksearch", appauthor=False) / BESIDE
