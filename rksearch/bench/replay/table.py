"""A tabulated benchmark: every member of a small space with the learning curves of all its trainings.

A table is no format of its own: it is an ordinary run whose ledger holds every feasible member.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rksearch.errors import RunError
from rksearch.results.history import History
from rksearch.results.plan import Plan
from rksearch.results.records import TrialResult
from rksearch.results.run_dir import read_run
from rksearch.results.stats import mean
from rksearch.space import Space, parse_space


@dataclass(frozen=True, slots=True, kw_only=True)
class TableMember:
    """An architecture of the table.

    Attributes:
        arch: canonical name.
        params, macs: its costs.
        trainings: results by replicate, complete or failed.
        val_error_pct: mean over the complete trainings of the last epoch's validation error; None when all failed.
        epoch_s: median time of one of its epochs.
    """

    arch: str
    params: int
    macs: int
    trainings: tuple[TrialResult, ...]
    val_error_pct: float | None
    epoch_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Everything that a search of the space could find out.

    Attributes:
        name: name of the run that it was read from.
        space: architectures that may be proposed.
        plan: plan of that run: data set, recipe, training images.
        epochs: epochs of a full training.
        members: by name, every feasible architecture of the space.
    """

    name: str
    space: Space
    plan: Plan
    epochs: int
    members: Mapping[str, TableMember]

    @property
    def seeds(self) -> int:
        """The least number of trainings that a member has."""
        return min(len(member.trainings) for member in self.members.values())

    def training(self, arch: str, *, repetition: int, replicate: int) -> TrialResult:
        """Result of training `arch` in one repetition of the benchmark.

        Which tabulated training is an architecture's first depends on the repetition, so that every repetition meets
        other luck; all strategies of one repetition meet the same. Further replicates follow in turn, cyclically.
        """
        trainings = self.members[arch].trainings
        digest = hashlib.sha256(f"{repetition} {arch}".encode()).digest()
        return trainings[(int.from_bytes(digest[:4], "big") + replicate) % len(trainings)]


def load_table(run_dir: Path) -> Table:
    """The table that a run's directory holds.

    Raises:
        RunError: there is no run, or its ledger lacks members of its space.
    """
    return table_of(read_run(run_dir), source=str(run_dir))


def table_of(history: History, *, source: str) -> Table:
    """The table that a run's history holds.

    Args:
        history: of a run.
        source: what errors call it.

    Raises:
        RunError: the run was never begun, or members of its space lack a finished training.
    """
    record = history.run
    if record is None:
        raise RunError(f"a ledger begins with its run, but that of {source} is damaged; take another table")
    space = parse_space(record.space.yaml, name=record.space.name, recipe=record.space.recipe or record.plan.recipe)
    found: dict[str, list[tuple[int, TrialResult]]] = {}
    for spec, result in history.trials.values():
        if not spec.has_own_seeds and result.status in ("complete", "failed"):
            found.setdefault(spec.arch, []).append((spec.replicate, result))
    names = [str(spec) for spec in space]
    missing = [name for name in names if name not in found]
    if missing:
        raise RunError(
            f"a table must hold every member of its space, but {source} lacks {len(missing):,} of {len(names):,} "
            f"({missing[0]}, for one); train them with `rksearch resume {source} --trials {len(names)}`"
        )
    epochs = record.plan.recipe.epochs
    costs = {priced.name: (priced.params, priced.macs) for priced in space.by_name()}
    members = {name: member(name, *costs[name], _by_replicate(found[name])) for name in names}
    if all(member.val_error_pct is None for member in members.values()):
        raise RunError(f"a table must hold complete trainings, but all of {source} failed; take another one")
    return Table(name=record.name, space=space, plan=record.plan, epochs=epochs, members=members)


def _by_replicate(found: list[tuple[int, TrialResult]]) -> list[TrialResult]:
    """The results by replicate, whatever order they ended in."""
    return [result for _, result in sorted(found, key=lambda pair: pair[0])]


def member(arch: str, params: int, macs: int, trainings: Sequence[TrialResult]) -> TableMember:
    """A member from its trainings, in the order of their replicates."""
    errors = [result.epochs[-1].val_error_pct for result in trainings if result.status == "complete"]
    times = sorted(epoch.train_time_s for result in trainings for epoch in result.epochs)
    return TableMember(
        arch=arch,
        params=params,
        macs=macs,
        trainings=tuple(trainings),
        val_error_pct=mean(errors) if errors and all(map(math.isfinite, errors)) else None,
        epoch_s=times[len(times) // 2] if times else 1.0,
    )
