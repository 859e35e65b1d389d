"""`rksearch bench data`: whether streamed images keep up with training."""

from __future__ import annotations

import json
from pathlib import Path

import click

from rksearch.cli import completion
from rksearch.cli.options import device_option, json_option, precision_option
from rksearch.cli.values import MOST_BATCH, MOST_PROCESSES, FiniteNumber, UserPath


@click.command("data")
@click.argument("dataset_name", metavar="DATASET", shell_complete=completion.datasets)
@click.option(
    "--arch",
    "name",
    default="DenseNet-121",
    show_default=True,
    shell_complete=completion.architectures,
    help="The network that trains.",
)
@click.option(
    "--recipe",
    "recipe_name",
    default="paper_imagenet_256",
    show_default=True,
    shell_complete=completion.recipes,
    help="Recipe whose augmentation is measured: a name, or the path of a YAML file.",
)
@click.option(
    "--batch-size", type=click.IntRange(2, MOST_BATCH), default=32, show_default=True, help="Images of a batch."
)
@click.option(
    "--workers", type=click.IntRange(0, MOST_PROCESSES), help="Processes that read images. [default: the CPUs]"
)
@click.option(
    "--seconds", type=FiniteNumber(min=0.1, max=86_400), default=5.0, show_default=True, help="Time of each rate."
)
@click.option("--data-dir", type=UserPath(file_okay=False), help="Directory of the data sets.")
@device_option
@precision_option
@json_option
def bench_data(
    dataset_name: str,
    name: str,
    recipe_name: str,
    batch_size: int,
    workers: int | None,
    seconds: float,
    data_dir: Path | None,
    device: str,
    precision: str,
    as_json: bool,
) -> None:
    """Measure how fast images of a streamed data set are decoded and augmented, and what limits a training on them."""
    from dataclasses import asdict

    from rksearch.arch import parse
    from rksearch.bench.feeding import bench_feeding
    from rksearch.data.facts import dataset
    from rksearch.data.images import load_data
    from rksearch.data.locations import data_home
    from rksearch.data.pictures import Stored
    from rksearch.errors import DataError
    from rksearch.recipes.shipped import recipe
    from rksearch.results.environment import current_environment
    from rksearch.search.reservations import cpus_here
    from rksearch.training.engine.device import resolve_device, resolve_precision
    from rksearch.training.trainer import augmentation_of, check_images_suit

    data, chosen = dataset(dataset_name), recipe(recipe_name)
    if not data.streamed:
        raise DataError(
            f"this measures images that are streamed, but those of {data.name} are held in memory, where reading them "
            "costs nothing; for a folder add stream=yes, as in folder:PATH,size=224,stream=yes"
        )
    check_images_suit(chosen, dataset_name)
    images = load_data(data, data_home(data_dir), download=False)
    assert isinstance(images, Stored)
    there = resolve_device(device)
    found = bench_feeding(
        parse(name),
        data,
        images,
        augmentation=augmentation_of(chosen),
        batch_size=batch_size,
        device=there,
        precision=resolve_precision(precision, there),
        workers=cpus_here() if workers is None else workers,
        window_s=seconds,
    )
    if as_json:
        measured = {"environment": current_environment().flat(), **asdict(found), "limit": found.limit}
        click.echo(json.dumps(measured, indent=2))
        return
    readers = f"{found.workers} worker{'s' if found.workers > 1 else ''}" if found.workers else "the process itself"
    for label, text in (
        ("decode", f"{found.decode:,.1f} images a second on one CPU"),
        ("augment", f"{found.augment:,.1f} images a second on one CPU"),
        ("deliver", f"{found.deliver:,.1f} images a second by {readers}, decoded and augmented"),
        ("train", f"{found.train:,.1f} images a second: {name}, batch {batch_size}, on {there.type}"),
        ("limit", found.limit),
    ):
        click.echo(f"{label:8}  {text}")
