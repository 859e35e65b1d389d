"""Loggers that a run may write to besides its ledger, by the names of `--log`.

They are Ray's own callbacks, which `rksearch.search.ray.loggers` makes; this module imports neither Ray nor them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from rksearch.errors import RunError


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggerEntry:
    """A logger.

    Attributes:
        name: its name, which is also that of the extra that brings its package.
        module: module that it imports; None where Ray needs no other package for it.
        writes: what it writes, in a few words.
    """

    name: str
    module: str | None
    writes: str


LOGGERS = {
    entry.name: entry
    for entry in (
        LoggerEntry(name="tensorboard", module="tensorboardX", writes="event files in work/logs/tensorboard"),
        LoggerEntry(
            name="mlflow", module="mlflow", writes="runs to MLFLOW_TRACKING_URI, by default work/logs/mlflow.db"
        ),
        LoggerEntry(name="wandb", module="wandb", writes="runs to the project WANDB_PROJECT_NAME, by default rksearch"),
        LoggerEntry(name="csv", module=None, writes="a table for each training in work/logs/csv"),
    )
}
"""All loggers, in the order in which help texts list them."""


def require_loggers(names: Sequence[str]) -> None:
    """Make sure that loggers are known and that their packages are installed.

    Raises:
        RunError: one is not.
    """
    for name in names:
        if name not in LOGGERS:
            raise RunError(f"--log must be one of {', '.join(LOGGERS)}, but got {name!r}; choose one of them")
        module = LOGGERS[name].module
        if module is not None and find_spec(module) is None:
            raise RunError(
                f"--log {name} must find the package {module}, which is not installed; install it with "
                f"pip install 'rksearch[{name}]'"
            )
