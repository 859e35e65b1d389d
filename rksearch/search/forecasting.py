"""Forecast of a run's cost before anything trains: some networks are measured, the others follow from multiply-adds.

The time of a member of the space is read off the line through the measured ones, both axes logarithmic. The mean over
some members at even distances in the space stands for a candidate.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from rksearch.arch import parse
from rksearch.arch.cost import cost
from rksearch.recipes.shipped import DEFAULT_RECIPE, recipe
from rksearch.results.events import Forecast, TrainingForecast
from rksearch.results.history import History
from rksearch.results.plan import Plan
from rksearch.search.agenda import SearchAgenda
from rksearch.search.planning import Asked, plan_of
from rksearch.search.racing import expected_epochs
from rksearch.search.sharing import even_members, typical
from rksearch.space import Space, load_space, shipped_spaces

DAY_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A network that is measured before a run.

    Attributes:
        what: see `TrainingForecast`.
        arch: canonical name.
    """

    what: str
    arch: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """A measured network.

    Attributes:
        probe: the network.
        epoch_s: seconds of an epoch; None where it could not be measured.
        peak_bytes: predicted peak of memory; None where it could not be measured.
        note: the reason for that, or a remark.
    """

    probe: Probe
    epoch_s: float | None
    peak_bytes: int | None = None
    note: str = ""


def probes(space: Space, plan: Plan) -> list[Probe]:
    """The networks to measure: the members of least, median and most multiply-adds, and the baselines."""
    members: dict[str, str] = {}
    for what, arch in (
        ("smallest", space.fewest_macs.name),
        ("median", typical(space)),
        ("largest", space.most_macs.name),
    ):
        members.setdefault(arch, what)
    found = [Probe(what=what, arch=arch) for arch, what in members.items()]
    return found + [Probe(what="baseline", arch=arch) for arch in plan.baselines if arch not in members]


class EpochTimes:
    """Seconds of an epoch by multiply-adds, from some measured networks.

    Args:
        points: multiply-adds and seconds of an epoch of each.
    """

    def __init__(self, points: Sequence[tuple[int, float]]) -> None:
        self._points = sorted((math.log(macs), math.log(seconds)) for macs, seconds in points if seconds > 0)

    def __bool__(self) -> bool:
        return bool(self._points)

    def at(self, macs: int) -> float:
        """Seconds of an epoch; beyond the measured networks in proportion to the multiply-adds.

        Raises:
            ValueError: nothing was measured.
        """
        if not self._points:
            raise ValueError("an epoch's time needs a measured network, but there is none")
        x = math.log(macs)
        i = bisect_left(self._points, (x, -math.inf))
        if i == 0 or i == len(self._points):
            x0, y0 = self._points[min(i, len(self._points) - 1)]
            return math.exp(y0 + x - x0)
        (x0, y0), (x1, y1) = self._points[i - 1 : i + 1]
        if x1 == x0:
            return math.exp((y0 + y1) / 2)
        return math.exp(y0 + (y1 - y0) * (x - x0) / (x1 - x0))


def assumed_front(candidates: int) -> int:
    """Assumed size of the front of some candidates: their square root."""
    return math.ceil(math.sqrt(candidates))


def forecast(
    space: Space,
    plan: Plan,
    probed: Sequence[Probed],
    *,
    slots: int,
    reserved: Mapping[str, float],
    disk_bytes: int,
    measured_on: str,
    budget: str = "",
) -> Forecast:
    """The cost of a run that has trained nothing yet.

    Args:
        space, plan: the run.
        probed: the measured networks.
        slots: number of trainings at a time.
        reserved: `cpu` and `gpu` that each of them reserves.
        disk_bytes: most that its checkpoints take.
        measured_on: device, precision and threads of the measurement, in words.
        budget: when the budget of time ends the run, in words; empty without one.
    """
    data, full = space.definition.dataset, plan.recipe.epochs
    macs = {p.probe.arch: cost(parse(p.probe.arch), data).macs for p in probed}
    trainings = tuple(
        TrainingForecast(
            what=p.probe.what,
            arch=p.probe.arch,
            macs=macs[p.probe.arch],
            time_s=None if p.epoch_s is None else full * p.epoch_s,
            peak_bytes=p.peak_bytes,
            note=p.note,
        )
        for p in probed
    )
    known = Forecast(slots=slots, trainings=trainings, disk_bytes=disk_bytes, measured_on=measured_on, budget=budget)
    members = [p for p in probed if p.probe.what != "baseline"]
    times = _times(members, macs) or _times(probed, macs)
    if not times:
        return known
    own = {p.probe.arch: p.epoch_s for p in probed if p.epoch_s is not None}

    def epoch_s(arch: str) -> float:
        return own[arch] if arch in own else times.at(cost(parse(arch), data).macs)

    candidate_s = fmean(times.at(c.macs) for _, c in even_members(space))
    candidates = min(plan.trials, len(space))
    front = assumed_front(candidates)
    baselines = [epoch_s(arch) for arch in plan.baselines]
    known_s = [epoch_s(arch) for arch in plan.known]
    parts: dict[str, tuple[float, list[float]]] = {
        "baselines": (full * plan.search_seeds, baselines),
        "known": (full * plan.search_seeds, known_s),
        "candidates": (_candidate_epochs(plan, candidates), [candidate_s]),
        "control": (candidates * expected_epochs(plan.racing, full) if plan.control else 0, [candidate_s]),
        "seeds": (full * (plan.final_seeds - plan.search_seeds), [*baselines, *[candidate_s] * front]),
        "replicates": (full * (plan.replicates or 0), [candidate_s]),
    }
    parts_s = {name: epochs * math.fsum(each) for name, (epochs, each) in parts.items() if epochs and each}
    work_s = math.fsum(parts_s.values())
    return replace(
        known,
        epochs=math.fsum(epochs * len(each) for epochs, each in parts.values()),
        wall_time_s=work_s / slots,
        cpu_s=work_s * reserved.get("cpu", 0.0),
        gpu_s=work_s * reserved.get("gpu", 0.0),
        work_s=work_s,
        parts_s=parts_s,
        racing_saves_s=candidates * (full - expected_epochs(plan.racing, full)) * candidate_s,
        front=front,
    )


