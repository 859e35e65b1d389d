"""Starting, resuming and finishing runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

from rksearch.api.directory import Run
from rksearch.api.progress import view_of
from rksearch.arch import parse
from rksearch.data.facts import datasets
from rksearch.errors import RunError, SpaceError, nearest
from rksearch.report.forecast import forecast_lines
from rksearch.report.text import count, listing
from rksearch.results.plan import Plan
from rksearch.results.run_dir import RunDir, claim_free, stated_directory
from rksearch.search.continuing import Extension
from rksearch.search.limits import stated_several, stated_whole
from rksearch.search.planning import Asked, plan_of
from rksearch.search.ray.starting import require_no_ray
from rksearch.search.resources import Resources
from rksearch.search.samplers.registry import samplers
from rksearch.search.view import Silent, View
from rksearch.space import Space, load_space

if TYPE_CHECKING:
    from rksearch.results.events import Forecast
    from rksearch.search.session_end import Ended

EVERY_RESOURCE = frozenset(Resources.__slots__)
"""Names of all fields of `Resources`: the caller has chosen each, nothing is taken over from an earlier session."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRun:
    """A run that may start.

    Attributes:
        space: its search space.
        plan: what it trains.
        directory: where it writes.
        asked: names of the plan's fields that the caller stated, where they count more than the run's record.
    """

    space: Space
    plan: Plan
    directory: Path
    asked: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreseen:
    """The expected cost of a run on this machine.

    Attributes:
        forecast: the cost.
        smaller: options that would make a run of more than a day shorter, with the expected seconds of each.
    """

    forecast: Forecast
    smaller: tuple[tuple[str, float], ...] = ()

    def __str__(self) -> str:
        return "\n".join(forecast_lines(self.forecast, self.smaller))


class Wishes(TypedDict, total=False):
    """What a caller may state of a run in place of what the space file says; a key that is absent, or None, does not.

    Attributes:
        trials: number of candidates.
        recipe: a shipped recipe's name, or the path of a YAML file.
        epochs: epochs of a whole training.
        seeds: trainings of each network on the front.
        replicates: further trainings where the front is uncertain.
        objectives: two or three quantities to minimise, one of them an error.
        sampler, sampler_seed: the sampler's name, and the seed of its choices.
        racing: whether weak candidates stop early.
        control: whether random candidates are trained too.
        deterministic: number of trainings that may be under way in a run whose choices do not depend on time.
        start: names of architectures to propose first.
    """

    trials: int | None
    recipe: str | Path | None
    epochs: int | None
    seeds: int | None
    replicates: int | None
    objectives: Sequence[str] | None
    sampler: str | None
    sampler_seed: int
    racing: bool | None
    control: bool
    deterministic: int | None
    start: Sequence[str]


def _asked(wishes: Wishes, resources: Resources) -> Asked:
    """The wishes of a call.

    Raises:
        TypeError: one of them is none, as Python says of any unexpected argument.
        SpaceError: there is no such sampler.
        SpecError: a name of `start` is malformed.
        RunError: one is of another type, or out of its limits.
    """
    for name in wishes:
        if name not in Wishes.__annotations__:
            raise TypeError(f"unexpected keyword argument {name!r}{nearest(name, Wishes.__annotations__)}")
    recipe, sampler = wishes.get("recipe"), wishes.get("sampler")
    if sampler is not None:
        samplers.get(sampler)
    return Asked(
        trials=wishes.get("trials"),
        recipe_name=None if recipe is None else str(recipe),
        epochs=wishes.get("epochs"),
        final_seeds=stated_whole("seeds", wishes.get("seeds")),
        replicates=wishes.get("replicates"),
        objectives=stated_several("objectives", wishes.get("objectives")),
        sampler=sampler,
        sampler_seed=0 if wishes.get("sampler_seed") is None else wishes["sampler_seed"],
        start=tuple(str(parse(name)) for name in stated_several("start", wishes.get("start")) or ()),
        racing=wishes.get("racing"),
        control=False if wishes.get("control") is None else wishes["control"],
        deterministic=wishes.get("deterministic"),
        timed=resources.limited,
    )


def stated_resources(resources: Resources | None) -> Resources:
    """The resources that a caller states; the defaults for None.

    Raises:
        RunError: they are something else.
    """
    if resources is not None and not isinstance(resources, Resources):
        raise RunError(f"resources must be a value of rksearch.Resources, but got {resources!r}; make one of them")
    return Resources() if resources is None else resources


