"""A watch over Ray beside the driver's main thread: when one of its servers dies, calls of Ray's may wait for ever."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Mapping
from typing import NoReturn

from rksearch.search.resources import Resources
from rksearch.search.stopping import StopRequest

EVERY_S = 1.0
"""Seconds from one look to the next."""

MISSES_HERE, MISSES_ELSEWHERE = 3, 30
"""Looks on end at which a server does not answer before it counts as dead: on this machine, and over a network."""

PATIENCE_S = 15.0
"""Seconds that the main thread has to leave Ray after a death."""

STOP_PATIENCE_S = 40.0
"""Seconds that it has after a signal."""


class Watch:
    """Looks at Ray's servers every second, and ends the session when one has died or a signal stays unanswered.

    First the main thread is interrupted, which unwinds in order; where it does not leave, `last_words` ends the
    process. Answers are counted and not seconds, so that a driver that was suspended takes nothing for dead.

    Args:
        servers: for each server by its name, whether it answers.
        misses: looks on end without an answer before a server counts as dead.
        stop: the user's wish to end the session.
        last_words: ends the process: with the reason, or None where the user wished it.
    """

    def __init__(
        self,
        servers: Mapping[str, Callable[[], bool]],
        *,
        misses: int,
        stop: StopRequest,
        last_words: Callable[[str | None], NoReturn],
    ) -> None:
        self._servers, self._allowed, self._stop, self._last_words = servers, misses, stop, last_words
        self._missed = dict.fromkeys(servers, 0)
        self._reason: str | None = None
        self._waited = 0
        self._over, self._dead = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    @classmethod
    def of_this_session(
        cls, resources: Resources, stop: StopRequest, last_words: Callable[[str | None], NoReturn]
    ) -> Watch:
        """A watch over the servers of the Ray that this process has started or joined."""
        import ray

        here = resources.address is None
        where = "on this machine" if here else f"of the cluster at {resources.address}"
        context = ray.get_runtime_context()
        servers = {f"Ray's control service {where}": _answers(context.gcs_address)}
        mine = context.get_node_id()
        for node in ray.nodes():
            if node["NodeID"] == mine:
                address = f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}"
                servers["Ray's node service (raylet) on this machine"] = _answers(address)
        return cls(servers, misses=MISSES_HERE if here else MISSES_ELSEWHERE, stop=stop, last_words=last_words)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._over.set()
        self._thread.join(timeout=5)

    def death(self, *, wait: bool = False) -> str | None:
        """What has died, in words; None while everything answers.

        Args:
            wait: whether to wait until every server has had the looks that decide.
        """
        if wait:
            self._dead.wait(timeout=(self._allowed + 3) * EVERY_S)
        return self._reason

    def require_alive(self) -> None:
        """Make sure that nothing has died.

        Raises:
            KeyboardInterrupt: something has; `death` says what.
        """
        if self._reason is not None:
            raise KeyboardInterrupt

    def look(self) -> None:
        """Look once, and do what follows."""
        if self._reason is None:
            for name, answers in self._servers.items():
                self._missed[name] = 0 if answers() else self._missed[name] + 1
                if self._missed[name] >= self._allowed:
                    self._reason = f"{name} has died"
                    self._dead.set()
                    self._interrupt()
                    break
        if self._reason is not None or self._stop.asked:
            self._waited += 1
            patience_s = STOP_PATIENCE_S if self._reason is None else PATIENCE_S
            if self._waited * EVERY_S > patience_s:
                self._last_words(self._reason)

    def _run(self) -> None:
        while not self._over.wait(EVERY_S):
            self.look()

    def _interrupt(self) -> None:
        """Make the main thread leave what it waits for, where it answers signals."""
        self._stop.asked = True  # the next signal interrupts
        for number in self._stop.answered[:1]:
            with contextlib.suppress(ProcessLookupError):
                signal.pthread_kill(threading.main_thread().ident or 0, number)


def _answers(address: str) -> Callable[[], bool]:
    """Whether something listens at `HOST:PORT`. A process that is suspended still does."""
    host, _, port = address.rpartition(":")

    def answers() -> bool:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=EVERY_S).close()
        except OSError:
            return False
        return True

    return answers
