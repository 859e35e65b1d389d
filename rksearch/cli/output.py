"""Output that must not cost the work behind it, and consoles that know what is a terminal."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from rksearch.errors import TakenError
from rksearch.ordinary import open_ordinary

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

NEAR_BYTES = 2**16
"""Bytes at both ends of a file that are looked at."""


def console(*, stderr: bool = False) -> Console:
    """A console for plain text. Lines are never folded where there is no terminal: programs read them.

    `FORCE_COLOR` makes no terminal of a file, in which a table would be drawn twice a second.
    """
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    terminal = stream is not None and stream.isatty()
    return Console(stderr=stderr, highlight=False, soft_wrap=True, markup=False, force_terminal=terminal)


def show(text: str, *, stderr: bool = False) -> None:
    """Print what a command has done; a pipe or terminal that has closed, or a full disk, is no failure of it."""
    try:
        click.echo(text, err=stderr)
    except OSError:
        let_go_of_output(stderr=stderr)


def let_go_of_output(*, stderr: bool = False) -> None:
    """Write no more to an output that refuses (`| head`, `> /dev/full`), not even when Python exits."""
    stream = sys.stderr if stderr else sys.stdout
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno() if stream is not None else 2 if stderr else 1)
    os.close(null)


def require_measurement(path: Path) -> None:
    """Make sure that a measurement to be written replaces nothing but an earlier one.

    Raises:
        TakenError: something else stands there.
    """
    from rksearch.results.environment import is_measurement

    if os.path.exists(path) and os.path.getsize(path) and not is_measurement(path):
        raise TakenError(
            f"rksearch replaces only what it wrote itself, but {path} holds no measurement; choose another name"
        )


def require_replaceable(path: Path, mark: bytes) -> None:
    """Make sure that a file to be written replaces nothing but an earlier one of its kind.

    Args:
        path: the file, which need not exist.
        mark: bytes near the beginning or the end of each file of the kind.

    Raises:
        TakenError: something else stands there.
    """
    try:
        with open_ordinary(path, sys.maxsize) as file:
            head = file.read(NEAR_BYTES)
            file.seek(max(0, os.fstat(file.fileno()).st_size - NEAR_BYTES))
            found = head + file.read(NEAR_BYTES)
    except FileNotFoundError:
        return
    except OSError as error:
        raise TakenError(f"a file to write must be an ordinary one, but {path} is not ({error.strerror})") from None
    if found and mark not in found:
        raise TakenError(
            f"rksearch replaces only what it wrote itself, but {path} is something else; choose another name"
        )
