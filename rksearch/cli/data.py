"""`rksearch data`: data sets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rksearch.cli.options import json_option
from rksearch.cli.values import UserPath

if TYPE_CHECKING:
    from rksearch.data.facts import Dataset
    from rksearch.data.inspection import Inspection

MOST_CLASSES = 20
"""Classes whose counts are printed one by one; --json has all."""


@click.group()
def data() -> None:
    """Inspect data sets."""


@data.command("list")
@json_option
def list_data(as_json: bool) -> None:
    """List the registered data sets; one's own images are named by folder:PATH or npz:FILE."""
    from rksearch.data.facts import datasets

    if as_json:
        click.echo(json.dumps([item.facts() for item in datasets], indent=2))
        return
    width = max(len(item.name) for item in datasets)
    for item in datasets:
        shape = f"{item.height} x {item.width} x {item.channels}"
        click.echo(f"{item.name:{width}}  {shape:13}  {item.classes:>5,} classes  {item.source}")


@data.command()
@click.argument("name")
@click.option(
    "--contact-sheet",
    "sheet",
    type=UserPath(dir_okay=False),
    help="Also write a picture with images of each class, as a PNG file.",
)
@click.option("--data-dir", type=UserPath(file_okay=False), help="Directory of the data sets.")
@click.option("--no-download", is_flag=True, help="Fail when the data set is missing, instead of downloading it.")
@json_option
def show(name: str, sheet: Path | None, data_dir: Path | None, no_download: bool, as_json: bool) -> None:
    """Count and measure the images of data set NAME, and look for duplicates between its parts.

    Duplicates have equal pixels; near duplicates have average hashes (8 x 8 bits) that differ in one bit at most.
    """
    from rksearch.data.facts import dataset
    from rksearch.data.images import load_images, split
    from rksearch.data.inspection import inspect, write_contact_sheet
    from rksearch.data.locations import data_home

    facts = dataset(name)
    images = load_images(facts, data_home(data_dir), download=not no_download)
    found = inspect(facts, images, split(facts, images))
    if sheet is not None:
        write_contact_sheet(images, facts.classes, sheet)
    if as_json:
        click.echo(json.dumps(_plain(facts, found), indent=2))
        return
    for label, value in _lines(facts, found):
        click.echo(f"{label:16}  {value}")


def _plain(facts: Dataset, found: Inspection) -> dict[str, Any]:
    from dataclasses import asdict

    return {"facts": facts.facts(), "measured": asdict(found)}


def _lines(facts: Dataset, found: Inspection) -> list[tuple[str, str]]:
    names = facts.class_names or tuple(map(str, range(facts.classes)))
    lines = [
        ("data set", facts.name),
        ("images", f"{facts.height} x {facts.width}, {facts.channels} channel{'s' if facts.channels > 1 else ''}"),
        ("source", facts.source),
        ("licence", facts.licence),
        ("citation", facts.citation),
        ("normalisation", f"mean {_numbers(facts.mean)}, deviation {_numbers(facts.std)}: {facts.normalisation}"),
        ("measured", f"mean {_numbers(found.mean)}, deviation {_numbers(found.std)}, on the images to train on"),
        ("split", f"{found.split[:16]} (SHA-256 of the indices, first 16 digits)"),
        ("fingerprint", facts.fingerprint or ""),
    ]
    lines += [("note", note) for note in facts.notes]
    for part, counts in found.counts.items():
        lines.append((part, f"{sum(counts):,} images, {min(counts):,} to {max(counts):,} of a class"))
    if facts.classes <= MOST_CLASSES:
        for label, name in enumerate(names):
            numbers = ", ".join(f"{counts[label]:,} {part}" for part, counts in found.counts.items())
            lines.append((f"class {label}", f"{name}: {numbers}"))
    for pair, item in found.duplicates.items():
        lines.append((pair, f"{item.exact:,} images of the second are in the first, {item.near:,} more nearly"))
    return [(label, value) for label, value in lines if value]


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)
