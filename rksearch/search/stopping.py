"""Signals that end a session, answered alike at any moment from the first check to the last record."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1") if hasattr(signal, name))
"""Signals that end a session. Batch systems send SIGUSR1 ahead of the end of a job, where they are asked to."""


class Interrupted(KeyboardInterrupt):
    """A signal that ends what is under way.

    A KeyboardInterrupt itself that passes through code which C runs, as the imports of some packages are, makes Python
    end by SIGINT in the end, whatever the exit code should be.
    """


class StopRequest:
    """The wish of a user or of a batch system that the session ends.

    While work is under way (`at_work`) the first signal is noted in `asked`, for the loop of the work to see, and a
    second one raises KeyboardInterrupt; at other times the first one does.

    Attributes:
        asked: whether a signal has come.
    """

    def __init__(self) -> None:
        self.asked = False
        self._at_work = False
        self._deaf = False
        self._handlers: dict[signal.Signals, Any] = {}

    @property
    def answered(self) -> tuple[signal.Signals, ...]:
        """The signals that are answered now; none before `stop_signals` and after it."""
        return tuple(number for number, handler in self._handlers.items() if handler is not signal.SIG_IGN)

    def answer(self, signals: Mapping[signal.Signals, bool]) -> None:
        """Answer signals from now on, and ignore those whose value is false."""
        self._handlers = {number: self._answer if wanted else signal.SIG_IGN for number, wanted in signals.items()}
        self.take_back()

    def take_back(self) -> None:
        """Answer signals again whose handlers a library has replaced, where they were answered before."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """A `with` block whose loop looks at `asked`.

        Raises:
            KeyboardInterrupt: a signal has come before.
        """
        if self.asked:
            raise Interrupted
        self._at_work = True
        try:
            yield
        finally:
            self._at_work = False

    @contextmanager
    def not_again(self) -> Iterator[None]:
        """A `with` block of work that must not be left half done: signals in it are noted and nothing else."""
        before, self._deaf = self._deaf, True
        try:
            yield
        finally:
            self._deaf = before

    def _answer(self, signum: int, frame: FrameType | None) -> None:
        again, self.asked = self.asked, True
        if not self._deaf and (again or not self._at_work):
            raise Interrupted


@contextmanager
def stop_signals(request: StopRequest) -> Iterator[None]:
    """Let the signals of `ENDING` end a `with` block by `request`; afterwards their handlers are as before.

    Outside of the main thread, where Python allows no handlers, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in ENDING}
    # One that was ignored (by `nohup`, or by a shell for what it starts in the background) stays ignored.
    request.answer({number: handler is not signal.SIG_IGN for number, handler in before.items()})
    try:
        yield
    finally:
        request.answer({})
        for number, handler in before.items():
            # None stands for a handler that Python did not set.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


@contextmanager
def kept_from_children() -> Iterator[None]:
    """Let the processes that a `with` block starts, and theirs, live when a signal goes to the whole process group.

    `timeout`, systemd and batch systems signal every process of a job; those that do the work are ended by the one that
    answers, in its order. A child inherits which signals are blocked. This process answers them meanwhile in a thread
    of its own, since Python runs handlers in the main thread whichever thread a signal interrupts.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "pthread_sigmask"):
        yield
        return
    over = threading.Event()
    listener = threading.Thread(target=over.wait, name="signals", daemon=True)
    listener.start()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, set(ENDING) - {signal.SIGINT})  # Ray blocks SIGINT itself
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        over.set()
        listener.join()
