"""Plans of runs that continue: what may change, what stays as it began, and the errors for all else.

A run may be extended: further candidates, seeds, replicates and baselines. What it trains, by which recipe and on which
images, stays, so that all its trainings can be compared.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, NoReturn

from rksearch.arch import canonical, parse
from rksearch.arch.cost import cost
from rksearch.data.facts import Dataset
from rksearch.data.own import changed
from rksearch.errors import DataError, RunError
from rksearch.results.differences import FieldDifference, first_difference
from rksearch.results.history import History, RunRecord
from rksearch.results.plan import Plan
from rksearch.results.recipes import as_begun
from rksearch.results.records import parse_trial_id
from rksearch.search.limits import stated_several, stated_whole
from rksearch.space import Space, SpaceDefinition, parse_space

CHOICES = {
    "families": "families",
    "growth_rates": "growth_rate",
    "periods": "periods",
    "params": "budgets.params",
    "macs": "budgets.macs",
    "depth": "budgets.depth",
}
"""Fields of a definition that decide which networks a space holds, with their keys in the space file, besides data set,
constraints and lists."""

FREE = ("trials", "replicates", "search_seeds", "final_seeds", "baselines")
"""Fields of a plan that a run may change; numbers of seeds rise, and baselines are added."""

RAISED = {"final_seeds": "seeds", "search_seeds": "seeds during the search"}
"""Fields of a plan that may only rise, in words."""

VERSIONED = ("racing", "sampler")
"""Fields of a plan whose defaults differ between versions: what neither the command nor a changed space file says stays
as the run began."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extension:
    """Numbers of a run that change when it is resumed; None, and no name, leave them as they are.

    Attributes:
        trials: number of candidates.
        final_seeds: trainings of every baseline and of each member of the front. Earlier trainings where the front was
            uncertain count as such.
        replicates: number of further trainings where the front is uncertain.
        baselines: names of further baselines.

    Raises:
        RunError: a value is of another type, or out of its limits.
    """

    trials: int | None = None
    final_seeds: int | None = None
    replicates: int | None = None
    baselines: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("trials", "final_seeds", "replicates"):
            object.__setattr__(self, name, stated_whole(name, getattr(self, name)))
        object.__setattr__(self, "baselines", stated_several("baselines", self.baselines) or ())

    def of(self, plan: Plan) -> Plan:
        """The plan with the changes."""
        new = (str(parse(name)) for name in self.baselines)
        wishes = {name: getattr(self, name) for name in ("trials", "final_seeds", "replicates")}
        numbers = {name: value for name, value in wishes.items() if value is not None}
        return replace(plan, **numbers, baselines=tuple(dict.fromkeys((*plan.baselines, *new))))


def has_trained(history: History) -> bool:
    """Whether a run has begun a training: until then, another plan may take the place of its own."""
    return bool(history.started or history.trials or history.paused)


def is_planned(history: History, space: Space, plan: Plan) -> bool:
    """Whether the ledger's last plan is this one, for the same space.

    Comments in its file make no difference to a run that has trained.
    """
    run = history.run
    if run is None or run.plan != plan:
        return False
    if run.space.sha256 == space.definition.sha256:
        return True
    return has_trained(history) and _different_choices(_definition(run, space), space) is None


def continued(history: History, space: Space, plan: Plan, asked: Collection[str], run_dir: Path) -> Plan:
    """The plan with which a run continues whose command is given again.

    Args:
        history: of the run, which has a plan and has begun a training.
        space, plan: as the command states them now.
        asked: names of the plan's fields that the command itself states, not the space file or a default.
        run_dir: directory of the run, for errors.

    Raises:
        RunError: something else than the numbers of `FREE` has changed; the message names the field and both values.
        DataError: the images are others.
    """
    begun = history.run
    assert begun is not None
    before = _definition(begun, space)
    if different := _different_choices(before, space):
        _refuse(different, run_dir)
    require_same_images(begun, space.definition.dataset)
    require_same_members(begun, space, run_dir)
    now = space.definition
    plan = replace(plan, recipe=as_begun(plan.recipe, begun.plan.recipe))
    for name in VERSIONED:
        if name not in asked and getattr(before.search, name) == getattr(now.search, name):
            plan = replace(plan, **{name: getattr(begun.plan, name)})
    for name in RAISED:
        same_file = getattr(before, name) == getattr(now, name)
        if "final_seeds" not in asked and same_file:
            plan = replace(plan, **{name: max(getattr(plan, name), getattr(begun.plan, name))})
    removed = [str(spec) for spec in before.baselines if spec not in now.baselines]
    if removed:
        raise RunError(
            f"a run keeps its baselines, but {run_dir} has {', '.join(removed)} and the space file no longer names "
            "them; put them back, continue it by `rksearch resume`, or choose another --out"
        )
    plan = replace(plan, baselines=tuple(dict.fromkeys((*begun.plan.baselines, *plan.baselines))))
    for name in (field.name for field in fields(Plan) if field.name not in FREE):
        if different := first_difference(getattr(begun.plan, name), getattr(plan, name), name):
            _refuse(different, run_dir)
    require_extension(history, plan, now.dataset, run_dir)
    return plan


