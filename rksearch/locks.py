"""A lock between processes on one machine, released by the system when its holder ends for whatever reason."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rksearch.errors import RksearchError

_POLL_S = 0.05


@contextmanager
def file_lock(path: Path, *, wait_s: float, busy: RksearchError) -> Iterator[None]:
    """Hold the exclusive lock `path` (created when missing, left behind empty) for the length of a `with` block.

    Args:
        path: the lock file; its directory must exist.
        wait_s: how long to wait for another holder, in seconds.
        busy: what to raise when the wait was in vain.

    Raises:
        OSError: the file cannot be created.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        deadline = time.monotonic() + wait_s
        while not _acquired(handle):
            if time.monotonic() >= deadline:
                raise busy
            time.sleep(_POLL_S)
        yield
    finally:
        os.close(handle)  # releases the lock


def _acquired(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
