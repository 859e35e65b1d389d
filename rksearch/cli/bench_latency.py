"""`rksearch bench latency`: time of inference."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click

from rksearch.cli import completion
from rksearch.cli.options import dataset_option, device_option, json_option, precision_option
from rksearch.cli.values import MOST_BATCH, MOST_THREADS


@click.command("latency")
@click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=completion.architectures)
@dataset_option
@click.option(
    "--batch-size",
    "batch_sizes",
    type=click.IntRange(1, MOST_BATCH),
    multiple=True,
    default=(1, 256),
    show_default=True,
    help="Images in a pass; may be repeated.",
)
@click.option("--threads", type=click.IntRange(1, MOST_THREADS), default=1, show_default=True, help="CPU threads.")
@device_option
@precision_option
@json_option
def bench_latency(
    names: tuple[str, ...],
    dataset_name: str,
    batch_sizes: tuple[int, ...],
    threads: int,
    device: str,
    precision: str,
    as_json: bool,
) -> None:
    """Time inference of the architectures NAME, each in a fresh process: median and interquartile range."""
    from rksearch.arch import parse
    from rksearch.results.environment import current_environment
    from rksearch.training.latency import measure_latency

    archs = [str(parse(name)) for name in names]
    measured: list[dict[str, Any]] = []
    for arch in archs:
        for item in measure_latency(
            arch, dataset_name, device=device, precision=precision, batch_sizes=batch_sizes, threads=threads
        ):
            measured.append({"arch": arch, "dataset": dataset_name, **asdict(item)})
            if not as_json:
                click.echo(
                    f"{arch}  batch {item.batch_size}: median {item.median_ms:,.3f} ms, IQR {item.iqr_ms:,.3f} ms "
                    f"({item.repetitions} passes, {item.precision} on {item.device}, {item.threads} threads)"
                )
    if as_json:
        click.echo(json.dumps({"environment": current_environment().flat(), "latency": measured}, indent=2))
