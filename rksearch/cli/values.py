"""Types of option values that are stricter than Click's: paths that are given, and numbers within their range."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from rksearch.ordinary import is_text
from rksearch.search.limits import LARGEST_SEED
from rksearch.search.resources import LEAST_SHARE, MOST_CPUS

SEED = click.IntRange(0, LARGEST_SEED)
"""A seed of random numbers."""

MOST_THREADS = 1_024
"""Most CPU threads of a training."""

MOST_PROCESSES = 1_024
"""Most processes, or workers, of a benchmark."""

MOST_ROUNDS = 1_000_000
"""Most repetitions of a measurement."""

MOST_BATCH = 1_000_000
"""Most images of a batch."""


class UserPath(click.Path):
    """A path, `~` at its start standing for the home directory; never empty, and of UTF-8, as records are.

    Args:
        file_okay, dir_okay: whether an existing path may be a file or a directory.
        exists: whether it must exist.
        as_typed: whether `~` stays, for a path that is recorded and that others read.
    """

    def __init__(
        self, *, file_okay: bool = True, dir_okay: bool = True, exists: bool = False, as_typed: bool = False
    ) -> None:
        super().__init__(file_okay=file_okay, dir_okay=dir_okay, exists=exists, path_type=Path)
        self._as_typed = as_typed

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path.

        Raises:
            click.BadParameter: it is empty, its home directory is unknown, or it is of the wrong kind.
        """
        if not str(value).strip():
            self.fail("a path must not be empty; give a directory or a file, or leave the option out.", param, ctx)
        if not is_text(str(value)):
            self.fail(f"a path must be of UTF-8, but got {value!r}; rename it.", param, ctx)
        try:
            expanded = Path(value).expanduser()
            with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
                os.lstat(expanded)  # raises where a name is too long, which `Path.exists` passes on much later
            found = super().convert(str(expanded), param, ctx)
            return Path(value) if self._as_typed else found
        except (RuntimeError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error).rstrip(".")
            self.fail(f"{str(value)!r} cannot be used ({reason}); give another path.", param, ctx)


class FiniteNumber(click.FloatRange):
    """A number within a range, never NaN nor an infinity."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number.

        Raises:
            click.BadParameter: it is no number, not finite, or out of range.
        """
        found = super().convert(value, param, ctx)
        if not math.isfinite(found):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return found


class Cpus(FiniteNumber):
    """CPUs of a trial: at least a hundredth of one."""

    def __init__(self) -> None:
        super().__init__(min=LEAST_SHARE, max=MOST_CPUS)


class Gpus(FiniteNumber):
    """Share of a GPU: none, or at least a hundredth of one."""

    def __init__(self) -> None:
        super().__init__(min=0)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The share.

        Raises:
            click.BadParameter: it is neither 0 nor at least 0.01.
        """
        found = super().convert(value, param, ctx)
        if 0 < found < LEAST_SHARE:
            self.fail(f"{value!r} is neither 0 nor at least {LEAST_SHARE}.", param, ctx)
        return found
