"""Starting, resuming and finishing runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rksearch.api.run import Run
from rksearch.arch import parse
from rksearch.data.facts import datasets
from rksearch.errors import RunError, SpaceError
from rksearch.results.plan import Plan
from rksearch.results.run_dir import RunDir, claim_free
from rksearch.search.planning import Asked, plan_of
from rksearch.search.resources import Resources
from rksearch.search.samplers.registry import samplers
from rksearch.search.view import Silent, View
from rksearch.space import Space, load_space

if TYPE_CHECKING:
    from rksearch.search.driver import Ended

EVERY_RESOURCE = frozenset(Resources.__slots__)
"""Names of all fields of `Resources`: the caller has chosen each, nothing is taken over from an earlier session."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRun:
    """A run that may start.

    Attributes:
        space: its search space.
        plan: what it trains.
        directory: where it writes.
    """

    space: Space
    plan: Plan
    directory: Path


def plan_run(
    space: str | Path,
    *,
    out: str | Path | None = None,
    asked: Asked | None = None,
    imports: Sequence[str | Path] = (),
) -> PlannedRun:
    """Plan a run; nothing is written, except that without `out` an empty directory takes the name.

    Args:
        space: a shipped space's name, or the path of a YAML file.
        out: run directory; None for `reports/<space>-<n>`, n the first free number.
        asked: wishes that replace what the space file says; None for none.
        imports: directories of runs whose findings this one begins with.

    Raises:
        SpaceError: the space file breaks a rule, or a start network is not in the space.
        RunError: an imported directory holds no run, or `out` is empty.
    """
    from rksearch.search.imports import imported

    if out is not None and not str(out):
        raise RunError("a run directory must have a path, but --out is empty; give a directory, or leave it out")
    loaded = load_space(str(space), samplers=samplers.items())
    asked = asked or Asked()
    plan = plan_of(loaded.definition, asked, members=len(loaded))
    if imports:
        with datasets.beneath(loaded.definition.directory):
            begin, known = imported([Path(directory) for directory in imports], loaded, plan)
        plan = replace(plan, start=tuple(dict.fromkeys((*plan.start, *begin))), imported=tuple(known))
    for name in plan.start:
        if parse(name) not in loaded:
            raise SpaceError(f"--start must name a network of {loaded.name}, but got {name}; see `space show`")
    directory = Path(out) if out is not None else claim_free(Path("reports"), loaded.name)
    return PlannedRun(space=loaded, plan=plan, directory=directory)


def start_run(planned: PlannedRun, resources: Resources | None = None, view: View | None = None) -> Run:
    """Start a planned run, or resume it where its directory holds the same one; returns when it has ended.

    Args:
        planned: see `plan_run`.
        resources: what the session may use; None for the defaults.
        view: shows the progress; None to show nothing.

    Returns:
        The run, its report written; `history.state` is `interrupted` after ctrl-C, or `finished`.

    Raises:
        RunError: the directory holds another run, or cannot be used.
        RunAborted: no further trial of the run could succeed.
    """
    from rksearch.search import driver

    run_dir = RunDir(planned.directory)
    ended = driver.start(planned.space, planned.plan, run_dir, resources or Resources(), _noting(view, run_dir))
    return _reported(run_dir, ended)


def resume_run(
    directory: str | Path,
    resources: Resources | None = None,
    *,
    chosen: frozenset[str] | None = None,
    trials: int | None = None,
    retry_failed: bool = False,
    view: View | None = None,
) -> Run:
    """Resume the run in a directory: finished trials stay, interrupted ones continue from their last epoch.

    Args:
        directory: the run directory.
        resources: what the session may use; None for what the last session used.
        chosen: fields of `resources` that count, the others are as in the run's last session; None for all of them.
        trials: another number of candidates; None for the planned one.
        retry_failed: whether failed trainings are tried again.
        view: shows the progress; None to show nothing.

    Raises:
        RunError: the directory holds no run.
        RunAborted: no further trial of the run could succeed.
    """
    from rksearch.search import driver

    run_dir = RunDir(Path(directory))
    resources, chosen = _chosen(resources, chosen)
    ended = driver.resume(run_dir, resources, chosen, _noting(view, run_dir), trials, retry_failed=retry_failed)
    return _reported(run_dir, ended)


def final_run(
    directory: str | Path,
    archs: Sequence[str] = (),
    *,
    fresh: int = 0,
    resources: Resources | None = None,
    chosen: frozenset[str] | None = None,
    view: View | None = None,
) -> Run:
    """Read the test set for what a run has found; each reading is recorded, and no training is read twice.

    Args:
        directory: the run directory.
        archs: names of architectures; empty for the baselines and the front.
        fresh: number of new trainings of each, on training and validation images together, to read with; 0 to read
            with the trainings of the search.
        resources, chosen, view: as in `resume_run`.

    Raises:
        RunError: the directory holds no run, or an architecture has no finished training to read with.
        RunAborted: no further trial of the run could succeed.
    """
    from rksearch.search import driver

    run_dir = RunDir(Path(directory))
    names = [str(parse(name)) for name in archs]
    resources, chosen = _chosen(resources, chosen)
    ended = driver.final(run_dir, names, fresh=fresh, resources=resources, chosen=chosen, view=_noting(view, run_dir))
    return _reported(run_dir, ended)


def _chosen(resources: Resources | None, chosen: frozenset[str] | None) -> tuple[Resources, frozenset[str]]:
    if resources is None:
        return Resources(), chosen or frozenset()
    return resources, EVERY_RESOURCE if chosen is None else chosen


def _noting(view: View | None, run_dir: RunDir) -> View:
    from rksearch.api.watching import NotingView

    return NotingView(view or Silent(), run_dir)


def _reported(run_dir: RunDir, ended: Ended) -> Run:
    run = Run(run_dir.path, history=ended.history)
    run.write_report()
    return run
