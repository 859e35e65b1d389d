"""`rksearch describe` and `rksearch train`: one architecture at a time."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rksearch.arch import ArchSpec, Period, Steps, family_of, parse
from rksearch.cli import completion
from rksearch.cli.options import compile_option, dataset_option, execution_options, json_option, paper_recipe_option
from rksearch.cli.output import require_replaceable, show, write_file
from rksearch.cli.values import MOST_THREADS, SEED, UserPath
from rksearch.data.facts import Dataset, dataset
from rksearch.errors import RksearchError
from rksearch.recipes.shipped import PAPER_RECIPE
from rksearch.search.limits import MOST_EPOCHS, MOST_IMAGES

if TYPE_CHECKING:
    from rksearch.api import Trained
    from rksearch.arch.cost import Cost, Witness
    from rksearch.results.records import Epoch


MOST_WITNESSED = {"layers (norms and pools included)": 1_000, "parameters": 200_000_000, "MACs": 100_000_000_000}
"""Size of the largest network that is built to count beside the arithmetic: within about half a minute."""


@click.command()
@click.argument("name", shell_complete=completion.architectures)
@dataset_option
@json_option
@click.option("--draw", "picture", type=UserPath(dir_okay=False), help="Also write a drawing, as an SVG file.")
def describe(name: str, dataset_name: str, as_json: bool, picture: Path | None) -> None:
    """Print the layers, shapes and costs of architecture NAME, and what the built model and fvcore count.

    A network that would take minutes to build and to count is counted by arithmetic alone, and a line says so.
    """
    from rksearch.arch.cost import cost, executed_macs

    spec, data = parse(name), dataset(dataset_name)
    if picture is not None:
        from rksearch.report.drawing import draw
        from rksearch.results.own_files import is_own_picture

        require_replaceable(picture, is_own_picture)
        write_file(picture, draw(spec, data, data.name).encode(), "the drawing")
    counted = cost(spec, data)
    witnessed = _witness(spec, data, counted)
    if as_json:
        click.echo(json.dumps(_description(spec, data, counted, witnessed), indent=2))
    else:
        _print_layers(spec, data)
        _print_methods(spec)
        _print_costs(counted, executed_macs(spec, data), witnessed)
        if witnessed.agree is None:
            click.echo(f"{'witnesses':13} {'left out':>15}  {_too_large(spec, data, counted)}")
        _print_memory(spec, data)
    if witnessed.agree is False:
        raise RksearchError(
            f"the arithmetic and the built model must agree, but {spec} has {counted} and {witnessed}; report this"
        )


def _too_large(spec: ArchSpec, data: Dataset, counted: Cost) -> str | None:
    """Why a network is not built to be counted; None where it is."""
    from rksearch.arch.layout import layout

    sizes = (len(layout(spec, data).rows), counted.params, counted.macs)
    for (what, most), size in zip(MOST_WITNESSED.items(), sizes, strict=True):
        if size > most:
            return f"networks of at most {most:,} {what} are built to be counted, but this one has {size:,}"
    return None


def _witness(spec: ArchSpec, data: Dataset, counted: Cost) -> Witness:
    """What the built network counts; nothing where it is too large to be built."""
    from rksearch.arch.cost import Witness, executed_macs

    if _too_large(spec, data, counted):
        return Witness()
    from rksearch.models import build
    from rksearch.models.witness import witness

    return witness(build(spec, data), data, counted, executed_macs(spec, data))


def _description(spec: ArchSpec, data: Dataset, counted: Cost, witnessed: Witness) -> dict[str, Any]:
    from rksearch.arch.cost import executed_macs

    family = family_of(spec)
    return {
        "name": str(spec),
        "family": spec.family,
        "growth_rate": family.growth_rate(spec),
        "periods": [_period_json(p) for p in family.periods(spec)],
        "dataset": data.name,
        **counted._asdict(),
        "executed_macs": executed_macs(spec, data),
        "witness": asdict(witnessed),
        "memory": _memory(spec, data),
    }


def _memory(spec: ArchSpec, data: Dataset) -> list[dict[str, Any]]:
    """Predicted bytes of training in both precisions, with and without recomputation, at the paper's batch size."""
    from rksearch.recipes.shipped import recipe
    from rksearch.training.engine.precision import Precision
    from rksearch.training.memory import footprint

    batch_size = recipe(PAPER_RECIPE).batch_size
    precisions: tuple[Precision, ...] = ("fp32", "bf16")
    found = []
    for precision in precisions:
        for recompute in (False, True):
            predicted = footprint(spec, data, batch_size, precision, recompute=recompute)
            found.append(
                {
                    "precision": precision,
                    "recompute": recompute,
                    "batch_size": batch_size,
                    "activation_bytes": predicted.activations,
                    "step_peak_bytes": predicted.step_peak,
                }
            )
    return found


