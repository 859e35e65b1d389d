"""Options that several commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from rksearch.cli import completion
from rksearch.cli.values import Cpus, FiniteNumber, Gpus, UserPath
from rksearch.data.facts import DEFAULT_DATASET
from rksearch.recipes.shipped import PAPER_RECIPE
from rksearch.search.budget import MOST_HOURS
from rksearch.search.limits import MOST_SEEDS, MOST_TRIALS
from rksearch.search.loggers import LOGGERS
from rksearch.search.resources import CPUS_PER_TRIAL
from rksearch.training.engine.words import AUTO, COMPILATION, DEVICES, PRECISIONS

F = TypeVar("F", bound=Callable[..., Any])


class SamplerName(click.ParamType):  # type: ignore[type-arg]  # generic in the newest Click alone
    """Name of a registered sampler. Plugins are loaded when a value is given, so that `--help` needs none."""

    name = "sampler"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """Placeholder in help texts."""
        return "NAME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name, if a sampler has it.

        Raises:
            click.BadParameter: no sampler has it.
            PluginError: a plugin cannot be loaded.
        """
        from rksearch.search.samplers.registry import samplers

        known = list(samplers.items())
        if value not in known:
            self.fail(f"{value!r} is not one of {', '.join(map(repr, known))}.", param, ctx)
        return str(value)


def is_given(parameter: str) -> bool:
    """Whether the user has given this parameter of the command that is running, rather than left it at its default."""
    return click.get_current_context().get_parameter_source(parameter) is not ParameterSource.DEFAULT


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")

run_dir_argument = click.argument("directory", type=UserPath())

paper_recipe_option = click.option(
    "--recipe",
    "recipe_name",
    default=PAPER_RECIPE,
    show_default=True,
    shell_complete=completion.recipes,
    help="A shipped recipe's name, or the path of a YAML file.",
)

dataset_option = click.option(
    "--dataset",
    "dataset_name",
    default=DEFAULT_DATASET,
    show_default=True,
    shell_complete=completion.datasets,
    help="Data set, by name or as in folder:PATH, npz:FILE; sets image size and classes.",
)

device_option = click.option(
    "--device",
    type=click.Choice(DEVICES),
    default=AUTO,
    show_default=True,
    help="auto: CUDA if there is one, else MPS on a Mac, else the CPU.",
)

precision_option = click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default=AUTO,
    show_default=True,
    help="auto: bf16 autocast where the device computes it natively. NVIDIA GPUs from Ampere on compute the "
    "convolutions of fp32 in TF32.",
)


def compile_option(default: str = AUTO) -> Callable[[F], F]:
    """`--compile`, or `--compile on|auto|off`, received as `compile_`."""
    return click.option(
        "--compile",
        "compile_",
        type=click.Choice(COMPILATION),
        default=default,
        show_default=True,
        is_flag=False,
        flag_value="on",
        help="Compile each network's kernels before training (alone: on); auto: where that saves time.",
    )


def execution_options(command: F) -> F:
    """Add the options for the data directory, device and precision."""
    options = (
        click.option(
            "--data-dir",
            type=UserPath(file_okay=False, as_typed=True),
            help="Directory of the data sets, and of downloads. [default: $RKSEARCH_DATA, else ./data if it exists, "
            "else the user's cache directory]",
        ),
        click.option("--no-download", is_flag=True, help="Fail when a data set is missing, instead of downloading it."),
        device_option,
        precision_option,
    )
    return _apply(command, options)


