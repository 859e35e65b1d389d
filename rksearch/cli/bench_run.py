"""`rksearch bench run`: a whole run measured, against tuned loops."""

from __future__ import annotations

from pathlib import Path

import click

from rksearch.cli import completion
from rksearch.cli.bench_train import output, to_option
from rksearch.cli.options import compile_option, device_option, json_option, precision_option
from rksearch.cli.values import MOST_PROCESSES, MOST_ROUNDS, UserPath
from rksearch.search.limits import MOST_EPOCHS, MOST_IMAGES


@click.command("run")
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=completion.architectures)
@click.option(
    "--epochs", type=click.IntRange(1, MOST_EPOCHS), default=6, show_default=True, help="Epochs of each training."
)
@click.option(
    "--train-images",
    type=click.IntRange(10, MOST_IMAGES),
    default=8_000,
    show_default=True,
    help="Training images of each.",
)
@click.option(
    "--slots",
    type=click.IntRange(1, MOST_PROCESSES),
    help="Trials, and loops, at a time; at most the CPUs. [default: the CPUs]",
)
@click.option(
    "--rounds", type=click.IntRange(1, MOST_ROUNDS), default=3, show_default=True, help="Measurements of each."
)
@click.option(
    "--data-dir",
    type=UserPath(file_okay=False, exists=True),
    help="Directory of CIFAR-10. [default: random pixels, which take the same time]",
)
@device_option
@precision_option
@compile_option("off")
@json_option
@to_option
def bench_run_command(
    names: tuple[str, ...],
    epochs: int,
    train_images: int,
    slots: int | None,
    rounds: int,
    data_dir: Path | None,
    device: str,
    precision: str,
    compile_: str,
    as_json: bool,
    path: Path | None,
) -> None:
    """Measure a run of architectures NAME... from the command to its end, and say where its slots' seconds go.

    Beside it: one tuned loop with all threads that trains them one after another, and as many as there are slots.
    """
    from rksearch.bench.whole_run import NETWORKS, WholeRun, bench_run, run_text
    from rksearch.search.reservations import cpus_here

    asked = WholeRun(
        networks=names or NETWORKS,
        epochs=epochs,
        train_images=train_images,
        slots=slots or cpus_here(),
        rounds=rounds,
        data_dir=None if data_dir is None else str(data_dir.absolute()),
        device=device,
        precision=precision,
        compile=compile_,
    )

    def show(name: str, seconds: float) -> None:
        click.echo(f"{name}: {seconds:.1f} s")

    found = bench_run(asked, None if as_json else show)
    if not as_json:
        click.echo(run_text(found))
    output(found, as_json, path)
