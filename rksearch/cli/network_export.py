"""`rksearch export`: a network as files for use without rksearch's training."""

from __future__ import annotations

import json
from pathlib import Path

import click

from rksearch.cli.options import dataset_option, json_option
from rksearch.cli.values import SEED, UserPath


@click.command()
@click.argument("what", metavar="NAME|RUN:TRIAL")
@click.option("--to", "directory", type=UserPath(file_okay=False), required=True, help="Directory to write.")
@dataset_option
@click.option("--seed", type=SEED, default=0, show_default=True, help="Seed of the weights, for NAME.")
@click.option("--program", is_flag=True, help="Also write a torch.export program, and check it.")
@click.option("--onnx", is_flag=True, help="Also write ONNX, and check it with onnxruntime.")
@json_option
def export(what: str, directory: Path, dataset_name: str, seed: int, program: bool, onnx: bool, as_json: bool) -> None:
    """Export an architecture with fresh weights, or the finished TRIAL of run directory RUN with its own.

    Writes safetensors weights, the spec as JSON and a model card; `rksearch.load(DIR)` returns the module.
    """
    from rksearch.arch import parse
    from rksearch.data.facts import dataset

    run_path, colon, trial_id = what.rpartition(":")
    if colon:
        from rksearch.api import Run

        run = Run(run_path)
        chosen = run.trial(trial_id)
        recorded = run.history.data
        spec, data = parse(chosen.arch), recorded.dataset if recorded else dataset(chosen.dataset)
    else:
        spec, data = parse(what), dataset(dataset_name)

    import torch

    from rksearch.models import build
    from rksearch.models import export as exporting

    torch.manual_seed(seed)
    model = build(spec, data)
    origin = f"as initialised with seed {seed}, not trained"
    if colon:
        model.load_state_dict(run.weights(trial_id))
        origin = f"last epoch of trial {chosen.id}, {chosen.recipe.epochs} epochs on {chosen.dataset}"
    exporting.export(model, spec, data, directory, origin=origin)
    files, differences = [exporting.WEIGHTS, exporting.SPEC, exporting.CARD], dict[str, float]()
    if program:
        differences[exporting.PROGRAM] = exporting.export_program(model, data, directory / exporting.PROGRAM)
    if onnx:
        differences[exporting.ONNX] = exporting.export_onnx(model, data, directory / exporting.ONNX)
    if as_json:
        written = {"arch": str(spec), "origin": origin, "directory": str(directory), "files": [*files, *differences]}
        click.echo(json.dumps({**written, "largest_differences": differences}, indent=2))
        return
    click.echo(f"{spec}: {', '.join(files[:-1])} and {files[-1]} are in {directory}")
    for name, difference in differences.items():
        click.echo(f"{name}: logits agree, largest difference {difference:.1e}")
