"""`rksearch bench`: measurements of rksearch itself."""

from __future__ import annotations

import json

import click

from rksearch.cli.bench_train import bench_every_lever, bench_training
from rksearch.cli.options import json_option


@click.group()
def bench() -> None:
    """Measure how fast rksearch's own parts are."""


bench.add_command(bench_training)
bench.add_command(bench_every_lever)


@bench.command("cost")
@click.option("--dataset", "dataset_name", default="cifar10", show_default=True, help="What the networks are for.")
@click.option(
    "--candidates", type=click.IntRange(min=1), default=2_000_000, show_default=True, help="Networks priced at once."
)
@click.option(
    "--sample", type=click.IntRange(min=1), default=10, show_default=True, help="Networks built and counted by fvcore."
)
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed draws the same networks.")
@json_option
def bench_costs(dataset_name: str, candidates: int, sample: int, seed: int, as_json: bool) -> None:
    """Price random networks in closed form, and build some of them and count with fvcore, side by side."""
    from dataclasses import asdict

    from rksearch.cost_bench import bench_cost
    from rksearch.datasets import dataset
    from rksearch.errors import RksearchError

    found = bench_cost(dataset(dataset_name), candidates=candidates, sample=sample, seed=seed)
    if as_json:
        click.echo(json.dumps(asdict(found), indent=2))
    else:
        lines = [
            ("vectorised", f"{found.vectorised_per_s:,.0f} networks a second ({found.candidates:,} priced)"),
            ("closed form", f"{found.single_us:,.1f} us a network"),
            ("layout rows", f"{found.layout_us:,.1f} us a network"),
            ("built + fvcore", f"{found.built_us:,.0f} us a network ({found.sample} built)"),
            ("ratio", f"closed form is {found.ratio:,.0f} times faster than building and counting"),
            ("mismatches", f"{found.mismatches} of {found.sample}"),
        ]
        for label, text in lines:
            click.echo(f"{label:14}  {text}")
    if found.mismatches:
        raise RksearchError(
            f"closed form, layout, torch and fvcore must agree, but {found.mismatches} networks differ; report this"
        )