def run(
    space: str | Path,
    *,
    out: str | Path | None = None,
    imports: Sequence[str | Path] = (),
    resources: Resources | None = None,
    progress: bool | View = True,
    **wishes: Unpack[Wishes],
) -> Run:
    """Search a space as `rksearch run` does, and return when the run has ended.

    Args:
        space: a shipped space's name, or the path of a YAML file.
        out: run directory, which is resumed where it holds this run; None for `reports/<space>-<n>`.
        imports: directories of runs whose findings this one begins with.
        resources: what the run may use, its budget of time, its loggers (`log`) and your `ray.tune.Callback` objects
            (`callbacks`); None for the defaults.
        progress: whether to show a progress bar; or a view of one's own.
        wishes: `trials`, `recipe`, `epochs`, `seeds`, `replicates`, `objectives`, `sampler`, `sampler_seed`, `racing`,
            `control`, `deterministic` and `start`, in place of what the space file says; see `Wishes`.

    Returns:
        The run, its report written. `history.state` is `finished`; `stopped` by its budget of time; or `interrupted`.

    Raises:
        SpaceError: the space, the recipe or a name breaks a rule.
        RunError: the directory holds another run, or cannot be used; or this program is connected to Ray.
        RunAborted: no further trial of the run could succeed.
    """
    require_no_ray()
    resources = stated_resources(resources)
    planned = plan_run(space, out=out, asked=_asked(wishes, resources), imports=imports)
    return start_run(planned, resources, view_of(progress))


def forecast(
    space: str | Path | Space,
    *,
    imports: Sequence[str | Path] = (),
    resources: Resources | None = None,
    **wishes: Unpack[Wishes],
) -> Foreseen:
    """The cost of a run on this machine, from a few measured steps of some of its networks; nothing is written.

    Args:
        space: as in `run`, or a space that is loaded already.
        imports: as in `run`.
        resources: as in `run`.
        wishes: as in `run`.

    Raises:
        SpaceError: as `run`.
        RunError: an imported directory holds no run, or the run would join a cluster, whose machines are not this one.
        DataError: the images are missing, or cannot have the recipe's augmentation.
        DeviceError: no such device or precision.
    """
    from rksearch.data.images import load_data
    from rksearch.data.locations import data_home
    from rksearch.search.forecasting import smaller_runs
    from rksearch.search.measuring import forecast_here, image_counts
    from rksearch.training.trainer import check_images_suit

    resources = stated_resources(resources)
    if resources.address is not None:
        raise RunError(
            f"a forecast measures on this machine, but --address {resources.address} asks for a cluster; leave it out, "
            "and forecast on a machine of the cluster"
        )
    loaded, plan = _planned(space, _asked(wishes, resources), imports)
    with datasets.beneath(loaded.definition.directory):
        facts = loaded.definition.dataset
        check_images_suit(plan.recipe, facts.name)
        images = load_data(facts, data_home(resources.data_dir), download=resources.download)
        found = forecast_here(loaded, plan, images, resources)
        trainable = image_counts(facts, images, None).train or 1
        return Foreseen(forecast=found, smaller=tuple(smaller_runs(loaded, plan, found, images=trainable)))


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
    stated = directory_stated(out)
    asked = asked or Asked()
    loaded, plan = _planned(space, asked, imports)
    directory = stated or claim_free(Path("reports"), loaded.name)
    return PlannedRun(space=loaded, plan=plan, directory=directory, asked=asked.stated)


def directory_stated(out: str | Path | None) -> Path | None:
    """The run directory that a caller states; None for the next free one.

    Raises:
        RunError: it is empty, or no path.
    """
    return None if out is None else stated_directory(out, "a run directory, --out,")


def _planned(space: str | Path | Space, asked: Asked, imports: Sequence[str | Path]) -> tuple[Space, Plan]:
    """The space, and the plan that its file and the user's wishes make.

    Raises:
        SpaceError, RunError: as `plan_run`.
    """
    from rksearch.search.imports import imported

    loaded = space if isinstance(space, Space) else load_space(str(space), samplers=samplers.items())
    plan = plan_of(loaded.definition, asked, members=len(loaded))
    if imports := stated_several("imports", imports, paths=True) or ():
        with datasets.beneath(loaded.definition.directory):
            begin, known = imported([Path(directory) for directory in imports], loaded, plan)
        plan = replace(plan, start=tuple(dict.fromkeys((*plan.start, *begin))), imported=tuple(known))
    for name in plan.start:
        if parse(name) not in loaded:
            raise SpaceError(f"--start must name a network of {loaded.name}, but got {name}; see `space show`")
    return loaded, plan


