"""`rksearch bench recipes`: recipes compared on real trainings."""

from __future__ import annotations

import json
from pathlib import Path

import click

from rksearch.cli import completion
from rksearch.cli.options import dataset_option, device_option, json_option, precision_option
from rksearch.cli.values import MOST_PROCESSES, UserPath
from rksearch.search.limits import MOST_EPOCHS, MOST_IMAGES, MOST_SEEDS


class Lengths(click.ParamType):  # type: ignore[type-arg]  # generic in the newest Click alone
    """Numbers of epochs, separated by commas."""

    name = "N,N,..."

    def convert(
        self, value: str | tuple[int, ...], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """The numbers, ascending.

        Raises:
            click.BadParameter: one is not a whole number from 1 to `MOST_EPOCHS`.
        """
        if isinstance(value, tuple):
            return value
        parts = value.split(",")
        if not all(part.strip().isdecimal() and len(part) < 100 and 1 <= int(part) <= MOST_EPOCHS for part in parts):
            self.fail(f"lengths must be whole numbers from 1 to {MOST_EPOCHS:,}, but got {value[:100]!r}; write 2,4,8")
        return tuple(sorted({int(part) for part in parts}))


@click.command("recipes")
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=completion.architectures)
@click.option(
    "--recipe",
    "recipe_names",
    multiple=True,
    default=("short", "fast"),
    show_default=True,
    metavar="NAME|FILE",
    shell_complete=completion.recipes,
    help="A recipe; give the option again for each. The others are compared with the first.",
)
@click.option(
    "--each-term",
    is_flag=True,
    help="Train by the last recipe, and by it with each of its terms replaced by the first recipe's.",
)
@click.option("--epochs", type=Lengths(), default="2,4,8,16", show_default=True, help="Lengths of the trainings.")
@click.option(
    "--seeds", type=click.IntRange(1, MOST_SEEDS), default=2, show_default=True, help="Seeds of the longest trainings."
)
@dataset_option
@click.option(
    "--train-images", type=click.IntRange(1, MOST_IMAGES), default=8_000, show_default=True, help="Images of an epoch."
)
@click.option("--data-dir", type=UserPath(file_okay=False), help="Directory of the data sets.")
@click.option("--no-download", is_flag=True, help="Fail instead of downloading missing images.")
@device_option
@precision_option
@click.option("--jobs", type=click.IntRange(1, MOST_PROCESSES), help="Trainings at a time. [default: one per core]")
@click.option(
    "--out",
    type=UserPath(file_okay=False),
    default=Path("reports/recipes"),
    show_default=True,
    help="Directory for the trainings, which are resumed there, and the page.",
)
@json_option
def bench_recipes(
    names: tuple[str, ...],
    recipe_names: tuple[str, ...],
    each_term: bool,
    epochs: tuple[int, ...],
    seeds: int,
    dataset_name: str,
    train_images: int,
    data_dir: Path | None,
    no_download: bool,
    device: str,
    precision: str,
    jobs: int | None,
    out: Path,
    as_json: bool,
) -> None:
    """Train architectures NAME... by several recipes for several lengths, and compare errors, times and rankings.

    The default networks are twelve of neighbouring sizes, three baselines among them. Each training is written as it
    ends: the same command again trains what is missing.
    """
    from rksearch.arch import parse
    from rksearch.bench.recipes.judging import judged
    from rksearch.bench.recipes.page import lengths_text, require_own_files, to_json, write_recipes
    from rksearch.bench.recipes.trainings import (
        NETWORKS,
        RecipeConditions,
        RecipeTraining,
        train_all,
        wanted_trainings,
        without_each_term,
    )
    from rksearch.bench.store import Store
    from rksearch.data.facts import dataset
    from rksearch.data.images import load_data, split
    from rksearch.data.locations import data_home
    from rksearch.recipes.shipped import recipe
    from rksearch.results.environment import current_environment
    from rksearch.search.reservations import cpus_here
    from rksearch.training.engine.device import resolve_device, resolve_precision
    from rksearch.training.trainer import check_images_suit

    networks = tuple(dict.fromkeys(parse(name).name for name in names or NETWORKS))
    if len(networks) < 3:
        raise click.UsageError(f"a ranking needs three networks or more, but got {len(networks)}; name more")
    chosen = [recipe(name) for name in recipe_names]
    if len(chosen) < 2 or len({one.name for one in chosen}) < len(chosen):
        raise click.UsageError(
            f"recipes must be two or more of different names, but got {', '.join(recipe_names)}; give --recipe twice"
        )
    terms = without_each_term(chosen[-1], chosen[0]) if each_term else {one.name: one for one in chosen}
    resolved = resolve_device(device)
    conditions = RecipeConditions(
        dataset=dataset_name,
        train_images=train_images,
        recipes=terms,
        device=resolved.type,
        precision=resolve_precision(precision, resolved),
    )
    for one in terms.values():
        check_images_suit(one, dataset_name)
    facts, place = dataset(dataset_name), data_home(data_dir)
    split(facts, load_data(facts, place, download=not no_download), train_images)
    environment = current_environment()
    wanted = wanted_trainings(tuple(terms), networks, epochs, seeds=seeds)
    require_own_files(out)
    path = out / "trainings.jsonl"
    with Store(
        path, "training", RecipeTraining, lambda one: one.wanted, conditions.record(), commit=environment.code
    ) as store:
        missing = [one for one in wanted if one not in store.results]
        processes = jobs or (cpus_here() if resolved.type == "cpu" else 1)
        on_gpu = resolved.type == "cuda" and environment.gpus
        trained = train_all(
            conditions,
            missing,
            str(place),
            processor=environment.gpus[0] if on_gpu else environment.cpu,
            jobs=processes,
            download=not no_download,
        )
        for i, result in enumerate(trained, start=1):
            store.add(result)
            if not as_json:
                click.echo(
                    f"{i} of {len(missing)}: {result.arch} by {result.recipe}, {result.epochs} epochs: "
                    f"{result.val_error_pct:.2f} %"
                )
        trainings = [store.results[one] for one in wanted]
        measured = {**environment.flat(), "trained_with": sorted(store.commits)}
    found = judged(trainings, tuple(terms))
    paths = write_recipes(found, trainings, conditions, out, measured)
    if as_json:
        click.echo(json.dumps(to_json(found, trainings, conditions, measured), indent=2))
        return
    click.echo(lengths_text(found))
    for written in paths:
        click.echo(written)
