"""`rksearch export`: a network as files for other people's code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rksearch.cli.architecture import dataset_option
from rksearch.errors import RunError, nearest

if TYPE_CHECKING:
    from rksearch.results.records import TrialSpec


@click.command()
@click.argument("what", metavar="NAME|RUN:TRIAL")
@click.option(
    "--to", "directory", type=click.Path(path_type=Path, file_okay=False), required=True, help="Directory to write."
)
@dataset_option
@click.option("--seed", type=int, default=0, show_default=True, help="Of the weights, when NAME is given.")
@click.option("--program", is_flag=True, help="Also write a torch.export program, and check it.")
@click.option("--onnx", is_flag=True, help="Also write ONNX, and check it with onnxruntime.")
def export(what: str, directory: Path, dataset_name: str, seed: int, program: bool, onnx: bool) -> None:
    """Export an architecture with fresh weights, or the finished TRIAL of run directory RUN with its own.

    Writes safetensors weights, the spec as JSON and a model card; `rksearch.load(DIR)` gives the module back.
    """
    from rksearch.arch import parse
    from rksearch.data.facts import dataset

    run, colon, trial = what.rpartition(":")
    chosen = _trial(Path(run), trial) if colon else None
    spec, data = parse(chosen.arch if chosen else what), dataset(chosen.dataset if chosen else dataset_name)

    import torch

    from rksearch.models import build
    from rksearch.models import export as exporting
    from rksearch.results.run_dir import RunDir
    from rksearch.training.trial import finished_weights

    torch.manual_seed(seed)
    model = build(spec, data)
    origin = f"as initialised with seed {seed}, not trained"
    if chosen:
        model.load_state_dict(finished_weights(chosen, RunDir(Path(run)).work, _mirrored(Path(run))))
        origin = f"last epoch of trial {chosen.id}, {chosen.recipe.epochs} epochs on {chosen.dataset}"
    exporting.export(model, spec, data, directory, origin=origin)
    click.echo(f"{spec}: {exporting.WEIGHTS}, {exporting.SPEC} and {exporting.CARD} are in {directory}")
    if program:
        difference = exporting.export_program(model, data, directory / exporting.PROGRAM)
        click.echo(f"{exporting.PROGRAM}: logits agree, largest difference {difference:.1e}")
    if onnx:
        difference = exporting.export_onnx(model, data, directory / exporting.ONNX)
        click.echo(f"{exporting.ONNX}: logits agree, largest difference {difference:.1e}")


def _mirrored(run: Path) -> str | None:
    """Where the run mirrored its checkpoints in its last session, if anywhere."""
    from rksearch.results.ledger import Ledger
    from rksearch.search.driver import mirror_address

    history = Ledger(run).read()
    return mirror_address(history, history.sessions[-1].options.get("storage") if history.sessions else None)


def _trial(run: Path, trial: str) -> TrialSpec:
    from rksearch.results.run_dir import read_run

    trials = read_run(run).trials
    if trial not in trials:
        raise RunError(f"a trial that finished in {run} is needed, but got {trial!r}{nearest(trial, trials)}")
    return trials[trial][0]
