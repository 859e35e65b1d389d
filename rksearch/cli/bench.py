"""`rksearch bench`: measurements of rksearch itself."""

from __future__ import annotations

import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from rksearch.cli.bench_data import bench_data
from rksearch.cli.bench_latency import bench_latency
from rksearch.cli.bench_recipes import bench_recipes
from rksearch.cli.bench_run import bench_run_command
from rksearch.cli.bench_train import bench_each_optimisation, bench_training, output
from rksearch.cli.options import dataset_option, is_given, json_option
from rksearch.cli.progress import progress
from rksearch.cli.values import MOST_PROCESSES, MOST_ROUNDS, SEED, UserPath
from rksearch.search.limits import MOST_SEEDS, MOST_TRIALS

if TYPE_CHECKING:
    from rksearch.bench.replay.table import Table


DEFAULT_TABLE = "reports/digits_table"
"""Table of `bench search`, in rksearch's repository."""


@click.group()
def bench() -> None:
    """Measure the speed of rksearch's own parts."""


bench.add_command(bench_data)
bench.add_command(bench_latency)
bench.add_command(bench_recipes)
bench.add_command(bench_run_command)
bench.add_command(bench_training)
bench.add_command(bench_each_optimisation)


@bench.command("cost")
@dataset_option
@click.option(
    "--candidates",
    type=click.IntRange(1, MOST_TRIALS),
    default=2_000_000,
    show_default=True,
    help="Networks whose costs are counted at once.",
)
@click.option(
    "--sample",
    type=click.IntRange(1, MOST_TRIALS),
    default=10,
    show_default=True,
    help="Networks to build and count with fvcore.",
)
@click.option("--seed", type=SEED, default=0, show_default=True, help="The same seed draws the same networks.")
@json_option
def bench_costs(dataset_name: str, candidates: int, sample: int, seed: int, as_json: bool) -> None:
    """Count the costs of random networks in closed form; build some of them and count with fvcore beside it."""
    from dataclasses import asdict

    from rksearch.bench.costing import bench_cost
    from rksearch.data.facts import dataset
    from rksearch.errors import RksearchError

    found = bench_cost(dataset(dataset_name), candidates=candidates, sample=sample, seed=seed)
    if as_json:
        click.echo(json.dumps(asdict(found), indent=2))
    else:
        lines = [
            ("vectorised", f"{found.vectorised_per_s:,.0f} networks a second ({found.candidates:,} counted)"),
            ("closed form", f"{found.single_us:,.1f} us a network"),
            ("layout rows", f"{found.layout_us:,.1f} us a network"),
            ("built + fvcore", f"{found.built_us:,.0f} us a network ({found.sample} built)"),
            ("ratio", f"closed form is {found.ratio:,.0f} times faster than building and counting"),
            ("mismatches", f"{found.mismatches} of {found.sample}"),
        ]
        for label, text in lines:
            click.echo(f"{label:14}  {text}")
    if found.mismatches:
        raise RksearchError(
            f"closed form, layout, torch and fvcore must agree, but {found.mismatches} networks differ; report this"
        )