def session_options(command: Callable[..., int]) -> Callable[..., int]:
    """Add the options for the resources of one session.

    The command receives them as `resources`, and the names of the options that the user gave as `chosen`.
    """

    @functools.wraps(command)
    def with_resources(
        *,
        data_dir: Path | None,
        no_download: bool,
        device: str,
        precision: str,
        compile_: str,
        cpus_per_trial: float,
        gpus_per_trial: float | None,
        seeds_together: int | None,
        max_concurrent: int | None,
        address: str | None,
        storage: str | None,
        verbose: bool,
        log: tuple[str, ...],
        cpu_hours: float | None = None,
        gpu_hours: float | None = None,
        until: str | None = None,
        trial_hours: float | None = None,
        **rest: Any,
    ) -> int:
        from rksearch.search.resources import Resources

        resources = Resources(
            cpus_per_trial=cpus_per_trial,
            gpus_per_trial=gpus_per_trial,
            seeds_together=seeds_together,
            max_concurrent=max_concurrent,
            trial_hours=trial_hours,
            address=address,
            storage=storage,
            data_dir=data_dir,
            download=not no_download,
            device=device,
            precision=precision,
            compile=compile_,
            verbose=verbose,
            log=log,
            cpu_hours=cpu_hours,
            gpu_hours=gpu_hours,
            until_s=_timestamp(until),
        )
        context = click.get_current_context()
        sources = {key: context.get_parameter_source(key) for key in context.params}
        chosen = frozenset(key.rstrip("_") for key, source in sources.items() if source is not ParameterSource.DEFAULT)
        return command(resources=resources, chosen=chosen, **rest)

    options = (
        click.option(
            "--cpus-per-trial",
            type=Cpus(),
            default=CPUS_PER_TRIAL,
            show_default=True,
            help="CPU cores that each trial reserves and computes with.",
        ),
        click.option(
            "--gpus-per-trial",
            type=Gpus(),
            default=None,
            help="GPUs that each trial reserves; 0.25 lets four share one. [default: measured where there is a GPU, "
            "else 0]",
        ),
        click.option(
            "--seeds-together",
            type=click.IntRange(1, MOST_SEEDS),
            help="Maximum number of seeds of one architecture that are trained as one program; on a GPU they take the "
            "shares of separate trials, on a CPU they take turns. Results stay the same, up to rounding on a GPU. "
            "[default: measured where --gpus-per-trial is, else 1]",
        ),
        click.option(
            "--max-concurrent",
            type=click.IntRange(1, MOST_TRIALS),
            metavar="N",
            help="Maximum number of trials at a time. [default: all that fit]",
        ),
        click.option(
            "--address", metavar="HOST:PORT", help="Join the Ray cluster at this address (or `auto`: the local one)."
        ),
        click.option(
            "--storage",
            metavar="URI",
            help="Also keep checkpoints here (s3://, gs://, a path, ...), so that trials of a lost machine continue "
            "elsewhere without a shared file system.",
        ),
        click.option(
            "--log",
            multiple=True,
            type=click.Choice(list(LOGGERS)),
            help="Also log every training "
            f"({'; '.join(f'{entry.name}: {entry.writes}' for entry in LOGGERS.values())}); may be repeated.",
        ),
        click.option("--verbose", is_flag=True, help="Show Ray's and the workers' own messages."),
    )
    return _apply(execution_options(compile_option()(with_resources)), options)


def budget_options(command: F) -> F:
    """Add the limits of a run's time; for commands that also have the session options."""
    hours = FiniteNumber(min=0, min_open=True, max=MOST_HOURS)
    options = (
        click.option("--cpu-hours", type=hours, help="Stop after this much work: time of each trial times its CPUs."),
        click.option("--gpu-hours", type=hours, help="Stop after this much work: time of each trial times its GPUs."),
        click.option(
            "--trial-hours", type=hours, help="Fail a training that takes longer than this, all its sessions together."
        ),
        click.option(
            "--until",
            metavar="TIME",
            help="Stop when the clock next shows 18:30, or at 2026-01-31T18:30; trials pause then.",
        ),
    )
    return _apply(command, options)


def _timestamp(until: str | None) -> float | None:
    if until is None:
        return None
    from datetime import datetime

    from rksearch.search.budget import clock_time

    return clock_time(until, datetime.now().astimezone()).timestamp()


def _apply(command: F, options: tuple[Callable[[Any], Any], ...]) -> F:
    return functools.reduce(lambda wrapped, option: option(wrapped), reversed(options), command)