def _print_memory(spec: ArchSpec, data: Dataset) -> None:
    for item in _memory(spec, data):
        how = f"{item['precision']}, batch {item['batch_size']}{', recomputing' if item['recompute'] else ''}"
        click.echo(
            f"{'memory':13} {item['step_peak_bytes'] / 2**20:>11,.1f} MiB  predicted peak of a training step, "
            f"{item['activation_bytes'] / 2**20:,.1f} MiB of it activations; {how}"
        )


def _period_json(period: Steps) -> dict[str, Any]:
    plain: dict[str, Any] = {"m": period.m} if isinstance(period, Period) else {}
    plain |= {"s": period.s, "r": period.r, "share": period.share}
    return plain if period.solver is None else {**plain, "solver": asdict(period.solver)}


def _print_methods(spec: ArchSpec) -> None:
    """The tableau of every period that has one."""
    from rksearch.report.drawing import method_lines

    for i, period in enumerate(family_of(spec).periods(spec), 1):
        if period.solver is not None:
            click.echo(f"\nperiod{i}: " + "\n         ".join(method_lines(period)))


def _print_layers(spec: ArchSpec, data: Dataset) -> None:
    from rksearch.arch.cost import row_cost
    from rksearch.arch.layout import layout

    rows = layout(spec, data).rows
    width = max(len(row.path) for row in rows)
    click.echo(f"{spec}  ({spec.family}, {data.name})\n")
    click.echo(f"{'layer':{width}}  {'kind':11}  {'in':>14}  {'out':>14}  {'params':>10}  {'MACs':>13}")
    for row in rows:
        if row.kind == "coefficients":
            click.echo(f"{row.path:{width}}  {row.kind:11}  {'':>14}  {'':>14}  {row.numbers:>10,}")
            continue
        c = row_cost(row)
        shape_in = f"{row.in_channels}x{row.in_size.height}x{row.in_size.width}"
        shape_out = f"{row.out_channels}x{row.out_size.height}x{row.out_size.width}"
        kind = f"conv{row.kernel}x{row.kernel}" if row.kind == "conv" else row.kind
        note = "" if row.owns_weights else f"  weights of {row.weight}"
        click.echo(
            f"{row.path:{width}}  {kind:11}  {shape_in:>14}  {shape_out:>14}  {c.params:>10,}  {c.macs:>13,}{note}"
        )


def _print_costs(counted: Cost, executed: int, witnessed: Witness) -> None:
    fvcore, built = witnessed.fvcore_flops, witnessed.agree is not None
    lines = [
        ("params", counted.params, "all parameters", f"built model: {witnessed.params:,}" if built else ""),
        ("params_paper", counted.params_paper, "without batch norm, as the RKNet paper counts", ""),
        ("macs", counted.macs, "multiply-adds of convolutions and linear layers, one image, as defined", ""),
        (
            "executed_macs",
            executed,
            f"as executed, {_less(counted.macs, executed)}",
            f"torch: {witnessed.executed_macs:,}" if built else "",
        ),
        (
            "fvcore_flops",
            counted.fvcore_flops,
            "by fvcore's convention: with batch norm and global pooling",
            f"fvcore: {fvcore:,}" if fvcore is not None else "fvcore: not installed" if built else "",
        ),
    ]
    click.echo()
    for name, value, meaning, seen in lines:
        click.echo(f"{name:13} {value:>15,}  {meaning}{'; ' + seen if seen else ''}")
    if built:
        click.echo(f"{'witnesses':13} {'agree' if witnessed.agree else 'DISAGREE':>15}")


def _less(defined: int, executed: int) -> str:
    """How much less is executed than defined, and why."""
    if executed == defined:
        return "the same"
    return f"{100 * (1 - executed / defined):.1f} % less, because transitions pool before they convolve"


