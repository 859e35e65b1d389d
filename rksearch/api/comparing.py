"""Comparing runs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from rksearch.api.directory import Run
from rksearch.errors import RunError
from rksearch.results.run_comparison import RunComparison, compare_runs
from rksearch.search.limits import stated_several


def compare(directories: Sequence[str | Path], *, allow_differences: bool = False) -> RunComparison:
    """Compare the fronts of runs, and those of their control arms.

    Args:
        directories: run directories; one is enough where its run has a control arm.
        allow_differences: whether runs of other images, splits, recipes or errors are compared nevertheless.

    Raises:
        RunError: a directory holds no run, or is named twice; there is nothing to compare; or the runs differ.
        LedgerError: a ledger cannot be read.
    """
    runs = [Run(directory) for directory in stated_several("directories", directories, paths=True) or ()]
    places = [os.path.realpath(run.path) for run in runs]
    for i, place in enumerate(places):
        if place in places[:i]:
            raise RunError(f"a run is compared with others, but {runs[i].path} was given twice; name it once")
    return compare_runs(
        {label: run.history for label, run in zip(_labels(runs), runs, strict=True)},
        allow_differences=allow_differences,
    )


def _labels(runs: Sequence[Run]) -> list[str]:
    """The runs' names; those that several have are followed by the directory's name, or by its path."""
    names = [run.history.name for run in runs]
    for place in (lambda run: run.path.name, lambda run: str(run.path)):
        if len(set(names)) == len(names):
            break
        names = [
            name if names.count(name) == 1 else f"{run.history.name} ({place(run)})"
            for name, run in zip(names, runs, strict=True)
        ]
    return names
