"""The state of a run: its progress, and the architectures that it has found."""

from __future__ import annotations

from dataclasses import dataclass

from rksearch.results.early_stops import EarlyStops, early_stops
from rksearch.results.fronts import membership, rk_front
from rksearch.results.history import History, State
from rksearch.results.lines import Damage
from rksearch.results.plan import Plan
from rksearch.results.records import Role
from rksearch.results.stats import sample_sd
from rksearch.results.summaries import ArchSummary, best_per_band, mean_of, summarise
from rksearch.space.plan import ErrorMetric

SHOWN_ROLES: tuple[Role, ...] = ("baseline", "known", "candidate", "control")


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleCounts:
    """Architectures of one role.

    Attributes:
        planned: architectures to train at least once, from the plan.
        finished: architectures with a finished training.
        failed: failed trainings.
    """

    planned: int
    finished: int
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundArch:
    """An architecture that a run has found.

    Attributes:
        name, params, macs, val_error_pct, val_error_sd_pct, seeds: as in `ArchSummary`.
        balanced_val_error_pct, balanced_val_error_sd_pct: the same of the balanced error; None where a training has
            none.
    """

    name: str
    params: int
    macs: int
    val_error_pct: float
    val_error_sd_pct: float | None
    seeds: int
    balanced_val_error_pct: float | None = None
    balanced_val_error_sd_pct: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStatus:
    """The state of a run.

    Attributes:
        run, space: names; None for a space that is not recorded.
        state: `running` also after a kill that left no record; `killed` where the run's lock shows that.
        message: message of the last session's end.
        last_time: time of the last record.
        done: complete trainings.
        failed: failed trainings.
        stops: trainings that racing stopped.
        running_trials: ids of the trainings under way.
        roles: counts by role.
        elapsed_s: duration of all sessions.
        work_time_s: sum of the trials' times.
        test_readings: readings of the test set.
        metric: the error by which the run compares networks.
        front: the front of parameters and mean error, each with the probability of being on the front of
            true errors (None where the spread between seeds is not known).
        best_per_band: the architecture of least error in each size band `(low, high)`.
        damage: lines of the ledger that could not be read.
        plan: the plan in force; None where it is not recorded.
    """

    run: str
    space: str | None
    state: State
    message: str | None
    last_time: str | None
    done: int
    failed: int
    stops: EarlyStops
    running_trials: tuple[str, ...]
    roles: dict[Role, RoleCounts]
    elapsed_s: float
    work_time_s: float
    test_readings: int
    metric: ErrorMetric
    front: tuple[tuple[FoundArch, float | None], ...]
    best_per_band: dict[tuple[int, int], FoundArch]
    damage: tuple[Damage, ...]
    plan: Plan | None

    @property
    def planned(self) -> int:
        """Architectures to train at least once: candidates, the paper's configurations and baselines."""
        return sum(counts.planned for counts in self.roles.values())

    @property
    def finished(self) -> int:
        """Architectures of these kinds with a finished training."""
        return sum(counts.finished for counts in self.roles.values())


def run_status(history: History) -> RunStatus:
    """The state of a run."""
    items = summarise(history)
    replicated = any(item.seeds > 1 for item in items)
    shares = membership(items) if replicated else {}
    return RunStatus(
        run=history.name,
        space=history.space.name if history.space else None,
        state=history.state,
        message=history.message,
        last_time=history.last_time,
        done=sum(result.status == "complete" for _, result in history.trials.values()),
        failed=len(history.failed),
        stops=early_stops(history),
        running_trials=history.running,
        roles={role: _counts(history, role) for role in SHOWN_ROLES},
        elapsed_s=round(sum(s.duration_s for s in history.sessions), 3),
        work_time_s=round(sum(history.wall_time_s.values()), 3),
        test_readings=len(history.tests),
        metric=history.metric,
        front=tuple((_found(item), shares.get(item.arch)) for item in rk_front(items)),
        best_per_band={band: _found(item) for band, item in best_per_band(items).items()},
        damage=history.damage,
        plan=history.plan,
    )


def _counts(history: History, role: Role) -> RoleCounts:
    mine = [(spec, result) for spec, result in history.trials.values() if spec.role == role]
    return RoleCounts(
        planned=_planned(history, role),
        finished=len({spec.arch for spec, _ in mine}),
        failed=sum(result.status == "failed" for _, result in mine),
    )


def _planned(history: History, role: Role) -> int:
    plan = history.plan
    if plan is None:
        return 0
    if role == "control":
        return plan.trials if plan.control else 0
    return {"baseline": len(plan.baselines), "known": len(plan.known)}.get(role, plan.trials)


def _found(item: ArchSummary) -> FoundArch:
    return FoundArch(
        name=item.arch,
        params=item.params,
        macs=item.macs,
        val_error_pct=item.val_error_pct,
        val_error_sd_pct=item.val_error_sd_pct,
        seeds=item.seeds,
        balanced_val_error_pct=mean_of(item.balanced_val_errors_pct),
        balanced_val_error_sd_pct=sample_sd(item.balanced_val_errors_pct),
    )
