"""Comparison of bf16 with fp32: the same trainings in both, in pairs.

A pair has one seed: the same first weights, the same order and augmentation of the images; only the precision differs.
Two questions are asked about the differences of the final validation errors, bf16 minus fp32:

- Is there a significant difference? A paired t-test at the 5 % level: the 95 % interval of the mean excludes zero.
- Is there none that matters? Two one-sided t-tests at the 5 % level (TOST): the 90 % interval of the mean lies within
  the margin. A test that finds no difference proves little when it could not have seen one, so its power is stated
  too: the smallest true difference that it finds with probability 80 %.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rksearch.errors import TrialFailed
from rksearch.recipes.recipe import Recipe
from rksearch.results.records import TrialSpec
from rksearch.results.stats import PairedComparison, paired_comparison
from rksearch.training.execution import Execution
from rksearch.training.trial import run_trial


def compare_precision(
    arch: str, dataset: str, recipe: Recipe, execution: Execution, *, seeds: int, train_images: int | None = None
) -> Iterator[tuple[float, float]]:
    """Final validation errors in percent, (fp32, bf16), of one seed after the other.

    Finished trainings are kept in the execution's `work_dir`, so that an interrupted comparison can be resumed.

    Raises:
        TrialFailed: a training failed.
    """
    for replicate in range(seeds):
        spec = TrialSpec(
            arch=arch, dataset=dataset, recipe=recipe, train_images=train_images, replicate=replicate, role="candidate"
        )
        yield _error_pct(spec, execution, "fp32"), _error_pct(spec, execution, "bf16")


def summary(pairs: Sequence[tuple[float, float]], margin_pct: float) -> dict[str, Any]:
    """Errors and results of the tests, as plain values."""
    compared = paired_comparison([b for _, b in pairs], [a for a, _ in pairs], margin=margin_pct)
    return {"fp32_error_pct": [a for a, _ in pairs], "bf16_error_pct": [b for _, b in pairs], **_plain(compared)}


def _plain(compared: PairedComparison) -> dict[str, Any]:
    return {**asdict(compared), "significant": compared.significant, "equivalent": compared.equivalent}


def _error_pct(spec: TrialSpec, execution: Execution, precision: str) -> float:
    there = replace(execution, precision=precision, work_dir=str(Path(execution.work_dir) / precision))
    result = run_trial(spec, there)
    if result.status != "complete":
        raise TrialFailed(str(result.failure), f"{spec.id} in {precision} failed: {result.message}")
    return result.epochs[-1].val_error_pct
