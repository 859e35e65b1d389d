"""A tabulated benchmark: every member of a small space with the learning curves of all its trainings.

A table is no format of its own: it is an ordinary run whose ledger holds every feasible member.

The trainings of a member are divided by their replicates. The first half, rounded down, is *handed out*: strategies see
these and nothing else. The others *judge*: their final errors stand for the truth, which no strategy can have seen.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rksearch.arch.arrays import Floats
from rksearch.errors import RunError
from rksearch.results.history import History
from rksearch.results.plan import Plan
from rksearch.results.records import TrialResult
from rksearch.results.run_dir import read_run
from rksearch.results.stats import mean
from rksearch.space import Space, parse_space


class NoFurtherTraining(RunError):
    """All trainings of an architecture that the table hands out are used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableMember:
    """An architecture of the table.

    Attributes:
        arch: canonical name.
        params, macs: its costs.
        trainings: results that are handed out, by replicate, complete or failed.
        judging: validation errors in percent after the last epoch of the complete trainings that judge; of a made-up
            member, its latent error alone.
        epoch_s: median time of one of its epochs.
    """

    arch: str
    params: int
    macs: int
    trainings: tuple[TrialResult, ...]
    judging: tuple[float, ...]
    epoch_s: float

    @property
    def val_error_pct(self) -> float | None:
        """Error by which the member is judged: the mean of those that judge; None when all of them failed."""
        return mean(self.judging) if self.judging else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Everything that a search of the space could find out, and what judges it.

    Attributes:
        name: name of the run that it was read from.
        space: architectures that may be proposed.
        plan: plan of that run: data set, recipe, training images.
        epochs: epochs of a full training.
        members: by name, every feasible architecture of the space.
        baselines: by name, the run's baselines outside of the space, trained with as many seeds.
        handed_out: number of trainings of each member that strategies may see.
        judging_seeds: number of trainings of each member that judge; 1 for a latent error without noise.
        digest: hash of the contents.
    """

    name: str
    space: Space
    plan: Plan
    epochs: int
    members: Mapping[str, TableMember]
    baselines: Mapping[str, TableMember] = field(default_factory=dict)
    handed_out: int
    judging_seeds: int
    digest: str

    def training(self, arch: str, *, repetition: int, replicate: int) -> TrialResult:
        """Result of training `arch` in one repetition of the benchmark.

        Which of the trainings that are handed out is an architecture's first depends on the repetition, so that
        repetitions meet other luck; all strategies of one repetition meet the same. Further replicates follow in turn.

        Raises:
            NoFurtherTraining: the replicate is beyond the trainings that are handed out.
        """
        trainings = self.entry(arch).trainings
        if replicate >= len(trainings):
            raise NoFurtherTraining(
                f"a table hands out each training once, but {self.name} has {len(trainings)} of {arch} to hand out and "
                f"was asked for replicate {replicate}; ask for replicates below {len(trainings)}"
            )
        digest = hashlib.sha256(f"{repetition} {arch}".encode()).digest()
        return trainings[(int.from_bytes(digest[:4], "big") + replicate) % len(trainings)]

    @property
    def real(self) -> bool:
        """Whether its networks were trained."""
        return True

    def entry(self, arch: str) -> TableMember:
        """The member or baseline of this name."""
        return self.members.get(arch) or self.baselines[arch]

    def judged(self) -> tuple[Floats, Floats]:
        """Params and judged errors in percent of all members that have one: two arrays (members,)."""
        errors = {own.arch: own.val_error_pct for own in self.members.values()}
        found = [(self.members[arch].params, error) for arch, error in errors.items() if error is not None]
        params, known = np.array(found, dtype=float).T
        return params, known


def load_table(run_dir: Path, *, handed_out: int | None = None) -> Table:
    """The table that a run's directory holds; arguments and errors as of `table_of`."""
    return table_of(read_run(run_dir), source=str(run_dir), handed_out=handed_out)


