"""What Ray sees of a run: trials described by their architectures, and every epoch as plain numbers.

A worker reports each epoch to Tune as numbers, sets gauges for Prometheus, and writes a line to its log. Several seeds
may be trained as one trial of Tune's: each report says which of them it is about.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import cache
from typing import Any

from ray import tune
from ray.tune.result import TIMESTEPS_TOTAL
from ray.util.metrics import Gauge

from rksearch.arch import family_of, parse
from rksearch.arch.cost import cost
from rksearch.data.facts import dataset
from rksearch.errors import RksearchError
from rksearch.results.records import Epoch, TrialSpec
from rksearch.training.execution import Execution

TRAINED = "trained"
"""Key of a report: id of the training that the numbers are about."""

OUTCOME = "outcome"
"""Key of a task's last report: what it came to, as JSON. The numbers of the last epoch stand beside it."""

RATE = "images_per_s"
"""Key of a report: training images per second. Of seeds that are trained as one program: of all of them together."""

GAUGES = {
    "val_error_pct": "Error on the validation split after the last epoch, in percent",
    "train_loss": "Mean training loss of the last epoch",
    RATE: "Training images per second in the last epoch, validation left out",
}
"""Gauges by the number that they show; Prometheus has them as `ray_rksearch_<number>`."""

TAGS = ("run", "architecture", "seed", "replicate", "role")
"""Tags of the gauges."""

_EPOCH = tuple(field.name for field in fields(Epoch))


def description(spec: TrialSpec) -> dict[str, str | int | bool]:
    """A training in a few plain values: its architecture, costs and choices, its seed and its recipe's length.

    Choices have the names that they have in a search space: `k`, and `m1`, `s1`, `r1`, `share1` for the first period.
    """
    arch = parse(spec.arch)
    family, facts = family_of(arch), dataset(spec.dataset)
    counts = cost(arch, facts)
    found: dict[str, str | int | bool] = {
        "architecture": spec.arch,
        "family": family.key,
        "params": counts.params,
        "macs": counts.macs,
        "seed": spec.seed,
        "replicate": spec.replicate,
        "role": spec.role,
        "dataset": spec.dataset,
        "epochs": spec.recipe.epochs,
    }
    if (growth_rate := family.growth_rate(arch)) is not None:
        found["k"] = growth_rate
    for i, period in enumerate(family.periods(arch), 1):
        m = getattr(period, "m", None)
        solver = "" if period.solver is None else str(period.solver).removeprefix("@")
        own = {"m": m, "s": period.s, "r": period.r, "share": period.share, "solver": solver or None}
        found |= {f"{key}{i}": value for key, value in own.items() if value is not None}
    return found


def numbers(spec: TrialSpec, epoch: Epoch, images: int | None) -> dict[str, Any]:
    """An epoch as Tune gets it; `epoch_of` is the inverse.

    Args:
        spec: the training.
        epoch: the epoch.
        images: number of images trained on in it; None where that is not known.
    """
    found: dict[str, Any] = {
        TRAINED: spec.id,
        "replicate": spec.replicate,
        # Loggers take it as the step, so that a training that was interrupted has one curve.
        TIMESTEPS_TOTAL: epoch.epoch,
    }
    values = {key: getattr(epoch, key) for key in _EPOCH}
    found |= {key: value for key, value in values.items() if value is not None and value != {}}
    if images is not None and epoch.train_time_s > 0:
        found[RATE] = images / epoch.train_time_s
    return found


def epoch_of(report: Mapping[str, Any]) -> tuple[str, Epoch] | None:
    """The training and the epoch of a report; None where it is about no epoch that is new."""
    if TRAINED not in report or OUTCOME in report:
        return None
    return report[TRAINED], Epoch(**{key: report[key] for key in _EPOCH if key in report})


def own_numbers(result: Mapping[str, Any]) -> dict[str, Any]:
    """What `numbers` put into a result, to which Tune has added its own."""
    return {key: result[key] for key in (TRAINED, "replicate", TIMESTEPS_TOTAL, *_EPOCH, RATE) if key in result}


def line(spec: TrialSpec, report: Mapping[str, Any]) -> str:
    """An epoch in one line for a worker's log."""
    rate = f", {report[RATE]:,.0f} images/s" if RATE in report else ""
    val = report["val_error_pct"]
    error = f"val error {val:.2f} %" if math.isfinite(val) else f"train error {report['train_error_pct']:.2f} %"
    return (
        f"{spec.arch} seed {spec.seed} (replicate {spec.replicate}) epoch {report['epoch']}/{spec.recipe.epochs}: "
        f"{error}, train loss {report['train_loss']:.4f}{rate}"
    )


def class_name(run: str) -> str:
    """A run's name as the name of a class, which is what Ray shows of an actor; Tune takes ASCII alone."""
    return re.sub(r"\W+", "_", run, flags=re.ASCII) or "run"


class Reporter:
    """Reports the epochs of a task from its worker.

    Args:
        run: the run's name.
        execution: where the task is done.
        to: what takes the numbers; None for `ray.tune.report`.
    """

    def __init__(self, run: str, execution: Execution, to: Callable[[dict[str, Any]], None] | None = None) -> None:
        self._run = run
        self._execution = execution
        self._to = to or tune.report
        self._last: dict[str, Any] = {}

    def on_epoch(self, spec: TrialSpec, epoch: Epoch) -> None:
        """A training has finished an epoch."""
        self._last = numbers(spec, epoch, self._images(spec))
        print(line(spec, self._last), flush=True)
        self._set_gauges(spec)
        self._to(dict(self._last))

    def end(self, outcome: str) -> None:
        """The task has ended with this outcome."""
        self._to({**self._last, OUTCOME: outcome})

    def _set_gauges(self, spec: TrialSpec) -> None:
        values = (self._run, spec.arch, str(spec.seed), str(spec.replicate), spec.role)
        # Ray raises at any other letter of a tag.
        tags = {
            tag: value.encode("ascii", "backslashreplace").decode() for tag, value in zip(TAGS, values, strict=True)
        }
        for name in GAUGES:
            value = self._last.get(name)
            if value is not None and math.isfinite(value):
                _gauge(name).set(float(value), tags)

    def _images(self, spec: TrialSpec) -> int | None:
        from rksearch.training.inputs import images_in_epoch  # here, not above: the driver does not need torch

        try:
            return images_in_epoch(spec, self._execution)
        except RksearchError:
            return None  # the images have gone since they were loaded: the training itself will say so


@cache
def _gauge(name: str) -> Gauge:
    """One gauge for all tasks of a worker, which does many."""
    return Gauge(f"rksearch_{name}", description=GAUGES[name], tag_keys=TAGS)