def require_extension(history: History, plan: Plan, data: Dataset, run_dir: Path) -> None:
    """Make sure that a plan extends that of a run: seeds rise, and new baselines are new.

    Raises:
        RunError: it does not.
        SpecError: the images are too small for a new baseline.
    """
    assert history.run is not None
    begun = history.run.plan
    for name, words in RAISED.items():
        before, now = getattr(begun, name), getattr(plan, name)
        if now < before:
            raise RunError(
                f"the {words} of a run may be raised, but {run_dir} has {before} and {now} was asked for; give "
                f"{before} or more"
            )
    new = [name for name in plan.baselines if name not in begun.baselines]
    started = (parse_trial_id(trial_id).arch for trial_id in history.started)
    taken = {canonical(parse(name)): name for name in (*begun.baselines, *begun.known, *begun.start, *started)}
    for name in new:
        spec = parse(name)
        cost(spec, data)
        if has := taken.get(canonical(spec)):
            same = "" if has == name else f", the same network as {has},"
            raise RunError(
                f"a new baseline is a network that the run does not train yet, but {run_dir} has {name}{same} among "
                "its networks; choose another one"
            )


def require_same_images(begun: RunRecord | None, data: Dataset) -> None:
    """Make sure that the images are those that the run began with, where they are the user's own.

    Raises:
        DataError: they are not, or the padding of their crops is another.
    """
    if begun is None or begun.data is None:
        return
    if begun.data.fingerprint != data.fingerprint:
        raise changed(data.name, begun.data.fingerprint, data.fingerprint)
    if begun.data.fingerprint is not None and begun.data.crop_padding not in (0, data.crop_padding):  # 0: unknown
        raise DataError(
            f"the images of {data.name} must be augmented as when the run began, with a crop padding of "
            f"{begun.data.crop_padding}, but this version of rksearch pads them by {data.crop_padding}; begin again "
            "with another --out"
        )


def require_same_members(begun: RunRecord, space: Space, run_dir: Path) -> None:
    """Make sure that the text of a run's space means what it meant when the run began.

    Raises:
        RunError: this version reads other networks in it.
    """
    before, now = begun.space.canonical_size, space.canonical_size
    if before and before != now:
        raise RunError(
            f"the space of a run must mean what it meant when the run began, but {run_dir} recorded {before:,} "
            f"different networks, of which this version of rksearch reads {now:,}; begin again with another --out"
        )


def _definition(begun: RunRecord, space: Space) -> SpaceDefinition:
    """What the space file said when the run began, as this version reads it."""
    if begun.space.sha256 == space.definition.sha256:
        return space.definition
    return parse_space(
        begun.space.yaml,
        name=begun.space.name,
        directory=space.definition.directory,
        recipe=begun.space.recipe or begun.plan.recipe,
    ).definition


def _different_choices(before: SpaceDefinition, space: Space) -> FieldDifference | None:
    """The first choice, budget, architecture or data set in which two definitions differ."""
    now = space.definition
    if before is now:
        return None
    pairs: list[tuple[str, Any, Any]] = [("dataset", before.dataset.name, now.dataset.name)]
    pairs += [(key, getattr(before, name), getattr(now, name)) for name, key in CHOICES.items()]
    pairs.append(("constraints", tuple(e.text for e in before.constraints), tuple(e.text for e in now.constraints)))
    pairs.append(("architectures", tuple(map(str, before.architectures)), tuple(map(str, now.architectures))))
    return next((found for name, one, other in pairs if (found := first_difference(one, other, name))), None)


def _refuse(different: FieldDifference, run_dir: Path) -> NoReturn:
    raise RunError(
        f"a run keeps the {different.field} it began with, but {run_dir} has {different.before} and {different.now} "
        "was asked for; choose another --out, or continue it with `rksearch resume`"
    )