def table_of(history: History, *, source: str, handed_out: int | None = None) -> Table:
    """The table that a run's history holds.

    Args:
        history: of a run.
        source: what errors call it.
        handed_out: number of each member's trainings that strategies may see; None for half of them, rounded down.

    Raises:
        RunError: the run was never begun, members of its space lack finished trainings, or none is left to judge.
    """
    record = history.run
    if record is None:
        raise RunError(f"a ledger begins with its run, but that of {source} is damaged; take another table")
    space = parse_space(record.space.yaml, name=record.space.name, recipe=record.space.recipe or record.plan.recipe)
    found: dict[str, list[tuple[int, TrialResult]]] = {}
    for spec, result in history.trials.values():
        if not spec.has_own_seeds and result.status in ("complete", "failed"):
            found.setdefault(spec.arch, []).append((spec.replicate, result))
    costs = {priced.name: (priced.params, priced.macs) for priced in space.by_name()}
    missing = [name for name in costs if name not in found]
    if missing:
        raise RunError(
            f"a table must hold every member of its space, but {source} lacks {len(missing):,} of {len(costs):,} "
            f"({missing[0]}, for one); train them with `rksearch resume {source} --trials {len(costs)}`"
        )
    fewest = min(costs, key=lambda name: len(found[name]))
    seeds = len(found[fewest])
    if seeds < 2:
        raise RunError(
            f"a table needs two or more trainings of every member, some to hand out and others to judge, but {source} "
            f"has 1 of {fewest}; run its space with `seeds: {{search: 6, final: 6}}`"
        )
    shown = seeds // 2 if handed_out is None else handed_out
    if not 1 <= shown < seeds:
        raise RunError(
            f"a table hands out 1 to {seeds - 1} of its {seeds} trainings of each member, so that some are left to "
            f"judge, but got {shown}; take another number"
        )
    members = {name: member(name, *costs[name], _by_replicate(found[name])[:seeds], handed_out=shown) for name in costs}
    if all(not own.judging for own in members.values()):
        raise RunError(f"a table must hold complete trainings, but all of {source} failed; take another one")
    baselines = {}
    for name in map(str, space.definition.baselines):
        results = _by_replicate(found.get(name, []))[:seeds]
        params, macs = next(((r.params, r.macs) for r in results if r.params is not None), (None, None))
        if name not in members and len(results) == seeds and params is not None and macs is not None:
            baselines[name] = member(name, params, macs, results, handed_out=shown)
    return Table(
        name=record.name,
        space=space,
        plan=record.plan,
        epochs=record.plan.recipe.epochs,
        members=members,
        baselines=baselines,
        handed_out=shown,
        judging_seeds=seeds - shown,
        digest=_digest({**members, **baselines}),
    )


def _by_replicate(found: list[tuple[int, TrialResult]]) -> list[TrialResult]:
    """The results by replicate, whatever order they ended in."""
    return [result for _, result in sorted(found, key=lambda pair: pair[0])]


def member(arch: str, params: int, macs: int, trainings: Sequence[TrialResult], *, handed_out: int) -> TableMember:
    """A member from its trainings, in the order of their replicates; those after the first `handed_out` judge."""
    errors = [own.epochs[-1].val_error_pct for own in trainings[handed_out:] if own.status == "complete"]
    times = sorted(epoch.train_time_s for own in trainings for epoch in own.epochs)
    return TableMember(
        arch=arch,
        params=params,
        macs=macs,
        trainings=tuple(trainings[:handed_out]),
        judging=tuple(error for error in errors if math.isfinite(error)),
        epoch_s=times[len(times) // 2] if times else 1.0,
    )


def _digest(members: Mapping[str, TableMember]) -> str:
    """Hash of all curves that are handed out and all errors that judge."""
    found = hashlib.sha256()
    for arch, own in sorted(members.items()):
        curves = [[(epoch.val_error_pct, epoch.train_loss) for epoch in result.epochs] for result in own.trainings]
        found.update(repr((arch, own.params, curves, own.judging, own.epoch_s)).encode())
    return found.hexdigest()[:16]
