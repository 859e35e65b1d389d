"""`rksearch run`, `resume`, `final`, `status` and `report`: runs and their reports."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rksearch.cli.exits import EXIT_FAILURES, EXIT_INTERRUPTED
from rksearch.cli.options import SamplerName, budget_options, json_option, run_dir_argument, session_options
from rksearch.cli.output import console, show
from rksearch.cli.values import MOST_EPOCHS, MOST_SEEDS, MOST_TRIALS, SEED, UserPath
from rksearch.search.samplers.registry import samplers
from rksearch.space.plan import DEFAULT_WINDOW, OBJECTIVES

if TYPE_CHECKING:
    from rksearch.api import Run
    from rksearch.results.plan import Plan
    from rksearch.results.status import RunStatus
    from rksearch.search.resources import Resources


@click.command()
@click.option("--space", "space_name", required=True, help="A shipped space's name, or the path of a YAML file.")
@click.option(
    "--out",
    type=UserPath(file_okay=False),
    help="Run directory; an existing one is resumed. [default: reports/SPACE-N, N the first free number]",
)
@click.option("--trials", type=click.IntRange(0, MOST_TRIALS), help="Number of candidates. [default: the space's]")
@click.option(
    "--recipe", "recipe_name", help="A shipped recipe's name, or the path of a YAML file. [default: the space's]"
)
@click.option(
    "--epochs", type=click.IntRange(1, MOST_EPOCHS), help="Epochs of a whole training. [default: the recipe's]"
)
@click.option(
    "--seeds", type=click.IntRange(1, MOST_SEEDS), help="Trainings of each network on the front. [default: the space's]"
)
@click.option(
    "--replicates",
    type=click.IntRange(0, MOST_TRIALS),
    help="Total of further trainings, beyond --seeds, where the front is uncertain. "
    "[default: the space's, or a quarter of --trials]",
)
@click.option(
    "--sampler",
    type=SamplerName(),
    help="Method that chooses candidates "
    f"({'; '.join(f'{entry.name}: {entry.description}' for entry in samplers.shipped())}; or a plugin's). "
    "[default: the space's]",
)
@click.option("--sampler-seed", type=SEED, default=0, show_default=True, help="Seed of the search's own choices.")
@click.option(
    "--objective",
    "objectives",
    multiple=True,
    type=click.Choice(list(OBJECTIVES)),
    help="Quantity to minimise; give two or three. [default: the space's]",
)
@click.option("--racing/--no-racing", default=None, help="Stop weak candidates early. [default: the space's, else no]")
@click.option("--control", is_flag=True, help="Also train random candidates, for the same number of epochs.")
@click.option(
    "--deterministic",
    type=click.IntRange(1, MOST_TRIALS),
    is_flag=False,
    flag_value=DEFAULT_WINDOW,
    metavar="[N]",
    help="Choose each training from the results of those before the last N alone, in their order, whatever ends first: "
    "the same command on the same kind of device writes the same ledger, times aside. Slots wait where more than N "
    f"could be trained at a time. [alone: {DEFAULT_WINDOW}]",
)
@click.option("--start", multiple=True, metavar="NAME", help="An architecture to propose first; may be repeated.")
@click.option(
    "--import",
    "imports",
    multiple=True,
    type=UserPath(),
    metavar="DIR",
    help="Begin with the findings of the run in DIR; may be repeated.",
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
    deterministic: int | None,
    start: tuple[str, ...],
    imports: tuple[Path, ...],
    resources: Resources,
    chosen: frozenset[str],
) -> int:
    """Search a space: train its networks and the baselines, and report the Pareto front.

    ctrl-C, a crash or a kill lose no finished epoch: the same command with the same --out, or `rksearch resume`,
    continues. The exit code is 0 when the run is finished, 3 when some of its trainings failed, 130 when it was
    interrupted.
    """
    from rksearch.api import plan_run, start_run
    from rksearch.arch import parse
    from rksearch.cli.live import ConsoleView
    from rksearch.search.planning import Asked

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
        deterministic=deterministic,
        timed=resources.limited,
    )
    planned = plan_run(space_name, out=out, asked=asked, imports=imports)
    view, plan = ConsoleView(console()), planned.plan
    view.message(
        f"{planned.space.name}: {len(planned.space):,} architectures; training {len(plan.baselines)} baselines, "
        f"{len(plan.known)} known and up to {plan.trials:,} candidates for {_epochs_text(plan)}"
    )
    view.message(f"run directory: {_short(planned.directory)}")
    return _conclude(start_run(planned, resources, view))


def _epochs_text(plan: Plan) -> str:
    full = plan.recipe.epochs
    if plan.racing is None:
        return f"{full} epochs each"
    stops = ", ".join(map(str, plan.racing.rungs))
    return f"up to {full} epochs, of which the better continue after {stops}"


@click.command()
@run_dir_argument
@click.option(
    "--trials", type=click.IntRange(0, MOST_TRIALS), help="Another number of candidates. [default: as before]"
)
@click.option("--retry-failed", is_flag=True, help="Try failed trainings again.")
@budget_options
@session_options
def resume(
    directory: Path, trials: int | None, retry_failed: bool, resources: Resources, chosen: frozenset[str]
) -> int:
    """Resume the run in DIRECTORY: finished trials stay, interrupted ones continue from their last epoch.

    Options that are not given are as they were in the run's last session.
    """
    from rksearch.api import resume_run
    from rksearch.cli.live import ConsoleView

    view = ConsoleView(console())
    return _conclude(
        resume_run(directory, resources, chosen=chosen, trials=trials, retry_failed=retry_failed, view=view)
    )


@click.command()
@run_dir_argument
@click.option("--arch", "archs", multiple=True, metavar="NAME", help="Read for this one; may be repeated.")
@click.option(
    "--fresh",
    type=click.IntRange(0, MOST_SEEDS),
    default=0,
    show_default=True,
    help="Number of new trainings of each, on training and validation images together, to read with.",
)
@session_options
@json_option
def final(
    directory: Path,
    archs: tuple[str, ...],
    fresh: int,
    resources: Resources,
    chosen: frozenset[str],
    as_json: bool,
) -> int:
    """Read the test set for the findings of the run in DIRECTORY: the only command that does.

    Without --arch: for the baselines and the front. Each training is read once, and every reading is recorded. With
    --json, all readings of the run are printed at the end, and its progress goes to standard error.
    """
    from rksearch.api import final_run
    from rksearch.cli.live import ConsoleView

    view = ConsoleView(console(stderr=as_json))
    run = final_run(directory, archs, fresh=fresh, resources=resources, chosen=chosen, view=view)
    if as_json:
        click.echo(json.dumps(_readings_json(run), indent=2))
    return _conclude(run, quiet=as_json)


def _readings_json(run: Run) -> dict[str, Any]:
    """Readings of the test set as plain values: `run`, `state`, `report` and `tests` (see `TestResult`)."""
    from rksearch.results.codec import to_plain

    return {
        "run": run.history.name,
        "state": run.history.state,
        "report": str(run.path / "report.html"),
        "tests": to_plain(run.history.tests),
    }


@click.command()
@run_dir_argument
@json_option
@click.option("--follow", is_flag=True, help="Show it again whenever it has changed, until the run has ended.")
def status(directory: Path, as_json: bool, follow: bool) -> None:
    """Show the progress and the findings of the run in DIRECTORY; works while it runs.

    With --follow, a terminal is redrawn; elsewhere, and with --json, each state follows the last one: as JSON, one a
    line.
    """
    from rksearch.api import Run

    run = Run(directory)
    if follow:
        _follow(run, as_json)
    else:
        click.echo(_status_text(run.status(), as_json, indent=2))


def _status_text(found: RunStatus, as_json: bool, indent: int | None) -> str:
    from rksearch.report import format_status, status_json

    return json.dumps(status_json(found), indent=indent) if as_json else format_status(found)


def _follow(run: Run, as_json: bool) -> None:
    """Show the state of a run until it has ended or the user stops looking."""
    try:
        for found in run.watch():
            if not as_json and sys.stdout.isatty():
                click.clear()
            click.echo(_status_text(found, as_json, indent=None))
    except KeyboardInterrupt:
        click.echo()  # the run itself continues


@click.command()
@run_dir_argument
@click.option("--to", type=UserPath(file_okay=False), help="Directory for the report. [default: DIRECTORY]")
@click.option(
    "--figures",
    is_flag=True,
    help="Also write figures/: every figure as PNG, PDF and SVG at the width of a column, and tables for LaTeX.",
)
@click.option(
    "--calibrate",
    is_flag=True,
    help="Also simulate runs of this shape, and show how often the report's intervals and probabilities hold in them; "
    "takes minutes.",
)
@json_option
def report(directory: Path, to: Path | None, figures: bool, calibrate: bool, as_json: bool) -> None:
    """Write the report of the run in DIRECTORY from its ledger, finished or not."""
    from rksearch.api import Run
    from rksearch.cli.progress import progress
    from rksearch.results.codec import to_plain

    run = Run(directory)
    calibration = None
    if calibrate:
        with progress("simulated runs", run.simulations, quiet=as_json) as advance:
            calibration = run.calibrate(advance)
    paths = run.write_report(to, calibration=calibration)
    paths += run.write_figures(to) if figures else []
    if as_json:
        written = {"files": [str(path) for path in paths], "calibration": to_plain(calibration)}
        click.echo(json.dumps(written, indent=2))
        return
    for path in paths:
        click.echo(_short(path))


def _conclude(run: Run, *, quiet: bool = False) -> int:
    """Print the state of a run that has ended and the place of its report, unless `quiet`; return the exit code."""
    from rksearch.report import format_status

    interrupted = run.history.state == "interrupted"
    if not quiet:
        show(f"\n{format_status(run.status())}\n\nreport: {_short(run.path / 'report.html')}")
        if interrupted:
            show(f"interrupted; continue with: rksearch resume {_short(run.path)}")
    if interrupted:
        return EXIT_INTERRUPTED
    return EXIT_FAILURES if run.history.failed else 0


def _short(path: Path) -> str:
    """The path as text, relative to the working directory when it is inside it."""
    path = path.absolute()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