@click.command()
@click.argument("name", shell_complete=completion.architectures)
@dataset_option
@paper_recipe_option
@click.option(
    "--epochs", type=click.IntRange(1, MOST_EPOCHS), help="Passes over the training images. [default: the recipe's]"
)
@click.option(
    "--train-images", type=click.IntRange(1, MOST_IMAGES), help="Train on a stratified subset. [default: all]"
)
@click.option("--seed", "replicate", type=SEED, default=0, show_default=True, help="Replicate number.")
@click.option("--threads", type=click.IntRange(1, MOST_THREADS), help="CPU threads. [default: all CPUs of the process]")
@click.option("--test", "read_test", is_flag=True, help="Read the test set once at the end.")
@click.option(
    "--out",
    type=UserPath(file_okay=False),
    default=Path("work"),
    show_default=True,
    help="Directory in which each training has one, named by what was asked; the same command resumes from it.",
)
@compile_option()
@execution_options
@json_option
def train(
    name: str,
    dataset_name: str,
    recipe_name: str,
    epochs: int | None,
    train_images: int | None,
    replicate: int,
    threads: int | None,
    read_test: bool,
    out: Path,
    compile_: str,
    data_dir: Path | None,
    no_download: bool,
    device: str,
    precision: str,
    as_json: bool,
) -> None:
    """Train architecture NAME alone, without Ray, and print its curve.

    With --json, the curve goes to standard error and the result to standard output.
    """
    from rksearch import api
    from rksearch.cli.wording import classes_text, tested_text, validated_text
    from rksearch.recipes.shipped import recipe
    from rksearch.report import text

    own = api.default_execution(out, data_dir)
    execution = replace(
        own,
        device=device,
        precision=precision,
        threads=threads or own.threads,
        compile=compile_,
        download=not no_download,
    )
    facts = dataset(dataset_name)
    for note in facts.notes:
        click.echo(f"rksearch: {dataset_name}: {note}", err=True)
    chosen = recipe(recipe_name, **({"epochs": epochs} if epochs else {}))

    def show_epoch(epoch: Epoch) -> None:
        show(
            f"epoch {epoch.epoch:>3}/{chosen.epochs}  lr {epoch.lr:.4f}  train loss {epoch.train_loss:.4f}  "
            f"train error {epoch.train_error_pct:6.2f} %  {validated_text(epoch)}  "
            f"{epoch.train_time_s:.1f} s",
            stderr=as_json,
        )

    trained = api.train(
        name,
        execution,
        dataset=dataset_name,
        recipe=chosen,
        train_images=train_images,
        replicate=replicate,
        read_test=read_test,
        on_epoch=show_epoch,
    )
    if as_json:
        show(json.dumps(_trained_json(trained), indent=2))
        return
    result = trained.result
    if lost := (*(result.unreadable or ()), *((trained.test and trained.test.unreadable) or ())):
        click.echo(f"rksearch: {dataset_name}: {text.unreadable(lost)}", err=True)
    if result.compile_reason:
        show(f"the training steps were {result.compile_reason}")
    show(
        f"{trained.spec.id}: {validated_text(result.epochs[-1])} after {len(result.epochs)} epochs, "
        f"{result.params:,} params, {result.macs:,} MACs, {result.precision} on {result.device}"
    )
    if result.val_confusion is not None:
        show(f"  validation, {classes_text(result.val_confusion, facts.class_names)}")
    if trained.test is not None:
        show(f"{tested_text(trained.test)} on {trained.test.test_images:,} images")
        show(f"  test, {classes_text(trained.test.test_confusion, facts.class_names)}")
    show(f"{trained.directory} holds it; `rksearch export {out}:{trained.directory.name} --to DIR` exports it")


def _trained_json(trained: Trained) -> dict[str, Any]:
    """A training that has ended as plain values.

    They are `trial`, `seed`, `spec`, `result`, `test` (null when not read), and the `directory` that holds it.
    """
    from rksearch.results.codec import to_plain

    return {
        "trial": trained.spec.id,
        "seed": trained.spec.seed,
        "spec": to_plain(trained.spec),
        "result": to_plain(trained.result),
        "test": to_plain(trained.test),
        "directory": str(trained.directory),
    }