@bench.command("search")
@click.option(
    "--table",
    "table_name",
    metavar="DIRECTORY|NAME",
    default=DEFAULT_TABLE,
    show_default=True,
    help="A run whose ledger holds every member of its space with two or more seeds each; or one of the made-up large "
    "tables synthetic-quiet and synthetic-noisy.",
)
@click.option(
    "--handed-out",
    type=click.IntRange(1, MOST_SEEDS),
    help="Seeds of each member that strategies may see; the others judge. [default: half of them, rounded down]",
)
@click.option("--made-up", "made_up", metavar="SPACE", help="Use made-up errors for this space instead of a table.")
@click.option("--made-up-seed", type=SEED, default=0, show_default=True, help="Seed of the made-up errors.")
@click.option(
    "--out",
    type=UserPath(file_okay=False),
    help="Directory for the replays, which are resumed there, the tables, the pictures and the page. "
    "[default: reports/search_benchmark/TABLE]",
)
@click.option(
    "--repetitions", type=click.IntRange(1, MOST_ROUNDS), default=100, show_default=True, help="Replays of each."
)
@click.option(
    "--strategies", help="Names, separated by commas; random+smallest is always added. [default: all that can play]"
)
@click.option(
    "--start",
    type=click.Choice(["same", "own", "both"]),
    default="both",
    show_default=True,
    help="The smallest member first and baselines known for all; or each as it comes.",
)
@click.option(
    "--trainings",
    type=click.IntRange(1, MOST_TRIALS),
    help="Budget of each strategy, in full trainings. [default: a quarter of the table's members, at most 80]",
)
@click.option(
    "--slots", type=click.IntRange(1, MOST_PROCESSES), default=2, show_default=True, help="Number of virtual workers."
)
@click.option("--jobs", type=click.IntRange(1, MOST_PROCESSES), help="Number of processes. [default: one per core]")
@click.option("--overhead", is_flag=True, help="Measure the time of a proposal and the driver's memory instead.")
@json_option
def bench_search(
    table_name: str,
    handed_out: int | None,
    made_up: str | None,
    made_up_seed: int,
    out: Path | None,
    repetitions: int,
    strategies: str | None,
    start: str,
    trainings: int | None,
    slots: int,
    jobs: int | None,
    overhead: bool,
    as_json: bool,
) -> None:
    """Replay search strategies on a table of real trainings: hypervolume against epochs, with and without racing.

    The strategies run the search's own code on virtual workers; rivals are replayed beside them. Each replay is written
    as it ends: the same command again plays what is missing.
    """
    from rksearch.results.environment import current_environment
    from rksearch.search.reservations import cpus_here

    if overhead:
        _refuse_options("is for replays, which --overhead does not play", but=("overhead", "as_json"))
        from rksearch.bench.replay.proposal_time import measure_overhead, measure_rival, overhead_text
        from rksearch.bench.scheduling import sleep_run, sleep_text
        from rksearch.results.codec import to_plain

        costs, rivals = measure_overhead(), measure_rival()
        with TemporaryDirectory() as scratch:
            slept = sleep_run(Path(scratch) / "run", trials=1000, trial_s=0.02, slots=2)
        if not as_json:
            click.echo(f"{overhead_text(costs, rivals)}\n{sleep_text(slept)}")
        output(to_plain({"proposals": costs, "rivals": rivals, "sleeping": slept}), as_json, None)
        return
    from rksearch.bench.replay.comparison import compared
    from rksearch.bench.replay.judging import STARTS, Judge
    from rksearch.bench.replay.page import require_own_files, standings_text, to_json, write_comparison
    from rksearch.bench.replay.replays import conditions_of, replay_all, turns_of
    from rksearch.bench.replay.store import opened
    from rksearch.bench.replay.strategies import chosen_strategies

    if made_up is not None and is_given("table_name"):
        raise click.UsageError(f"give one of --table and --made-up, but got {table_name} and {made_up}")
    table = _table(table_name, handed_out, made_up, made_up_seed)
    names = chosen_strategies(strategies, real=table.real)
    conditions = conditions_of(table, slots=slots, trainings=trainings)
    judge = Judge(table)  # before anything is played: a table that cannot be judged is refused
    turns = turns_of(names, [own for own in STARTS if start in (own, "both")], repetitions=repetitions)
    environment = current_environment()
    place = f"made-up-{Path(made_up).stem}" if made_up is not None else Path(os.path.realpath(table_name)).name
    directory = out or Path("reports/search_benchmark") / place
    require_own_files(directory)
    with opened(directory, conditions, commit=environment.code) as store:
        missing = [turn for turn in turns if turn not in store.results]
        with progress("replays", len(missing), quiet=as_json) as advance:
            for replay in replay_all(conditions, missing, jobs=jobs or cpus_here()):
                store.add(replay)
                advance()
        found = compared(conditions, judge, [store.results[turn] for turn in turns])
        measured = {**environment.flat(), "played_with": sorted(store.commits)}
        paths = write_comparison(found, directory, measured)
    if as_json:
        click.echo(json.dumps(to_json(found, measured), indent=2))
    else:
        click.echo(standings_text(found))
        for path in paths:
            click.echo(path)


def _refuse_options(reason: str, *, but: tuple[str, ...]) -> None:
    """Refuse every option of the command that is running but these.

    Raises:
        click.UsageError: one was given.
    """
    for option in click.get_current_context().command.params:
        if option.name is not None and option.name not in but and is_given(option.name):
            raise click.UsageError(f"{option.opts[0]} {reason}; leave one of them out")


def _table(name: str, handed_out: int | None, made_up: str | None, seed: int) -> Table:
    """The table that the options ask for."""
    from rksearch.bench.replay.synthetic import SURFACES, surface, synthetic_table
    from rksearch.bench.replay.table import load_table
    from rksearch.errors import RunError
    from rksearch.space import load_space

    if made_up is None and not name.startswith("synthetic-"):
        if name == DEFAULT_TABLE and not Path(name).is_dir():
            raise RunError(
                f"a table is a run whose ledger holds every member of its space, but {name} is not here: it lies in "
                "rksearch's repository; give the path of that one or of another with --table, or take a made-up one "
                f"(--table {' or '.join(SURFACES)})"
            )
        if is_given("made_up_seed"):
            raise RunError(
                f"the errors of a run's table are measured, but got --made-up-seed {seed} with {name}; leave that "
                "option out, or take a made-up table"
            )
        return load_table(Path(name), handed_out=handed_out)
    if handed_out is not None:
        raise RunError(
            f"a made-up table is judged by its latent errors, but got --handed-out {handed_out}; leave that option out"
        )
    return synthetic_table(load_space(made_up), seed=seed) if made_up is not None else surface(name, seed=seed)
