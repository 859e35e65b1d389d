"""`rksearch selftest`: whether this installation keeps what it promises when it is disturbed."""

from __future__ import annotations

from pathlib import Path

import click

from rksearch.cli.options import is_given
from rksearch.cli.values import SEED, UserPath

MOST_FAULTS = 100_000


@click.command()
@click.option(
    "--faults",
    type=click.IntRange(1, MOST_FAULTS),
    metavar="N",
    help="Inject N random faults into small runs and compare each with the undisturbed run; takes about a minute each.",
)
@click.option("--seed", type=SEED, default=0, show_default=True, help="Seed of kinds and moments of the faults.")
@click.option("--kind", "kinds", multiple=True, help="Kind of fault to choose from; may be repeated. [default: all]")
@click.option(
    "--out",
    type=UserPath(file_okay=False),
    help="Directory of the injections and their report; one that holds some is continued. [default: selftest]",
)
@click.option("--data-dir", type=UserPath(file_okay=False), help="Directory of data sets. [default: as for `run`]")
def selftest(faults: int | None, seed: int, kinds: tuple[str, ...], out: Path | None, data_dir: Path | None) -> int:
    """Check that trainings, checkpoints, the ledger and a killed run keep their promises, in one to two minutes.

    With --faults: kills, signals, suspensions and damaged files at random moments of runs. The exit code is 0 when all
    is as it should be, else 1. The same command continues after an interruption.
    """
    from rksearch.data.locations import data_home

    place = data_home(data_dir).absolute()
    if faults is None:
        from rksearch.bench.selftest import check_text
        from rksearch.bench.selftest import selftest as checks

        if kinds or out is not None or is_given("seed"):
            raise click.UsageError("--seed, --kind and --out belong to --faults")
        problems = 0
        for check in checks(place):
            click.echo(check_text(check))
            problems += check.problem is not None
        return 1 if problems else 0
    from rksearch.bench.reliability import REPORT, inject_faults
    from rksearch.search.stopping import StopRequest, stop_signals

    directory = out or Path("selftest")
    with stop_signals(StopRequest()):  # so that the run of an injection ends with this command
        found = inject_faults(directory, count=faults, seed=seed, kinds=kinds, data_dir=place, show=click.echo)
    bad = sum(one.problem is not None for one in found)
    click.echo(f"{len(found)} faults, {bad} not as it should be; report: {directory / REPORT}")
    return 1 if bad else 0
