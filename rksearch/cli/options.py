"""Options that several commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")

run_dir_argument = click.argument("directory", type=click.Path(path_type=Path))


def execution_options(command: F) -> F:
    """Where data lies and what a training runs on."""
    options = (
        click.option(
            "--data-dir",
            type=click.Path(path_type=Path, file_okay=False),
            default=Path("data"),
            show_default=True,
            help="Where data sets lie, or are downloaded to.",
        ),
        click.option("--no-download", is_flag=True, help="Fail where a data set is missing, rather than download it."),
        click.option(
            "--device",
            type=click.Choice(["auto", "cpu", "cuda"]),
            default="auto",
            show_default=True,
            help="auto: CUDA where there is one.",
        ),
        click.option(
            "--precision",
            type=click.Choice(["auto", "fp32", "bf16"]),
            default="auto",
            show_default=True,
            help="auto: bf16 autocast where the device computes it natively.",
        ),
    )
    return _apply(command, options)


def session_options(command: F) -> F:
    """What one launch of a run may use."""
    options = (
        click.option(
            "--cpus-per-trial",
            type=click.FloatRange(min=0, min_open=True),
            default=1.0,
            show_default=True,
            help="CPU cores that each trial reserves and computes with.",
        ),
        click.option(
            "--gpus-per-trial",
            type=click.FloatRange(min=0),
            default=None,
            help="GPUs that each trial reserves; 0.25 lets four share one. [default: 1 where there is a GPU, else 0]",
        ),
        click.option(
            "--address", metavar="HOST:PORT", help="Join the Ray cluster at this address (or `auto`: the local one)."
        ),
        click.option("--verbose", is_flag=True, help="Show Ray's and the workers' own messages."),
    )
    return _apply(execution_options(command), options)


def _apply(command: F, options: tuple[Callable[[Any], Any], ...]) -> F:
    return functools.reduce(lambda wrapped, option: option(wrapped), reversed(options), command)