def start_run(planned: PlannedRun, resources: Resources | None = None, view: View | None = None) -> Run:
    """Start a planned run, or resume it where its directory holds the same one; returns when it has ended.

    Args:
        planned: see `plan_run`.
        resources: what the session may use; None for the defaults.
        view: shows the progress; None to show nothing.

    Returns:
        The run, its report written; `history.state` is `interrupted` after ctrl-C, `stopped` by its budget of time, or
        `finished`.

    Raises:
        RunError: the directory holds another run, or cannot be used; or this program is connected to Ray.
        RunAborted: no further trial of the run could succeed.
    """
    from rksearch.search import driver

    require_no_ray()
    run_dir = RunDir(planned.directory)
    view = _noting(view, run_dir)
    view.message(_headline(planned))
    view.message(f"run directory: {shown_path(planned.directory)}")
    ended = driver.start(planned.space, planned.plan, run_dir, resources or Resources(), view, planned.asked)
    return _reported(run_dir, ended)


def _headline(planned: PlannedRun) -> str:
    space, plan = planned.space, planned.plan
    trained = [count(len(plan.baselines), "baseline")] if plan.baselines else []
    trained += [count(len(plan.known), "known network")] if plan.known else []
    trained.append(f"up to {count(plan.trials, 'candidate')}")
    return f"{space.name}: {count(len(space), 'architecture')}; training {listing(trained)} for {_epochs_text(plan)}"


def _epochs_text(plan: Plan) -> str:
    full = plan.recipe.epochs
    if plan.racing is None:
        return f"{count(full, 'epoch')} each"
    stops = ", ".join(map(str, plan.racing.rungs))
    return f"up to {full} epochs, of which the better continue after {stops}"


def shown_path(path: Path) -> str:
    """The path as text, relative to the working directory when it is inside it."""
    path = path.absolute()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def resume_run(
    directory: str | Path,
    resources: Resources | None = None,
    *,
    chosen: frozenset[str] | None = None,
    extension: Extension | None = None,
    retry_failed: bool = False,
    view: View | None = None,
) -> Run:
    """Resume the run in a directory: finished trials stay, interrupted ones continue from their last epoch.

    Args:
        directory: the run directory.
        resources: what the session may use; None for what the last session used.
        chosen: fields of `resources` that count, the others are as in the run's last session; None for all of them.
        extension: further candidates, seeds, replicates and baselines; None for the planned ones.
        retry_failed: whether failed trainings are tried again.
        view: shows the progress; None to show nothing.

    Raises:
        RunError: the directory holds no run, or the extension is none; or this program is connected to Ray.
        RunAborted: no further trial of the run could succeed.
    """
    from rksearch.search import driver

    require_no_ray()
    run_dir = RunDir(stated_directory(directory))
    resources, chosen = _chosen(resources, chosen)
    view = _noting(view, run_dir)
    ended = driver.resume(run_dir, resources, chosen, view, extension or Extension(), retry_failed=retry_failed)
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
        resources: as in `resume_run`.
        chosen: as in `resume_run`.
        view: as in `resume_run`.

    Raises:
        RunError: the directory holds no run, or an architecture has no finished training to read with, or its
            checkpoint is gone; or this program is connected to Ray.
        RunAborted: no further trial of the run could succeed.
    """
    from rksearch.search import driver

    require_no_ray()
    names = [str(parse(name)) for name in stated_several("archs", archs) or ()]
    fresh = stated_whole("fresh", fresh) or 0
    run_dir = RunDir(stated_directory(directory))
    resources, chosen = _chosen(resources, chosen)
    ended = driver.final(run_dir, names, fresh=fresh, resources=resources, chosen=chosen, view=_noting(view, run_dir))
    return _reported(run_dir, ended)


def _chosen(resources: Resources | None, chosen: frozenset[str] | None) -> tuple[Resources, frozenset[str]]:
    if resources is None:
        return Resources(), chosen or frozenset()
    return stated_resources(resources), EVERY_RESOURCE if chosen is None else chosen


def _noting(view: View | None, run_dir: RunDir) -> View:
    from rksearch.api.watching import NotingView

    return NotingView(view or Silent(), run_dir)


def _reported(run_dir: RunDir, ended: Ended) -> Run:
    found = Run(run_dir.path, history=ended.history, ending=ended.ending)
    found.write_report()
    return found
