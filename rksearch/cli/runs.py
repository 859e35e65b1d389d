"""`rksearch run`, `resume`, `final`, `status` and `report`: runs and their reports."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rksearch.cli import completion
from rksearch.cli.exits import EXIT_FAILURES, EXIT_INTERRUPTED
from rksearch.cli.options import (
    SamplerName,
    budget_options,
    json_option,
    paper_recipe_option,
    run_dir_argument,
    session_options,
)
from rksearch.cli.output import console, show
from rksearch.cli.values import SEED, UserPath
from rksearch.search.limits import MOST_EPOCHS, MOST_SEEDS, MOST_TRIALS
from rksearch.search.samplers.registry import samplers
from rksearch.space.plan import DEFAULT_WINDOW, OBJECTIVES, SEEDS_AGAIN

if TYPE_CHECKING:
    from rksearch.api import Run
    from rksearch.results.status import RunStatus
    from rksearch.search.resources import Resources


@click.command()
@click.option(
    "--space",
    "space_name",
    required=True,
    shell_complete=completion.spaces,
    help="A shipped space's name, or the path of a YAML file.",
)
@click.option(
    "--out",
    type=UserPath(file_okay=False),
    help="Run directory; an existing one is resumed. [default: reports/SPACE-N, N the first free number]",
)
@click.option("--trials", type=click.IntRange(0, MOST_TRIALS), help="Number of candidates. [default: the space's]")
@click.option(
    "--recipe",
    "recipe_name",
    shell_complete=completion.recipes,
    help="A shipped recipe's name, or the path of a YAML file. [default: the space's]",
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
    shell_complete=completion.samplers,
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
    "the same command on the same kind of device writes the same ledger, times and free memory aside. Slots wait where "
    f"more than N could be trained at a time. [alone: {DEFAULT_WINDOW}]",
)
@click.option(
    "--start",
    multiple=True,
    metavar="NAME",
    shell_complete=completion.architectures,
    help="An architecture to propose first; may be repeated.",
)
@click.option(
    "--import",
    "imports",
    multiple=True,
    type=UserPath(),
    metavar="DIR",
    help="Begin with the findings of the run in DIR; may be repeated.",
)
@click.option("--dry-run", is_flag=True, help="Say what the run would cost here, from a few measured steps; then stop.")
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
    dry_run: bool,
    resources: Resources,
    chosen: frozenset[str],
) -> int:
    """Search a space: train its networks and the baselines, and report the Pareto front.

    Before anything trains, the run says what it will cost.

    ctrl-C, a crash or a kill lose no finished epoch: the same command with the same --out, or `rksearch resume`,
    continues. The exit code is 0 when the run is finished or stopped by its budget of time, 3 when some of its
    trainings failed, 130 when it was interrupted.
    """
    from rksearch import api
    from rksearch.cli.live import ConsoleView

    wishes: dict[str, Any] = {
        "trials": trials,
        "recipe": recipe_name,
        "epochs": epochs,
        "seeds": seeds,
        "replicates": replicates,
        "objectives": objectives or None,
        "sampler": sampler,
        "sampler_seed": sampler_seed,
        "racing": racing,
        "control": control,
        "deterministic": deterministic,
        "start": start,
        "imports": imports,
        "resources": resources,
    }
    if dry_run:
        click.echo(str(api.forecast(space_name, **wishes)))
        return 0
    return _conclude(api.run(space_name, out=out, progress=ConsoleView(console()), **wishes))


@click.command()
@run_dir_argument
@click.option(
    "--trials", type=click.IntRange(0, MOST_TRIALS), help="Another number of candidates. [default: as before]"
)
@click.option("--retry-failed", is_flag=True, help="Try failed trainings again.")
@click.option(
    "--seeds",
    type=click.IntRange(1, MOST_SEEDS),
    help="More trainings of each network on the front and of the baselines; --replicates then count beyond these. "
    "[default: as before]",
)
@click.option(
    "--replicates",
    type=click.IntRange(0, MOST_TRIALS),
    help="Another total of further trainings where the front is uncertain. [default: as before]",
)
@click.option(
    "--baseline",
    "baselines",
    multiple=True,
    metavar="NAME",
    shell_complete=completion.architectures,
    help="A further baseline; may be repeated.",
)
@budget_options
@session_options
def resume(
    directory: Path,
    trials: int | None,
    retry_failed: bool,
    seeds: int | None,
    replicates: int | None,
    baselines: tuple[str, ...],
    resources: Resources,
    chosen: frozenset[str],
) -> int:
    """Resume the run in DIRECTORY: finished trials stay, interrupted ones continue from their last epoch.

    Options that are not given are as they were in the run's last session. A run can be extended: by candidates, seeds,
    replicates and baselines.
    """
    from rksearch.api import resume_run
    from rksearch.cli.live import ConsoleView
    from rksearch.search.continuing import Extension

    extension = Extension(trials=trials, final_seeds=seeds, replicates=replicates, baselines=baselines)
    view = ConsoleView(console())
    return _conclude(
        resume_run(directory, resources, chosen=chosen, extension=extension, retry_failed=retry_failed, view=view)
    )


@click.command()
@run_dir_argument
@click.option(
    "--arch",
    "archs",
    multiple=True,
    metavar="NAME",
    shell_complete=completion.architectures,
    help="Read for this one; may be repeated.",
)
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
    """Read the test set for the findings of the run in DIRECTORY; no other command reads it for a run.

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
@click.option("--front", is_flag=True, help="Train the networks on its fronts, of parameters and of MACs.")
@click.option(
    "--arch",
    "archs",
    multiple=True,
    metavar="NAME",
    shell_complete=completion.architectures,
    help="Train this one too; may be repeated.",
)
@paper_recipe_option
@click.option(
    "--epochs", type=click.IntRange(1, MOST_EPOCHS), help="Epochs of a whole training. [default: the recipe's]"
)
@click.option(
    "--seeds",
    type=click.IntRange(1, MOST_SEEDS),
    default=SEEDS_AGAIN,
    show_default=True,
    help="Trainings of each network.",
)
@click.option(
    "--out",
    type=UserPath(file_okay=False),
    help="Run directory; an existing one is resumed. [default: reports/RUN-again-N, N the first free number]",
)
@budget_options
@session_options
def retrain(
    directory: Path,
    front: bool,
    archs: tuple[str, ...],
    recipe_name: str,
    epochs: int | None,
    seeds: int,
    out: Path | None,
    resources: Resources,
    chosen: frozenset[str],
) -> int:
    """Train the winners of the run in DIRECTORY again, for longer, beside its baselines: a run of its own.

    It trains on all training images that are not held out for validation. Its report sets short beside long trainings;
    `rksearch final` on it reads the test set for all of its networks, once, and decides nothing.
    """
    from rksearch import api
    from rksearch.cli.live import ConsoleView

    if not front and not archs:
        raise click.UsageError("say what to train again: give --front, or --arch NAME")
    view = ConsoleView(console())
    return _conclude(
        api.retrain(
            directory,
            front=front,
            archs=archs,
            recipe=recipe_name,
            epochs=epochs,
            seeds=seeds,
            out=out,
            resources=resources,
            progress=view,
        )
    )


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
    from rksearch.api import Run, shown_path
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
        click.echo(shown_path(path))


def _conclude(run: Run, *, quiet: bool = False) -> int:
    """Print the state of a run whose session has ended and the place of its report, unless `quiet`.

    Returns:
        The exit code, which is that of the session.
    """
    from rksearch.api import shown_path
    from rksearch.report import format_status

    state = run.history.state
    if not quiet:
        show(f"\n{format_status(run.status())}\n\nreport: {shown_path(run.path / 'report.html')}")
        if state == "interrupted":
            what = "interrupted" if run.ending == "interrupted" else "the search was interrupted before"
            show(f"{what}; continue with: rksearch resume {shown_path(run.path)}")
        elif state == "stopped":
            show(
                f"stopped by its budget of time ({run.history.message}), with work left; give it more with: "
                f"rksearch resume {shown_path(run.path)}"
            )
    if run.ending == "interrupted":
        return EXIT_INTERRUPTED
    return EXIT_FAILURES if run.history.failed else 0
