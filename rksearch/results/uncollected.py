"""Work on many small objects without the search for unreachable cycles among them."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Without Python's cycle collector, which passes over a large run's records again for every few hundred new ones.

    What is left without a reference is still freed at once; cycles wait for the end.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
