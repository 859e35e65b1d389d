"""The directory of downloaded data sets: the one place that decides where it is."""

from __future__ import annotations

import os
from pathlib import Path

from rksearch.errors import DataError
from rksearch.ordinary import expanded

VARIABLE = "RKSEARCH_DATA"
"""Environment variable that names the directory."""

BESIDE = "data"
"""A folder of this name in the working directory is used where it exists."""


def data_home(given: Path | None) -> Path:
    """Absolute path of the directory for data sets, which need not exist.

    The first of: what the user gave; `RKSEARCH_DATA`; `data` in the working directory, if it exists; the platform's
    cache directory; where the user has no home directory, and so no cache, `data` in the working directory.

    Args:
        given: the user's choice; None for none.

    Raises:
        DataError: it lies in a home directory that is not known.
    """
    if given is not None:
        return expanded(given, DataError).absolute()
    if named := os.environ.get(VARIABLE):
        return expanded(named, DataError).absolute()
    if os.path.isdir(BESIDE):
        return Path(BESIDE).absolute()
    import platformdirs

    try:
        return platformdirs.user_cache_path("rksearch", appauthor=False) / BESIDE
    except RuntimeError:  # as in a container whose user has no entry
        return Path(BESIDE).absolute()
