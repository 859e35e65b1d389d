"""A lock that samplers may hold and be pickled with."""

from __future__ import annotations

import threading


class SamplerLock:
    """A `threading.Lock` of its own in each process: what is unpickled has a new one, which nobody holds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        """Wait for the lock and take it."""
        self._lock.acquire()

    def __exit__(self, *raised: object) -> None:
        """Release the lock."""
        self._lock.release()

    def __reduce__(self) -> tuple[type[SamplerLock], tuple[()]]:
        """Nothing of it is pickled."""
        return SamplerLock, ()
