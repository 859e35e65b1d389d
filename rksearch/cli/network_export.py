"""`rksearch export`: networks as files for use without rksearch's training."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rksearch.cli import completion
from rksearch.cli.options import dataset_option, is_given, json_option
from rksearch.cli.values import SEED, UserPath
from rksearch.errors import RksearchError

if TYPE_CHECKING:
    from rksearch.api.trained import TrainedNetwork
    from rksearch.data.facts import Dataset
    from rksearch.models import Network
    from rksearch.models.card import TrainingFacts


MOST_EXPORTED_PARAMS = 500_000_000
"""Parameters of the largest network that is exported with fresh weights."""


@click.command()
@click.argument("what", metavar="NAME|RUN:TRIAL|RUN", shell_complete=completion.exportable)
@click.option("--to", "directory", type=UserPath(file_okay=False), required=True, help="Directory to write.")
@click.option("--front", is_flag=True, help="Export the front of RUN: one directory beneath --to for each network.")
@dataset_option
@click.option("--seed", type=SEED, default=0, show_default=True, help="Seed of the weights, for NAME.")
@click.option("--program", is_flag=True, help="Also write a torch.export program, and check it.")
@click.option("--onnx", is_flag=True, help="Also write ONNX, and check it with onnxruntime.")
@json_option
def export(
    what: str,
    directory: Path,
    front: bool,
    dataset_name: str,
    seed: int,
    program: bool,
    onnx: bool,
    as_json: bool,
) -> None:
    """Export an architecture with fresh weights, a finished TRIAL with its own, or the front of run directory RUN.

    RUN:TRIAL also names what `rksearch train --out RUN` has left, by the id that it printed or by its directory in RUN.

    Writes safetensors weights, the spec as JSON and a model card; `rksearch.load(DIR)` returns the module.
    With --json, what was written is printed as a list with an entry for each network.
    """
    written = []
    for source in _sources(what, directory, front=front, dataset_name=dataset_name, seed=seed):
        written.append(_write(source, program=program, onnx=onnx))
        if not as_json:
            click.echo(_text(written[-1]))
    if as_json:
        click.echo(json.dumps(written, indent=2))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """A network to export: its weights' source in words, their training (None for fresh ones), where it is written."""

    network: Network
    data: Dataset
    origin: str
    training: TrainingFacts | None
    directory: Path


def _sources(what: str, directory: Path, *, front: bool, dataset_name: str, seed: int) -> Iterator[_Source]:
    """The networks to export.

    Raises:
        RksearchError: an option does not go with what is named.
    """
    from rksearch.api import trained

    if not front and trained.names_training(what) is None:
        yield _fresh(what, directory, dataset_name, seed)
        return
    for option in ("dataset_name", "seed"):
        if is_given(option):
            raise RksearchError(
                f"--{option.removesuffix('_name')} is for an architecture with fresh weights, but {what} names trained "
                "ones, which have their own; leave it out"
            )
    if front:
        from rksearch.api import Run
        from rksearch.results.files import file_name

        run = Run(what)
        for trial in trained.front_trials(run):
            found = trained.trained_in_run(run, trial)
            yield _trained(found, directory / file_name(str(found.network.spec)))
    else:
        yield _trained(trained.trained_network(what), directory)


def _fresh(name: str, directory: Path, dataset_name: str, seed: int) -> _Source:
    from rksearch.arch import parse
    from rksearch.arch.cost import cost
    from rksearch.data.facts import dataset
    from rksearch.results.run_dir import RunDir

    if RunDir(Path(name)).has_ledger:
        raise RksearchError(
            f"{name} is a run; name one of its trials, as in {name}:TRIAL, or add --front for its front"
        )
    spec, data = parse(name), dataset(dataset_name)
    if (params := cost(spec, data).params) > MOST_EXPORTED_PARAMS:
        raise RksearchError(
            f"a network to export may have at most {MOST_EXPORTED_PARAMS:,} parameters, but {spec} has {params:,}; "
            "choose a smaller one"
        )

    import torch

    from rksearch.models import build

    torch.manual_seed(seed)
    origin = f"as initialised with seed {seed}, not trained"
    return _Source(network=build(spec, data), data=data, origin=origin, training=None, directory=directory)


def _trained(found: TrainedNetwork, directory: Path) -> _Source:
    return _Source(
        network=found.network, data=found.data, origin=found.origin, training=found.facts, directory=directory
    )


def _write(source: _Source, *, program: bool, onnx: bool) -> dict[str, Any]:
    """Write an export.

    Returns:
        What `--json` prints of it: `arch`, `origin`, `directory`, `files`, and the `largest_differences` of logits
        between the programs and the module, by the programs' files.
    """
    from rksearch.models import export as exporting

    network, data, directory = source.network, source.data, source.directory
    exporting.export(network, network.spec, data, directory, origin=source.origin, training=source.training)
    differences: dict[str, float] = {}
    if program:
        differences[exporting.PROGRAM] = exporting.export_program(network, data, directory / exporting.PROGRAM)
    if onnx:
        differences[exporting.ONNX] = exporting.export_onnx(network, data, directory / exporting.ONNX)
    return {
        "arch": str(network.spec),
        "origin": source.origin,
        "directory": str(directory),
        "files": [exporting.WEIGHTS, exporting.SPEC, exporting.CARD, *differences],
        "largest_differences": differences,
    }


def _text(written: Mapping[str, Any]) -> str:
    """What was written, for people."""
    differences = written["largest_differences"]
    files = [name for name in written["files"] if name not in differences]
    lines = [f"{written['arch']}: {', '.join(files[:-1])} and {files[-1]} are in {written['directory']}"]
    lines += [f"{name}: logits agree, largest difference {found:.1e}" for name, found in differences.items()]
    return "\n".join(lines)
