"""Pulses of the trainings under way, from the workers to the driver, through the key-value store of Ray's own."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import asdict

from rksearch.training.pulse import Beat, Pulse

EVERY_S = 2.0
"""Seconds from one beat to the next."""

NAMESPACE = b"rksearch"


@contextlib.contextmanager
def beating(key: str, pulse: Pulse) -> Iterator[None]:
    """Send the beats of a pulse from a thread while the `with` block works."""
    over = threading.Event()

    def send() -> None:
        from ray.experimental.internal_kv import _internal_kv_put

        while not over.wait(EVERY_S):
            # A beat that is lost (the store restarts, for one) is made up for by the next one.
            with contextlib.suppress(Exception):
                _internal_kv_put(key, json.dumps(asdict(pulse.beat())), overwrite=True, namespace=NAMESPACE)

    thread = threading.Thread(target=send, name="pulse", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()


def last_beat(key: str) -> Beat | None:
    """The last beat that came under a key; None before the first."""
    from ray.experimental.internal_kv import _internal_kv_get

    found = _internal_kv_get(key, namespace=NAMESPACE)
    return Beat(**json.loads(found)) if found else None


def forget_beats(key: str) -> None:
    """Remove what came under a key."""
    from ray.experimental.internal_kv import _internal_kv_del

    _internal_kv_del(key, namespace=NAMESPACE)