def _times(probed: Sequence[Probed], macs: Mapping[str, int]) -> EpochTimes:
    return EpochTimes([(macs[p.probe.arch], p.epoch_s) for p in probed if p.epoch_s is not None])


def _candidate_epochs(plan: Plan, candidates: int) -> float:
    """Epochs of all candidates in the search: first trainings, which may race, and seeds of the complete ones."""
    full = plan.recipe.epochs
    complete = candidates * (plan.racing.keep ** len(plan.racing.rungs) if plan.racing else 1)
    return candidates * expected_epochs(plan.racing, full) + complete * full * (plan.search_seeds - 1)


def forecast_of_rest(
    history: History, agenda: SearchAgenda, *, slots: int, reserved: Mapping[str, float], disk_bytes: int
) -> Forecast:
    """The cost of what a run has left, by the time that its trainings took so far, whatever machine they ran on.

    Args:
        history: of the run, with at least one epoch.
        agenda: of the run.
        slots, reserved, disk_bytes: as in `forecast`.
    """
    epochs = sum(len(result.epochs) for _, result in (*history.trials.values(), *history.paused.values()))
    left = agenda.remaining(history).epochs
    work_s = left * sum(history.wall_time_s.values()) / max(1, epochs)
    return Forecast(
        epochs=left,
        wall_time_s=work_s / slots,
        cpu_s=work_s * reserved.get("cpu", 0.0),
        gpu_s=work_s * reserved.get("gpu", 0.0),
        work_s=work_s,
        slots=slots,
        disk_bytes=disk_bytes,
        measured_on="this run's trainings so far",
    )


def smaller_runs(space: Space, plan: Plan, found: Forecast, *, images: int) -> list[tuple[str, float]]:
    """Options that would make a run of more than a day shorter, with the expected seconds of each; else none.

    Args:
        space, plan: the run.
        found: its forecast.
        images: number of images that may be trained on.

    Returns:
        `--recipe short`, and other spaces on the same images, as far as they take less than a day; or the shortest of
        them where none does.
    """
    if found.wall_time_s is None or found.wall_time_s <= DAY_S or not found.trainings:
        return []
    options = []
    quick = recipe(DEFAULT_RECIPE)
    if quick.epochs < plan.recipe.epochs:
        options.append((f"--recipe {quick.name}", found.wall_time_s * quick.epochs / plan.recipe.epochs))
    times = EpochTimes([(t.macs, t.time_s / plan.recipe.epochs) for t in found.trainings if t.time_s])
    for other in _other_spaces(space) if plan.source is None else ():
        own = plan_of(other.definition, Asked(), members=len(other))
        share = (own.train_images or images) / (plan.train_images or images)
        members = [Probed(probe=p, epoch_s=share * times.at(_macs(other, p.arch))) for p in probes(other, own)]
        rest = forecast(
            other, own, members, slots=found.slots, reserved={}, disk_bytes=0, measured_on=found.measured_on
        )
        options.append((f"--space {other.name}", rest.wall_time_s or 0.0))
    options = sorted((o for o in options if o[1] < found.wall_time_s), key=lambda option: option[1])
    return [option for option in options if option[1] < DAY_S] or options[:1]


def _macs(space: Space, arch: str) -> int:
    return cost(parse(arch), space.definition.dataset).macs


def _other_spaces(space: Space) -> list[Space]:
    """Shipped spaces on the same images."""
    found = []
    for name in shipped_spaces():
        if name != space.name:
            other = load_space(name)
            if other.definition.dataset.name == space.definition.dataset.name:
                found.append(other)
    return found
