"""Rules that join several fields of an event, and names that only a plugin knows."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from rksearch.arch import parse
from rksearch.arch.families import FAMILIES
from rksearch.data.facts import datasets
from rksearch.errors import SpecError
from rksearch.results.events import (
    Event,
    RunPlanned,
    TaskStarted,
    TestSetRead,
    TrialEnded,
    TrialPaused,
    TrialReopened,
    TrialStarted,
)
from rksearch.results.plan import Plan
from rksearch.results.records import SHARED, TrialResult, TrialSpec, parse_trial_id
from rksearch.space.plan import TOP1, ErrorMetric

Problem = tuple[str, str]
"""A field of an event, and the rule that its value breaks."""


def printable(text: str) -> str:
    """A text of a ledger without what a terminal would take for commands, shortened."""
    short = text if len(text) < 120 else text[:117] + "..."
    return "".join(char if char.isprintable() else "?" for char in short)


class Missing(NamedTuple):
    """Something that an event names and that is not registered.

    Attributes:
        kind: "family" or "data set".
        name: its name; for a family that only a network's name shows, the first word of that.
        example: the name of a network of the family; empty where none is known.
    """

    kind: str
    name: str
    example: str = ""

    def __str__(self) -> str:
        return f"the {self.kind} {self.name!r}{f' ({printable(self.example)})' if self.example else ''}"


def unregistered(event: Event) -> tuple[Missing, ...]:
    """Families and data sets that an intact event names and that are not registered.

    rksearch wrote the names, so that one which cannot be read here is that of a family which is not installed. Data
    sets count for the plan alone: a ledger keeps the facts about its own, so that results are read without it.
    """
    match event:
        case RunPlanned(space=space, plan=plan):
            imported = (item.arch for item in plan.imported)
            found = [Missing("family", key) for key in space.families if key not in FAMILIES]
            found += _unreadable((*space.architectures, *plan.baselines, *plan.known, *plan.start, *imported))
            first = {(item.kind, item.name): item for item in reversed(found)}  # one network is example enough
            return (*reversed(first.values()), *_without_facts(plan.dataset))
        case TrialEnded(spec=spec) | TrialPaused(spec=spec):
            return tuple(_unreadable([spec.arch]))
        case (
            TrialStarted(trial=trial) | TrialReopened(trial=trial) | TaskStarted(trial=trial) | TestSetRead(trial=trial)
        ):
            try:
                return tuple(_unreadable([parse_trial_id(trial).arch]))
            except ValueError:
                return ()
    return ()


def _unreadable(archs: Iterable[str]) -> Iterator[Missing]:
    for arch in archs:
        if _unknown(arch):
            word = re.match(r"[A-Za-z][A-Za-z0-9]*", arch)
            yield Missing("family", word.group() if word else arch, arch)


def _without_facts(dataset: str) -> tuple[Missing, ...]:
    return () if dataset in datasets else (Missing("data set", dataset),)


def problem_of(event: Event) -> Problem | None:
    """The first rule that an event breaks; None when it breaks none."""
    if isinstance(event, TrialEnded | TrialPaused):
        return _trial_problem(event)
    if isinstance(event, TrialStarted | TrialReopened | TestSetRead):
        return _id_problem("trial", event.trial)
    if isinstance(event, TaskStarted):
        named = [("trial", event.trial), *((f"beside[{i}]", trial) for i, trial in enumerate(event.beside))]
        return next((problem for field, trial in named if (problem := _id_problem(field, trial))), None)
    return None


def _id_problem(field: str, trial: str) -> Problem | None:
    try:
        return _arch_problem(field, parse_trial_id(trial).arch)
    except ValueError as error:
        return field, str(error)


def strays(event: Event, plan: Plan, *, trained: bool) -> Problem | None:
    """What an event has of another run than that of the plan, as in ledgers of two runs put into one file.

    All trainings of a run are of the same images and by the same recipe. Only a run that has trained nothing may get
    another plan.
    """
    found: Plan | TrialSpec
    if isinstance(event, RunPlanned) and trained:
        found, field, rule = event.plan, "plan", "the plan of a run that has trained"
    elif isinstance(event, TrialEnded | TrialPaused):
        found, field, rule = event.spec, "spec", "each training of a run"
    else:
        return None
    for name in SHARED:
        if getattr(found, name) != getattr(plan, name):
            return f"{field}.{name}", f"{rule} has that of the run's first plan, but this one is of another run"
    return None


def lacks_error(event: Event, metric: ErrorMetric) -> Problem | None:
    """The first epoch of a trial without the error by which its run compares networks; None where each has it."""
    if not isinstance(event, TrialEnded | TrialPaused) or event.spec.role == "final" or metric == TOP1:
        return None  # `problem_of` has looked at the top-1 error
    for i, epoch in enumerate(event.result.epochs):
        if not math.isfinite(epoch.error_pct(metric)):
            return f"result.epochs[{i}].{metric.field}", "the run compares networks by it, but the value is None"
    return None


def incomplete(spec: TrialSpec, result: TrialResult) -> Problem | None:
    """The first value that a finished trial lacks; None when it lacks none."""
    if result.status not in ("complete", "failed", "pruned"):
        return "result.status", f"a finished trial is complete, failed or pruned, but the value is {result.status!r}"
    if result.status != "complete":
        return None
    # A final training has no validation images left.
    if not result.epochs or (spec.role != "final" and not math.isfinite(result.epochs[-1].val_error_pct)):
        return "result.epochs", "a complete trial must have a finite validation error"
    for name in ("params", "params_paper", "macs", "fvcore_flops"):
        if getattr(result, name) is None:
            return f"result.{name}", "a complete trial must have all counts, but the value is None"
    return None


def _trial_problem(event: TrialEnded | TrialPaused) -> Problem | None:
    spec, result = event.spec, event.result
    if event.trial != spec.id:
        return "trial", f"the id must be {spec.id!r}, but the value is {event.trial!r}"
    if problem := _arch_problem("spec.arch", spec.arch):
        return problem
    if isinstance(event, TrialPaused):
        if result.status != "paused":
            return "result.status", f"a trial that pauses is paused, but the value is {result.status!r}"
    elif problem := incomplete(spec, result):
        return problem
    return _curve_problem(spec, result)


def _curve_problem(spec: TrialSpec, result: TrialResult) -> Problem | None:
    for i, epoch in enumerate(result.epochs):
        if epoch.epoch != i + 1:
            return f"result.epochs[{i}].epoch", f"epochs are counted from 1, but the value is {epoch.epoch}"
        if spec.role != "final" and not math.isfinite(epoch.val_error_pct):
            return f"result.epochs[{i}].val_error_pct", "an error is a number, but the value is None"
    return None


def _arch_problem(field: str, arch: str) -> Problem | None:
    reason = _unknown(arch)
    return (field, reason) if reason else None


def _unknown(arch: str) -> str:
    """Why the name of an architecture cannot be read; empty where it can."""
    try:
        parse(arch)
    except SpecError as error:
        return str(error)
    return ""
