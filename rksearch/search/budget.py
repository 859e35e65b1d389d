"""Limits of the time that a run takes: work done by its workers, or a time of day."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from rksearch.errors import RunError
from rksearch.results.history import History
from rksearch.results.plan import Plan
from rksearch.search.batch import LATEST_S
from rksearch.search.tasks import Phase

SEARCH_SHARE = 0.8
"""Share of the time after which no new candidate begins: the rest is for racing's last rungs and for seeds."""


MOST_HOURS = 10_000_000
"""Most hours of a limit: a thousand years, whose seconds every calendar function can add to today."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeBudget:
    """Limits of a run's time; None for no limit.

    Attributes:
        cpu_hours, gpu_hours: work of all sessions of the run, that is worker time times the worker's reservation; the
            time between sessions does not count.
        until_s: time (seconds since 1970) at which this session ends.
        job_until_s: the same for the batch job that it runs in. That is no limit of the run: until then the search is
            as without one, and the next job goes on.
        began_s: when this session began.
    """

    cpu_hours: float | None = None
    gpu_hours: float | None = None
    until_s: float | None = None
    job_until_s: float | None = None
    began_s: float = field(default_factory=time.time)

    @property
    def limits_work(self) -> bool:
        """Whether work is limited, so that `phase` reads it."""
        return self.cpu_hours is not None or self.gpu_hours is not None

    @property
    def session_until_s(self) -> float | None:
        """Time at which the session ends for either reason; None where neither holds."""
        return min((moment for moment in (self.until_s, self.job_until_s) if moment is not None), default=None)

    @property
    def words(self) -> str:
        """When the run stops, in words: `after 2 CPU hours`, `on Saturday 28 November at 12:12`."""
        parts = [f"after {hours:g} {kind} hours" for hours, kind in self._hours() if hours is not None]
        if self.until_s is not None:
            parts.append(f"on {datetime.fromtimestamp(self.until_s).astimezone():%A %d %B %Y at %H:%M}")
        return " or ".join(parts) or "when all is done"

    def without_gpus(self, gpus_per_trial: float) -> str | None:
        """A line for the user where `gpu_hours` limits nothing, because trials have no GPU; None elsewhere.

        Raises:
            RunError: it is the only limit, so that the run would have no end.
        """
        if self.gpu_hours is None or gpus_per_trial:
            return None
        if self.cpu_hours is None and self.until_s is None:
            raise RunError(
                f"--gpu-hours {self.gpu_hours:g} counts work on GPUs, but a trial here has none; give --cpu-hours or "
                "--until"
            )
        return f"--gpu-hours {self.gpu_hours:g} limits nothing here: trials have no GPU."

    def left_s(self, history: History, running: Mapping[str, float], at_once: Mapping[str, float]) -> float | None:
        """Seconds until the budget ends; None without a limit, or where nothing is reserved that it counts.

        Args:
            history: the run's history, for the work that is done.
            running: `cpu` and `gpu` seconds of the running tasks.
            at_once: `cpu` and `gpu` that the tasks reserve together.
        """
        left = [] if self.until_s is None else [self.until_s - time.time()]
        for limit, used_s, kind in (
            (self.cpu_hours, history.cpu_s, "cpu"),
            (self.gpu_hours, history.gpu_s, "gpu"),
        ):
            if limit is not None and at_once.get(kind):
                left.append((limit * 3600 - used_s - running.get(kind, 0.0)) / at_once[kind])
        return max(0.0, min(left)) if left else None

    def _hours(self) -> tuple[tuple[float | None, str], ...]:
        return (self.cpu_hours, "CPU"), (self.gpu_hours, "GPU")

    def phase(self, history: History, running: Mapping[str, float]) -> Phase:
        """The work that may still be started.

        Args:
            history: the run's history, for the work that is done.
            running: `cpu` and `gpu` seconds of the running tasks; may be empty where work is not limited.
        """
        if self.job_until_s is not None and time.time() >= self.job_until_s:
            return "over"
        used = 0.0
        if self.cpu_hours is not None:
            used = max(used, (history.cpu_s + running["cpu"]) / 3600 / self.cpu_hours)
        if self.gpu_hours is not None:
            used = max(used, (history.gpu_s + running["gpu"]) / 3600 / self.gpu_hours)
        if self.until_s is not None:
            used = max(used, (time.time() - self.began_s) / max(1.0, self.until_s - self.began_s))
        if used >= 1:
            return "over"
        return "search" if used < SEARCH_SHARE else "refine"


def budget_sentence(budget: TimeBudget, plan: Plan, *, members: int) -> str:
    """When a run stops, and what it then has not to do, in words.

    Args:
        budget: its limits of time.
        plan: its plan.
        members: number of architectures in its space.
    """
    words = budget.words
    if budget.until_s is not None:
        tomorrow = datetime.fromtimestamp(budget.began_s).date() + timedelta(days=1)
        if datetime.fromtimestamp(budget.until_s).date() == tomorrow:
            words += ", which is tomorrow"
    if plan.trials < members or plan.source is not None:
        return f"The run stops {words}."
    return (
        f"The run stops {words}; until then all {members:,} architectures of the space are candidates (--trials limits "
        "their number)."
    )


def clock_time(text: str, now: datetime) -> datetime:
    """The next time at which the clock shows `text`: `18:30`, or a date and time such as `2026-01-31T18:30`.

    Args:
        text: as the user wrote it.
        now: the time of this machine's clock.

    Raises:
        RunError: it is no time, it has passed, or no calendar reaches that far.
    """
    rule = f"--until must be a future time, such as 18:30 or 2026-01-31T18:30, but got {text!r}"
    try:
        if "-" not in text:
            hour = datetime.strptime(text, "%H:%M").time()
            days = (datetime.combine(now.date() + timedelta(days=n), hour) for n in (0, 1))
            return next(moment for day in days for moment in _moments(day) if moment > now)
        stated = datetime.fromisoformat(text)
    except ValueError:
        raise RunError(f"{rule}; write it so") from None
    moments = _moments(stated)
    moment = next((moment for moment in moments if moment > now), moments[0])
    if moment <= now:
        raise RunError(f"{rule}, which has passed; give a later one")
    if moment.timestamp() > LATEST_S:
        raise RunError(f"{rule}, which is too far away; give an earlier one")
    return moment


def _moments(shown: datetime) -> list[datetime]:
    """The times at which this machine's clock shows this one, the earlier first: two where it is set back between."""
    if shown.tzinfo is not None:
        return [shown]
    try:
        # By the difference to UTC at that time: that of now ends with daylight saving.
        return [shown.replace(fold=fold).astimezone() for fold in (0, 1)]
    except (OverflowError, ValueError, OSError):
        return [shown.replace(tzinfo=UTC)]  # at an end of the calendar, which the difference crosses
