"""`rksearch run`, `resume`, `final`, `status` and `report`: runs and what they leave behind."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rksearch.cli.options import budget_options, json_option, run_dir_argument, session_options
from rksearch.errors import SpaceError
from rksearch.space.vocabulary import OBJECTIVES, SAMPLERS

if TYPE_CHECKING:
    from rich.console import Console

    from rksearch.results.plan import Plan
    from rksearch.results.run_dir import RunDir
    from rksearch.search.driver import Ending
    from rksearch.search.resources import Resources


@click.command()
@click.option("--space", "space_name", required=True, help="A shipped space's name, or the path of a YAML file.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Run directory; one that exists is gone on with. [default: reports/SPACE-N, N the first free number]",
)
@click.option("--trials", type=click.IntRange(min=0), help="Candidates to try. [default: the space's]")
@click.option("--recipe", "recipe_name", help="Training recipe, paper or short. [default: the space's]")
@click.option("--epochs", type=click.IntRange(min=1), help="Epochs of a whole training. [default: the recipe's]")
@click.option(
    "--seeds", type=click.IntRange(min=1), help="Trainings of what stands on the front. [default: the space's]"
)
@click.option(
    "--replicates",
    type=click.IntRange(min=0),
    help="Trainings beyond those of --seeds, so many in all, where the front is uncertain. "
    "[default: the space's, or a quarter of --trials]",
)
@click.option(
    "--sampler",
    type=click.Choice(list(SAMPLERS)),
    help=f"Who chooses candidates ({'; '.join(f'{name}: {words.does}' for name, words in SAMPLERS.items())}). "
    "[default: the space's]",
)
@click.option("--sampler-seed", type=int, default=0, show_default=True, help="Seed of the search's own choices.")
@click.option(
    "--objective",
    "objectives",
    multiple=True,
    type=click.Choice(list(OBJECTIVES)),
    help="What to make small; two or three times. [default: the space's]",
)
@click.option("--racing/--no-racing", default=None, help="Whether to stop candidates early. [default: the space's]")
@click.option("--control", is_flag=True, help="Also train random candidates, for the same number of epochs.")
@click.option("--start", multiple=True, metavar="NAME", help="An architecture to begin with; may be repeated.")
@click.option(
    "--import",
    "imports",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Begin with what the run in DIR has found; may be repeated.",
)
@budget_options
@session_options
def run(
    space_name: str,
    out: Path | None,
    trials: int | None,
    recipe_name: str | None,
    epochs: int | None,
    seeds: int | None,
    replicates: int | None,
    sampler: str | None,
    sampler_seed: int,
    objectives: tuple[str, ...],
    racing: bool | None,
    control: bool,
    start: tuple[str, ...],
    imports: tuple[Path, ...],
    resources: Resources,
    chosen: frozenset[str],
) -> int:
    """Search a space: train its networks and the baselines, and report the Pareto front.

    ctrl-C, a crash or a kill lose nothing that is finished: the same command with the same --out, or `rksearch resume`,
    goes on. The exit code is 0 when the run is finished, 3 when it is but some trainings failed, 130 when it was
    interrupted.
    """
    from rksearch.arch import parse
    from rksearch.results.run_dir import RunDir, next_free
    from rksearch.search.imports import imported
    from rksearch.search.planning import Asked, plan_of
    from rksearch.space import load_space

    space = load_space(space_name)
    asked = Asked(
        trials=trials,
        recipe_name=recipe_name,
        epochs=epochs,
        final_seeds=seeds,
        replicates=replicates,
        objectives=objectives or None,
        sampler=sampler,
        sampler_seed=sampler_seed,
        start=tuple(str(parse(name)) for name in start),
        racing=racing,
        control=control,
        timed=resources.limited,
    )
    settings = plan_of(space.definition, asked, members=len(space))
    if imports:
        begin, known = imported(imports, space, settings)
        settings = replace(settings, start=tuple(dict.fromkeys((*settings.start, *begin))), imported=tuple(known))
    for name in settings.start:
        if parse(name) not in space:
            raise SpaceError(f"--start must name a network of the space {space.name}, but got {name}; see `space show`")
    run_dir = RunDir(out or next_free(Path("reports"), space.name))
    from rksearch.search import driver

    console = _console()
    console.print(
        f"{space.name}: {len(space):,} architectures; training {len(settings.baselines)} baselines, "
        f"{len(settings.known)} known and up to {settings.trials:,} candidates for {_epochs_text(settings)}",
        highlight=False,
    )
    console.print(f"run directory: {_short(run_dir.path)}", highlight=False, soft_wrap=True)
    return _conclude(run_dir, driver.start(space, settings, run_dir, resources, console))


def _epochs_text(settings: Plan) -> str:
    full = settings.recipe.epochs
    if settings.racing is None:
        return f"{full} epochs each"
    stops = ", ".join(map(str, settings.racing.rungs))
    return f"up to {full} epochs, of which the better go on after {stops}"


@click.command()
@run_dir_argument
@click.option("--trials", type=click.IntRange(min=0), help="Another number of candidates. [default: as before]")
@budget_options
@session_options
def resume(directory: Path, trials: int | None, resources: Resources, chosen: frozenset[str]) -> int:
    """Go on with the run in DIRECTORY: finished trials stay, interrupted ones continue from their last epoch.

    Options that are not given are as they were in the run's last session.
    """
    from rksearch.results.run_dir import RunDir
    from rksearch.search import driver

    run_dir = RunDir(directory)
    return _conclude(run_dir, driver.resume(run_dir, resources, chosen, _console(), trials))


@click.command()
@run_dir_argument
@click.option("--arch", "archs", multiple=True, metavar="NAME", help="Read for this one; may be repeated.")
@click.option(
    "--fresh",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Train each so often anew, on training and validation images together, and read with those.",
)
@session_options
def final(directory: Path, archs: tuple[str, ...], fresh: int, resources: Resources, chosen: frozenset[str]) -> int:
    """Read the test set for what the run in DIRECTORY has found: the only command that does.

    Without --arch for the baselines and the front. Each training is read once, and every reading is recorded.
    """
    from rksearch.arch import parse
    from rksearch.results.run_dir import RunDir
    from rksearch.search import driver

    run_dir = RunDir(directory)
    names = [str(parse(name)) for name in archs]
    ending = driver.final(run_dir, names, fresh=fresh, resources=resources, chosen=chosen, console=_console())
    return _conclude(run_dir, ending)


@click.command()
@run_dir_argument
@json_option
def status(directory: Path, as_json: bool) -> None:
    """Say how far the run in DIRECTORY is and what it has found; works while it runs."""
    from rksearch.report.status import format_status
    from rksearch.report.status import status as status_of
    from rksearch.results.run_dir import RunDir

    found = status_of(directory)
    if found["state"] == "running" and not RunDir(directory).driven:
        # A driver that was killed could not say so; the lock that the system took from it does.
        found["state"] = "killed"
    click.echo(json.dumps(found, indent=2) if as_json else format_status(found))


@click.command()
@run_dir_argument
def report(directory: Path) -> None:
    """Write the report of the run in DIRECTORY anew from its ledger, finished or not."""
    for path in _write_report(directory):
        click.echo(_short(path))


def _write_report(directory: Path) -> list[Path]:
    from rksearch.report import write_report
    from rksearch.report.status import read_run
    from rksearch.results.importances import importances

    return write_report(directory, importances(read_run(directory)))


def _conclude(run_dir: RunDir, ending: Ending) -> int:
    """Write the report, say where it is, and give the exit code."""
    from rksearch.cli.main import EXIT_FAILURES, EXIT_INTERRUPTED
    from rksearch.report.status import format_status
    from rksearch.report.status import status as status_of
    from rksearch.results.ledger import Ledger

    _write_report(run_dir.path)
    click.echo()
    click.echo(format_status(status_of(run_dir.path)))
    click.echo(f"\nreport: {_short(run_dir.path / 'report.html')}")
    if ending == "interrupted":
        click.echo(f"interrupted; go on with: rksearch resume {_short(run_dir.path)}")
        return EXIT_INTERRUPTED
    return EXIT_FAILURES if Ledger(run_dir.path).read().failed else 0


def _console() -> Console:
    from rich.console import Console

    # Lines are never folded where there is no terminal: they are read by programs.
    return Console(highlight=False, soft_wrap=True)


def _short(path: Path) -> str:
    """Relative to the working directory where that is shorter."""
    path = path.absolute()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
