"""Output that must not cost the work behind it, and consoles that know what is a terminal."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console


def console(*, stderr: bool = False) -> Console:
    """A console for plain text. Lines are never folded where there is no terminal: programs read them.

    `FORCE_COLOR` makes no terminal of a file, in which a table would be drawn twice a second.
    """
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    terminal = stream is not None and stream.isatty()
    return Console(stderr=stderr, highlight=False, soft_wrap=True, markup=False, force_terminal=terminal)


def show(text: str) -> None:
    """Print what a command has done; a pipe or terminal that has closed, or a full disk, is no failure of it."""
    try:
        click.echo(text)
    except OSError:
        let_go_of_output()


def let_go_of_output() -> None:
    """Write no more to an output that refuses (`| head`, `> /dev/full`), not even when Python exits."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno() if sys.stdout is not None else 1)
    os.close(null)
