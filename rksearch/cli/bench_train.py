"""`rksearch bench train` and `bench optimisations`: speed of training, and the gain by each optimisation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rksearch.cli import completion
from rksearch.cli.options import compile_option, device_option, json_option, precision_option
from rksearch.cli.output import require_measurement, write_file
from rksearch.cli.values import MOST_BATCH, MOST_PROCESSES, MOST_ROUNDS, MOST_THREADS, SEED, UserPath
from rksearch.data.facts import DEFAULT_DATASET
from rksearch.training.engine.words import AUTO

if TYPE_CHECKING:
    from rksearch.bench.ratios import Ratio
    from rksearch.bench.settings import BenchSettings
    from rksearch.bench.train import NetworkBench
    from rksearch.training.throughput import ImageSource

ROUNDS = 5
"""Measurements of each thing, where none of them is a short turn."""


def _replaceable(ctx: click.Context, param: click.Parameter, path: Path | None) -> Path | None:
    """The path, looked at before anything is measured."""
    if path is not None:
        require_measurement(path)
    return path


to_option = click.option(
    "--to",
    "path",
    type=UserPath(dir_okay=False),
    callback=_replaceable,
    help="Also write all figures here, as JSON.",
)
trained_dataset_option = click.option(
    "--dataset",
    "dataset_name",
    default=DEFAULT_DATASET,
    show_default=True,
    shell_complete=completion.datasets,
    help="Data set: sets shapes and augmentation.",
)
threads_option = click.option(
    "--threads", type=click.IntRange(1, MOST_THREADS), help="CPU threads. [default: all CPUs of the process]"
)
batch_option = click.option(
    "--batch-size", type=click.IntRange(2, MOST_BATCH), default=64, show_default=True, help="Images in a step."
)

cpu_time_option = click.option(
    "--cpu-time",
    is_flag=True,
    help="Measure processor time: for one CPU thread on a machine that is busy otherwise.",
)


@click.command("train")
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=completion.architectures)
@trained_dataset_option
@click.option(
    "--data-dir",
    type=UserPath(file_okay=False),
    help="Train on the real images that lie here. [default: random pixels, which take the same time]",
)
@device_option
@precision_option
@compile_option("off")
@batch_option
@click.option(
    "--rounds",
    type=click.IntRange(1, MOST_ROUNDS),
    help="Turns of each. [default: 60; 5 with --concurrent or --together]",
)
@click.option(
    "--steps",
    type=click.IntRange(1, MOST_ROUNDS),
    help="Timed steps of a turn. [default: 4; an epoch of 20 with --concurrent or --together]",
)
@threads_option
@click.option(
    "--workers",
    type=click.IntRange(0, MOST_PROCESSES),
    help="Processes of the plain loop's DataLoader. [default: 2 on a GPU; 0 on a CPU, whose cores they would take]",
)
@cpu_time_option
@click.option(
    "--concurrent",
    metavar="N,N,...",
    help="Measure the summed throughput of N of our trainings at a time instead, each in a process of its own.",
)
@click.option(
    "--together",
    metavar="N,N,...",
    help="Likewise for N seeds at a time, as one program in one process.",
)
@click.option("--seed", type=SEED, default=0, show_default=True, help="Seed of weights and random images.")
@json_option
@to_option
def bench_training(
    names: tuple[str, ...],
    dataset_name: str,
    data_dir: Path | None,
    device: str,
    precision: str,
    compile_: str,
    batch_size: int,
    rounds: int | None,
    steps: int | None,
    threads: int | None,
    workers: int | None,
    cpu_time: bool,
    concurrent: str | None,
    together: str | None,
    seed: int,
    as_json: bool,
    path: Path | None,
) -> None:
    """Train architectures NAME... by a plain PyTorch loop, a tuned one and ours, in turns, and compare.

    The tuned loop, of torch alone, has images on the device, autocast, channels last and, with --compile, a compiled
    module. The default networks are a narrow RKNet, DenseNet-BC-100-k12 and ResNet-20.
    """
    from rksearch.bench.train import NAMES
    from rksearch.training.throughput import STEPS

    at_a_time = concurrent is not None or together is not None
    numbers = {"rounds": ROUNDS, "steps": STEPS} if at_a_time else {}
    numbers |= {name: given for name, given in (("rounds", rounds), ("steps", steps)) if given is not None}
    source, settings = _prepare(
        dataset_name,
        data_dir,
        device,
        precision,
        compile_,
        threads,
        {"batch_size": batch_size, "seed": seed, "cpu_time": cpu_time, **numbers},
        workers,
    )
    chosen = names or NAMES
    if at_a_time:
        if workers is not None:
            raise click.UsageError(
                "--concurrent and --together measure our trainings alone, and --workers is of the plain loop's "
                "DataLoader; leave --workers out"
            )
        found = _concurrent(chosen, concurrent, together, source, settings, quiet=as_json)
    else:
        from rksearch.bench.train import bench_train

        found = bench_train(chosen, source, settings, None if as_json else _show)
    output(found, as_json, path)


@click.command("optimisations")
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=completion.architectures)
@trained_dataset_option
@device_option
@precision_option
@compile_option()
@batch_option
@click.option("--rounds", type=click.IntRange(1, MOST_ROUNDS), default=ROUNDS, show_default=True, help="Turns of each.")
@threads_option
@cpu_time_option
@click.option("--seed", type=SEED, default=0, show_default=True, help="Seed of weights and random images.")
@json_option
@to_option
def bench_each_optimisation(
    names: tuple[str, ...],
    dataset_name: str,
    device: str,
    precision: str,
    compile_: str,
    batch_size: int,
    rounds: int,
    threads: int | None,
    cpu_time: bool,
    seed: int,
    as_json: bool,
    path: Path | None,
) -> None:
    """Measure each optimisation of training alone: architectures NAME... with it and without it.

    Those inside of a dense block or a time-step are measured on one, forward and backward.
    """
    from rksearch.bench.optimisations import SpeedUp, bench_optimisations
    from rksearch.bench.train import NAMES

    source, settings = _prepare(
        dataset_name,
        None,
        device,
        precision,
        compile_,
        threads,
        {"batch_size": batch_size, "rounds": rounds, "seed": seed, "cpu_time": cpu_time},
        0,
    )

    def show(speed_up: SpeedUp) -> None:
        name, found = speed_up.optimisation, speed_up.measured
        click.echo(
            f"{name:42} {speed_up.subject:36} predicted {speed_up.predicted:.2f}x, measured {found.median:.2f}x "
            f"({found.low:.2f} to {found.high:.2f})"
        )

    output(bench_optimisations(names or NAMES, source, settings, None if as_json else show), as_json, path)


def _prepare(
    dataset_name: str,
    data_dir: Path | None,
    device: str,
    precision: str,
    compile_: str,
    threads: int | None,
    numbers: dict[str, Any],
    workers: int | None,
) -> tuple[ImageSource, BenchSettings]:
    """The images to train on, and the settings of the measurement."""
    import torch

    from rksearch.bench.settings import BenchSettings
    from rksearch.data.facts import dataset
    from rksearch.data.images import load_images
    from rksearch.search.reservations import cpus_here
    from rksearch.training.engine.compiling import missing_compiler
    from rksearch.training.engine.device import resolve_device, resolve_precision
    from rksearch.training.throughput import ImageSource

    torch.set_num_threads(threads or cpus_here())
    there = resolve_device(device)
    if numbers["cpu_time"] and (there.type != "cpu" or torch.get_num_threads() != 1):
        raise click.UsageError("--cpu-time is honest on a CPU with one thread only; add --device cpu --threads 1")
    data = dataset(dataset_name)
    images = None
    if data_dir is not None:
        loaded = load_images(data, data_dir, download=False)
        images = (loaded.train_images, loaded.train_labels)
    settings = BenchSettings(
        device=there,
        precision=resolve_precision(precision, there),
        workers=workers if workers is not None else (2 if there.type == "cuda" else 0),
        compiled=compile_ == "on" or (compile_ == AUTO and missing_compiler(there) is None),
        **numbers,
    )
    return ImageSource(data, images, settings.seed), settings


def _concurrent(
    names: tuple[str, ...],
    processes: str | None,
    seeds: str | None,
    source: ImageSource,
    settings: BenchSettings,
    *,
    quiet: bool,
) -> dict[str, Any]:
    """Measure several trainings at a time."""
    from rksearch.bench.concurrent import Concurrency, bench_concurrent
    from rksearch.training.throughput import Arrangement

    arrangements = [Arrangement(processes=count) for count in _counts(processes, "--concurrent")]
    arrangements += [Arrangement(seeds=count) for count in _counts(seeds, "--together")]
    if settings.compiled:
        raise click.UsageError(
            "--concurrent and --together measure trainings that are not compiled; leave --compile out"
        )
    if settings.cpu_time:
        raise click.UsageError(
            "--concurrent and --together measure what a machine does in a time of the clock; leave --cpu-time out"
        )

    def show(one: Concurrency) -> None:
        rate = one.images_per_s
        how = f"{one.processes} at a time" if one.seeds == 1 else f"{one.seeds} seeds together"
        click.echo(
            f"{one.name}  {how}, {one.threads} threads a process: {rate.median:,.0f} images/s in all "
            f"({rate.low:,.0f} to {rate.high:,.0f})  {one.times_one:.2f}x"
        )

    return bench_concurrent(names, arrangements, source, settings, None if quiet else show)


def _counts(text: str | None, option: str) -> list[int]:
    """Numbers of trainings, such as 1,2,4,8."""
    if text is None:
        return []
    try:
        numbers = [int(count) for count in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1 or max(numbers) > MOST_PROCESSES:
        raise click.BadParameter(
            f"numbers of trainings from 1 to {MOST_PROCESSES:,}, such as 1,2,4,8, but got {text[:100]!r}",
            param_hint=option,
        )
    return numbers


def _show(bench: NetworkBench) -> None:
    """One network's figures as a table."""
    click.echo(
        f"{bench.name}  {bench.params:,} params, {bench.macs:,} MACs, turns of {bench.steps} steps; ratios are medians "
        "with 95 % intervals, and the ratio of the shortest turns"
    )
    for name, side in bench.sides.items():
        rate = side.images_per_s
        memory = f"{_mib(side.peak_mem_bytes)} MiB at most"
        memory += f" ({_mib(bench.predicted_mem_bytes)} predicted)" if name == "ours" else ""
        click.echo(
            f"  {name:14} {rate.median:>9,.0f} images/s (best {rate.high:,.0f})  {ratio_text(side.times_plain)} plain  "
            f"{ratio_text(side.times_tuned)} tuned  {memory}  {100 * side.share_of_bound:.0f} % of the roofline"
            + (f"  prepared in {side.prepare_s:.0f} s" if side.prepare_s >= 1 else "")
        )
    rates = ", ".join(f"{rate.median:,.0f} {name}" for name, rate in bench.pipeline_images_per_s.items())
    click.echo(f"  data alone, images/s: {rates}")
    if bench.pays_from_images is not None:
        click.echo(f"  compiling ours has paid after {bench.pays_from_images:,} images")


def ratio_text(ratio: Ratio) -> str:
    """Such as `1.32x (1.28 to 1.37; best 1.30)`."""
    return f"{ratio.median:.2f}x ({ratio.low:.2f} to {ratio.high:.2f}; best {ratio.of_minima:.2f})"


def _mib(number: int) -> str:
    return f"{number / 2**20:,.1f}"


def output(found: dict[str, Any], as_json: bool, path: Path | None) -> None:
    """Print or write the figures, with where they come from."""
    from rksearch.results.environment import current_environment

    text = json.dumps({**found, "environment": current_environment().flat()}, indent=2)
    if as_json:
        click.echo(text)
    if path is not None:
        write_file(path, f"{text}\n".encode(), "the file of figures")
