"""`rksearch run`, `resume`, `status` and `report`: runs and what they leave behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rksearch.cli.options import json_option, run_dir_argument, session_options

if TYPE_CHECKING:
    from rich.console import Console

    from rksearch.run_dir import RunDir
    from rksearch.search.driver import Ending, Resources


@click.command()
@click.option("--space", "space_name", required=True, help="A shipped space's name, or the path of a YAML file.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Run directory; one that exists is gone on with. [default: reports/SPACE-N, N the first free number]",
)
@click.option("--trials", type=click.IntRange(min=0), help="Candidates to train. [default: the space's]")
@click.option("--recipe", "recipe_name", help="Training recipe, paper or short. [default: the space's]")
@click.option("--epochs", type=click.IntRange(min=1), help="Epochs of each training. [default: the recipe's]")
@click.option(
    "--seeds", type=click.IntRange(min=1), help="Trainings of what stands on the front. [default: the space's]"
)
@click.option("--sampler-seed", type=int, default=0, show_default=True, help="Seed of the search's own choices.")
@session_options
def run(
    space_name: str,
    out: Path | None,
    trials: int | None,
    recipe_name: str | None,
    epochs: int | None,
    seeds: int | None,
    sampler_seed: int,
    resources: Resources,
    chosen: frozenset[str],
) -> int:
    """Search a space: train its networks and the baselines, and report the Pareto front.

    ctrl-C, a crash or a kill lose nothing that is finished: the same command with the same --out, or `rksearch resume`,
    goes on.
    """
    from rksearch.run_dir import RunDir, next_free
    from rksearch.search.settings import settings_of
    from rksearch.space import load_space

    space = load_space(space_name)
    settings = settings_of(
        space.definition,
        trials=trials,
        recipe_name=recipe_name,
        epochs=epochs,
        final_seeds=seeds,
        sampler_seed=sampler_seed,
    )
    run_dir = RunDir(out or next_free(Path("reports"), space.name))
    from rksearch.search.driver import start

    console = _console()
    console.print(
        f"{space.name}: {len(space):,} architectures; training {len(settings.baselines)} baselines, "
        f"{len(settings.known)} known and up to {settings.trials} candidates for {settings.recipe.epochs} epochs each",
        highlight=False,
    )
    console.print(f"run directory: {_short(run_dir.path)}", highlight=False, soft_wrap=True)
    return _conclude(run_dir, start(space, settings, run_dir, resources, console))


@click.command()
@run_dir_argument
@click.option("--trials", type=click.IntRange(min=0), help="Another number of candidates. [default: as before]")
@session_options
def resume(directory: Path, trials: int | None, resources: Resources, chosen: frozenset[str]) -> int:
    """Go on with the run in DIRECTORY: finished trials stay, interrupted ones continue from their last epoch.

    Options that are not given are as they were in the run's last session.
    """
    from rksearch.run_dir import RunDir
    from rksearch.search import driver

    run_dir = RunDir(directory)
    return _conclude(run_dir, driver.resume(run_dir, resources, chosen, _console(), trials))


@click.command()
@run_dir_argument
@json_option
def status(directory: Path, as_json: bool) -> None:
    """Say how far the run in DIRECTORY is and what it has found; works while it runs."""
    from rksearch.report.status import format_status
    from rksearch.report.status import status as status_of
    from rksearch.run_dir import RunDir

    found = status_of(directory)
    if found["state"] == "running" and not RunDir(directory).driven:
        # A driver that was killed could not say so; the lock that the system took from it does.
        found["state"] = "killed"
    click.echo(json.dumps(found, indent=2) if as_json else format_status(found))


@click.command()
@run_dir_argument
def report(directory: Path) -> None:
    """Write the report of the run in DIRECTORY anew from its ledger, finished or not."""
    from rksearch.report import write_report

    for path in write_report(directory):
        click.echo(_short(path))


def _conclude(run_dir: RunDir, ending: Ending) -> int:
    """Write the report, say where it is, and give the exit code."""
    from rksearch.cli.main import EXIT_INTERRUPTED
    from rksearch.report import write_report
    from rksearch.report.status import format_status
    from rksearch.report.status import status as status_of

    write_report(run_dir.path)
    click.echo()
    click.echo(format_status(status_of(run_dir.path)))
    click.echo(f"\nreport: {_short(run_dir.path / 'report.html')}")
    if ending == "interrupted":
        click.echo(f"interrupted; go on with: rksearch resume {_short(run_dir.path)}")
        return EXIT_INTERRUPTED
    return 0


def _console() -> Console:
    from rich.console import Console

    # Lines are never folded where there is no terminal: they are read by programs.
    return Console(highlight=False, soft_wrap=True)


def _short(path: Path) -> str:
    """Relative to the working directory where that is shorter."""
    path = path.absolute()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
