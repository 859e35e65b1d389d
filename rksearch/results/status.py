"""The state of a run: its progress, and the architectures that it has found."""

from __future__ import annotations

from dataclasses import dataclass, field

from rksearch.results.checks import Missing
from rksearch.results.comparisons import BaselineRow, baseline_rows
from rksearch.results.early_stops import EarlyStops, early_stops
from rksearch.results.fronts import rk_front, smallest
from rksearch.results.history import History, State
from rksearch.results.lines import Damage, Unknown
from rksearch.results.live import LiveProgress
from rksearch.results.plan import Plan
from rksearch.results.records import Role
from rksearch.results.stats import sample_sd
from rksearch.results.summaries import ArchSummary, best_per_band, by_macs, by_params, mean_of, summarise
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
        running_trials: ids of the trainings that workers are doing; without a note of the driver, of those that were
            started and have not ended. None in a killed run.
        paused_trials: ids of trainings that have run some epochs and may continue.
        live: what the driver noted last, where it is at work; None elsewhere.
        roles: counts by role.
        elapsed_s: duration of all sessions.
        work_time_s: sum of the trials' times.
        test_readings: readings of the test set.
        metric: the error by which the run compares networks.
        front: the front of parameters and mean error, each with the probability of being on the front of
            true errors (None where the spread between seeds is not known).
        best_per_band: the architecture of least error in each size band `(low, high)`.
        baselines, macs_baselines: the baselines, each with its rival at no more parameters and at no more MACs.
        items: all architectures with a complete training.
        history: the history that all of it was read from.
        smallest: name of the one smallest network of the search, whose probability is 1 by its size alone; None where
            there is none.
        damage: lines of the ledger that could not be read.
        unknown: intact lines that are left out, because they name what is not known here.
        missing: what the plan names and is not registered.
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
    paused_trials: tuple[str, ...]
    roles: dict[Role, RoleCounts]
    elapsed_s: float
    work_time_s: float
    test_readings: int
    metric: ErrorMetric
    front: tuple[tuple[FoundArch, float | None], ...]
    best_per_band: dict[tuple[int, int], FoundArch]
    baselines: tuple[BaselineRow, ...]
    macs_baselines: tuple[BaselineRow, ...]
    items: tuple[ArchSummary, ...] = field(repr=False)
    history: History = field(repr=False)
    smallest: str | None
    damage: tuple[Damage, ...]
    unknown: tuple[Unknown, ...]
    missing: tuple[Missing, ...]
    plan: Plan | None
    live: LiveProgress | None = None

    @property
    def planned(self) -> int:
        """Architectures to train at least once: candidates, the paper's configurations and baselines."""
        return sum(counts.planned for counts in self.roles.values())

    @property
    def finished(self) -> int:
        """Architectures of these kinds with a finished training."""
        return sum(counts.finished for counts in self.roles.values())


def run_status(history: History, live: LiveProgress | None = None) -> RunStatus:
    """The state of a run.

    Args:
        history: its history.
        live: what the driver noted last, where it is at work.
    """
    from rksearch.results.uncertainty import draw, draw_tested, front_shares  # numpy: not needed to read a ledger

    items = summarise(history)
    draws, tested = draw(items), draw_tested(items)
    shares = front_shares(draws, items, by_params) if draws.spread_known else {}
    against = [tuple(baseline_rows(items, draws, cost=cost, tested=tested)) for cost in (by_params, by_macs)]
    running = tuple(task.id for task in live.running) if live else history.running
    return RunStatus(
        run=history.name,
        space=history.space.name if history.space else None,
        state=history.state,
        message=history.message,
        last_time=history.last_time,
        done=sum(result.status == "complete" for _, result in history.trials.values()),
        failed=len(history.failed),
        stops=early_stops(history),
        running_trials=() if history.state == "killed" else running,
        paused_trials=tuple(
            key for key in history.paused if key not in {*running, *(live.not_running if live else ())}
        ),
        roles={role: _counts(history, role) for role in SHOWN_ROLES},
        elapsed_s=round(sum(s.duration_s for s in history.sessions), 3),
        work_time_s=round(sum(history.wall_time_s.values()), 3),
        test_readings=len(history.tests),
        metric=history.metric,
        front=tuple((_found(item), shares.get(item.arch)) for item in rk_front(items)),
        best_per_band={band: _found(item) for band, item in best_per_band(items).items()},
        baselines=against[0],
        macs_baselines=against[1],
        items=tuple(items),
        history=history,
        smallest=smallest(items),
        damage=history.damage,
        unknown=history.unknown,
        missing=history.missing,
        plan=history.plan,
        live=live,
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
