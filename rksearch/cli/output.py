"""Output that must not cost the work behind it, and consoles that know what is a terminal."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rksearch.errors import RksearchError, TakenError, unwritable
from rksearch.ordinary import open_ordinary, write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console


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
    with suppress(OSError):  # no file can be opened, or there are no devices: what is said last matters more
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno() if stream is not None else 2 if stderr else 1)
        os.close(null)


def require_measurement(path: Path) -> None:
    """Make sure that a measurement to be written replaces nothing but an earlier one.

    Raises:
        TakenError: something else stands there.
    """
    from rksearch.results.environment import is_measurement

    require_replaceable(path, is_measurement)


def require_replaceable(path: Path, is_own: Callable[[Path], bool]) -> None:
    """Make sure that a file to be written replaces nothing but an earlier one of its kind, or an empty file.

    Args:
        path: the file, which need not exist.
        is_own: whether a file is of the kind.

    Raises:
        TakenError: something else stands there.
    """
    try:
        with open_ordinary(path, sys.maxsize) as file:
            empty = not file.read(1)
    except FileNotFoundError:
        return
    except OSError as error:
        raise TakenError(f"a file to write must be an ordinary one, but {path} is not ({error.strerror})") from None
    if not empty and not is_own(path):
        raise TakenError(
            f"rksearch replaces only what it wrote itself, but {path} is something else; choose another name"
        )


def write_file(path: Path, content: bytes, what: str) -> None:
    """Write a file that the user named, whole or not at all; of a link, the file that it leads to.

    Args:
        path: the file.
        content: its content.
        what: what it is, with its article.

    Raises:
        RksearchError: it cannot be written; an earlier file is untouched.
    """
    try:
        write_atomically(Path(os.path.realpath(path)), content)
    except OSError as error:
        rule = f"{what} must be written to {path}, but that failed ({error.strerror or error})"
        raise unwritable(RksearchError(f"{rule}; choose another file, or make room"), error) from None
