"""Work that a thread does beside the driver, which never waits for it while a run goes on."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable


class Beside:
    """Calls that a thread makes one after the other, in the order in which they were given.

    A call must not raise: whoever gives it decides what an exception means.

    Args:
        name: name of the thread.
    """

    def __init__(self, name: str) -> None:
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._made = 0
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def do(self, call: Callable[[], None]) -> None:
        """Let the thread make this call when it has made the earlier ones."""
        self._calls.put(call)

    def end(self) -> None:
        """Let the thread end when it has made the calls that are left."""
        self._calls.put(None)

    def close(self, wait_s: float, *, patient: bool = False) -> bool:
        """End, and wait for the calls that are left; returns whether all have been made.

        Args:
            wait_s: longest wait, in seconds.
            patient: whether it is the longest wait for each call, and not for all of them together.
        """
        self.end()
        while True:
            before = self._made
            self._thread.join(wait_s)
            if not patient or not self._thread.is_alive() or self._made == before:
                return not self._thread.is_alive()

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
            self._made += 1
