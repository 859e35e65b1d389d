"""The `rksearch` command, also as `python -m rksearch`."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn

from rksearch.results.processes import SAFE_PATH
from rksearch.search.stopping import ENDING, Interrupted


def main() -> None:
    """Run the command line, which answers signals from the first moment on.

    Its own imports take up to a second, in which nothing has begun: a signal ends the process at once. Later one ends
    the command as ctrl-C does, until a run answers it otherwise. One that was ignored stays ignored.

    The working directory may be somebody else's run. This command takes no modules from it, and no Python that it, Ray
    or torch starts is to either.
    """
    os.environ.setdefault(SAFE_PATH, "1")
    _answer(_leave)
    from rksearch.cli import main as command

    _answer(_interrupt)
    try:
        command()
    except KeyboardInterrupt:  # a second one, while the first one was being answered
        _leave()
    finally:
        _answer(signal.SIG_DFL)  # Python's own end prints tracebacks of what interrupts it


def _answer(handler: Callable[[int, FrameType | None], Any] | signal.Handlers) -> None:
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def _leave(*_: object) -> NoReturn:
    try:
        os.write(2, b"rksearch: interrupted\n")
    finally:
        os._exit(130)


def _interrupt(*_: object) -> NoReturn:
    raise Interrupted


if __name__ == "__main__":
    main()
