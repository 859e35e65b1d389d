"""Signals that end a session: each is answered as ctrl-C is, at any moment from the first check to the last record."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_signals() -> Iterator[None]:
    """Let a termination or a closed terminal end a `with` block as ctrl-C does.

    While Tune works it stops, and finished work is kept; before and after, a KeyboardInterrupt is raised. A signal that
    is ignored (by `nohup`, for one) stays ignored. Outside of the main thread, where Python allows no handlers, nothing
    changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(signum: int, frame: FrameType | None) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)}
    for number in (signal.SIGTERM, signal.SIGHUP):
        if before[number] is not signal.SIG_IGN:
            signal.signal(number, interrupt)
    try:
        yield
    finally:
        # Also that of SIGINT, which Tune has replaced. None stands for a handler that Python did not set.
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


@contextmanager
def handlers_kept() -> Iterator[None]:
    """Set the handlers of signals again after a `with` block in which a library replaces them, as Ray's start does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
    before = {number: handler for number in numbers if (handler := signal.getsignal(number)) is not None}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
