"""`rksearch data`: data sets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rksearch.cli import completion
from rksearch.cli.options import json_option
from rksearch.cli.output import console, require_replaceable, write_file
from rksearch.cli.values import MOST_THREADS, UserPath
from rksearch.data.address import MAX_SIDE, PACKED_SIDE
from rksearch.errors import coded

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
    """List the registered data sets; one's own images are named by folder:PATH, npz:FILE or pack:FILE."""
    from rksearch.data.facts import datasets

    if as_json:
        click.echo(json.dumps([item.facts() for item in datasets], indent=2))
        return
    width = max(len(item.name) for item in datasets)
    for item in datasets:
        shape = f"{item.height} x {item.width} x {item.channels}"
        click.echo(f"{item.name:{width}}  {shape:13}  {item.classes:>5,} classes  {item.source}")


@data.command()
@click.argument("name", shell_complete=completion.datasets)
@click.option(
    "--to",
    "path",
    type=UserPath(dir_okay=False),
    required=True,
    help="The file to write, usually with the suffix .rkpack; an earlier pack is replaced.",
)
@click.option(
    "--side",
    type=click.IntRange(1, MAX_SIDE),
    default=PACKED_SIDE,
    show_default=True,
    help="Shorter side in pixels, at most.",
)
@click.option("--threads", type=click.IntRange(1, MOST_THREADS), help="Threads that decode. [default: one per core]")
@click.option("--data-dir", type=UserPath(file_okay=False), help="Directory of the data sets.")
@json_option
def pack(name: str, path: Path, side: int, threads: int | None, data_dir: Path | None, as_json: bool) -> None:
    """Write the images of data set NAME, resized, to one file that loads faster; then name it as pack:FILE.

    Images that cannot be read are left out, counted and listed.
    """

    from rich.progress import Progress

    from rksearch.data.facts import dataset
    from rksearch.data.images import load_data
    from rksearch.data.locations import data_home
    from rksearch.data.pack import MAGIC
    from rksearch.data.packing import write_pack
    from rksearch.data.pictures import Stored
    from rksearch.errors import DataError
    from rksearch.results.files import begins_with
    from rksearch.search.reservations import cpus_here

    require_replaceable(path, lambda own: begins_with(own, MAGIC))
    facts = dataset(name)
    images = load_data(facts, data_home(data_dir), download=False) if facts.streamed else None
    if not isinstance(images, Stored):
        raise DataError(
            f"packs are for images that are streamed, but those of {facts.name} are held in memory; for a folder add "
            "stream=yes, as in folder:PATH,size=224,stream=yes"
        )
    with Progress(console=console(stderr=True), disable=as_json, transient=True) as progress:
        task = progress.add_task("images", total=len(images.train) + len(images.test))
        written = write_pack(
            facts,
            images,
            path,
            side=side,
            threads=threads or cpus_here(),
            on_image=lambda: progress.advance(task),
        )
    for skipped in written.skipped:
        click.echo(f"rksearch: left out, since it cannot be read: {skipped}", err=True)
    if as_json:
        plain = {"path": str(path), "images": written.images, "file_bytes": written.file_bytes}
        click.echo(json.dumps({**plain, "skipped": list(written.skipped)}, indent=2))
        return
    skips = f", {len(written.skipped):,} skipped" if written.skipped else ""
    click.echo(f"{written.images:,} images in {path} ({written.file_bytes / 1e6:,.1f} MB{skips}); name it pack:{path}")


@data.command()
@click.argument("path", type=UserPath(dir_okay=False))
def verify(path: Path) -> None:
    """Compare all checksums of the pack PATH."""
    from rksearch.data.pack import open_pack

    found = open_pack(path)
    found.verify()
    click.echo(f"{path} is as it was written: {len(found.images.train) + len(found.images.test):,} images")


@data.command()
@click.argument("name", shell_complete=completion.datasets)
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
    from rksearch.data.images import load_data, split
    from rksearch.data.inspection import SHEET_MARK, contact_sheet, inspect
    from rksearch.data.locations import data_home
    from rksearch.results.own_files import is_marked

    if sheet is not None:
        require_replaceable(sheet, lambda path: is_marked(path, SHEET_MARK))
    facts = dataset(name)
    images = load_data(facts, data_home(data_dir), download=not no_download)
    found = inspect(facts, images, split(facts, images))
    if sheet is not None:
        write_file(sheet, contact_sheet(facts, images), "the contact sheet")
    if as_json:
        click.echo(json.dumps(_plain(facts, found), indent=2))
        return
    for label, value in _lines(facts, found):
        click.echo(coded(f"{label:16}  {value}"))  # a pack of somebody else's may state any text


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
        ("measured", f"mean {_numbers(found.mean)}, deviation {_numbers(found.std)}, on {_measured_on(found)}"),
        ("split", f"{found.split[:16]} (SHA-256 of the indices, first 16 digits)"),
        ("fingerprint", facts.fingerprint or ""),
    ]
    lines += [("note", note) for note in dict.fromkeys((*facts.notes, *found.notes))]
    for part, counts in found.counts.items():
        lines.append((part, f"{sum(counts):,} images, {min(counts):,} to {max(counts):,} of a class"))
    if facts.classes <= MOST_CLASSES:
        for label, name in enumerate(names):
            numbers = ", ".join(f"{counts[label]:,} {part}" for part, counts in found.counts.items())
            lines.append((f"class {label}", f"{name}: {numbers}"))
    if not found.duplicates:
        lines.append(("duplicates", "not looked for, since the images are streamed"))
    for pair, item in found.duplicates.items():
        lines.append((pair, f"{item.exact:,} images of the second are in the first, {item.near:,} more nearly"))
    return [(label, value) for label, value in lines if value]


def _measured_on(found: Inspection) -> str:
    return "the images to train on" if found.sample is None else f"{found.sample:,} of the images to train on"


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)
