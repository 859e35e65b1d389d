"""Disk space that a run's checkpoints take, predicted before it starts.

A trial keeps two checkpoints, the newest and the one before it, until its run directory is removed; while a third is
written, one more lies beside them.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from rksearch.arch import parse
from rksearch.arch.cost import cost
from rksearch.errors import RunAborted
from rksearch.recipes.recipe import Recipe
from rksearch.results.files import size_text
from rksearch.results.history import History
from rksearch.results.plan import Plan
from rksearch.space import Space

KEPT = 2
"""Number of checkpoints that a trial keeps."""

BYTES_PER_NUMBER = 4
FIXED_BYTES = 30_000
"""Bytes of a checkpoint beside weights and optimiser: states of random numbers, names, the format."""

EPOCH_BYTES = 300
"""Bytes of an epoch in the ledger and in a checkpoint, rounded up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskNeed:
    """Bytes that the trainings which are left will take.

    Attributes:
        least: if every candidate is the smallest network of the space.
        most: if every candidate is the largest.
    """

    least: int
    most: int


def checkpoint_bytes(params: int, recipe: Recipe) -> int:
    """Bytes of a checkpoint of a network, rounded up: weights, what the optimiser holds, and their average."""
    copies = 1 + (2 if recipe.optimizer == "adamw" else 1) + (1 if recipe.ema else 0)
    # Running means and variances of batch norm, and names, are a small part of the parameters.
    return int(1.1 * copies * BYTES_PER_NUMBER * params) + FIXED_BYTES + EPOCH_BYTES * recipe.epochs


def disk_need(space: Space, plan: Plan, history: History) -> DiskNeed:
    """Bytes of the trainings that the plan states and the history does not have, replicates included."""
    data = space.definition.dataset
    named = [*plan.baselines, *plan.known]
    trained = {spec.arch for spec, _ in (*history.trials.values(), *history.paused.values())}
    ahead = [cost(parse(name), data).params for name in named if name not in trained]
    candidates = max(0, min(plan.trials, len(space)) - len(trained - set(named)))
    controls = candidates if plan.control else 0
    seeds = plan.search_seeds
    # Seeds of the front beyond the search's, and replicates, at most one training for each candidate in the forecast.
    further = min(plan.replicates or 0, candidates) + (plan.final_seeds - seeds) * len(named)

    def total(params: int) -> int:
        named_bytes = sum(checkpoint_bytes(size, plan.recipe) for size in ahead)
        others = candidates * seeds + controls + further
        return KEPT * (seeds * named_bytes + others * checkpoint_bytes(params, plan.recipe))

    return DiskNeed(least=total(space.smallest.params), most=total(space.largest.params))


def require_disk(directory: Path, need: DiskNeed) -> str:
    """Make sure that a directory's disk has room for the least that a run needs.

    Returns:
        The forecast in a line, with a warning where the most that the run may need exceeds what is free.

    Raises:
        RunAborted: the disk has less.
    """
    free = free_bytes(directory)
    if free is None:
        return f"Checkpoints take up to {size_text(need.most)}; the file system does not say how much is free."
    if free < need.least:
        raise RunAborted(
            f"the disk must have room for the run's checkpoints, {size_text(need.least)} at least, but {directory} has "
            f"{size_text(free)} free; make room, or choose another --out"
        )
    if free < need.most:
        return (
            f"Checkpoints may take up to {size_text(need.most)}, and {directory} has {size_text(free)} free: the run "
            "stops when the disk is full, and can be resumed."
        )
    return f"Checkpoints take up to {size_text(need.most)}; {size_text(free)} free."


def is_full(directory: Path, *, below_bytes: int = 2**20) -> bool:
    """Whether the disk of a directory has hardly any room left; False where that cannot be read."""
    try:
        free = free_bytes(directory)
    except OSError:
        return False
    return free is not None and free < below_bytes


def free_bytes(directory: Path) -> int | None:
    """Free space of a directory's disk; None where its file system does not know, as some over a network.

    Raises:
        OSError: the directory cannot be reached.
    """
    found = shutil.disk_usage(directory)
    return found.free if found.total else None
