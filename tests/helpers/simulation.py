"""Runs without Ray and without training: a proposer and outcomes that are functions of the architecture's name."""

import hashlib
import math
from collections.abc import Iterable, Set
from pathlib import Path
from typing import Any

from rksearch.arch import parse
from rksearch.arch.cost import cost
from rksearch.data.facts import dataset
from rksearch.recipes.shipped import recipe
from rksearch.results.codec import to_plain
from rksearch.results.ledger import Ledger
from rksearch.results.plan import Plan, RacingRule
from rksearch.results.records import Epoch, Role, Status, TrialResult, TrialSpec
from rksearch.search.agenda import SearchAgenda
from rksearch.search.budget import TimeBudget
from rksearch.search.racing import Race
from rksearch.search.reservations import Reservations
from rksearch.search.run_state import RunState
from rksearch.search.tasks import Task
from rksearch.space.plan import DEFAULT_OBJECTIVES
from tests.helpers.ledgers import ticking

BASELINES = ("ResNet-8", "DenseNet-10-k4")
KNOWN = ("RKNet-k4-m1_2_2-1x1_1x2s_1x2s",)
ARCHS = [
    f"RKNet-k{k}-m1_{m}_{n}-{s}x{r}_1x1_1x1"
    for k in (4, 6, 8)
    for m in (1, 2)
    for n in (2, 4)
    for s in (1, 2)
    for r in (1, 2)
]
RACING = RacingRule(rungs=(1, 3), keep=1 / 3, bands=2, rank="val_error")


def settings(**changes: Any) -> Plan:
    plan: dict[str, Any] = {
        "dataset": "digits",
        "recipe": recipe("short", epochs=9),
        "train_images": 100,
        "baselines": BASELINES,
        "known": KNOWN,
        "trials": 6,
        "search_seeds": 1,
        "final_seeds": 3,
        "objectives": DEFAULT_OBJECTIVES,
        "sampler": "tpe",
        "sampler_seed": 0,
    }
    return Plan(**{**plan, **changes})


class ListProposer:
    """Proposes from a list, and remembers the results that it was given."""

    def __init__(self, archs: list[str]) -> None:
        self.archs = archs
        self.results: list[tuple[TrialSpec, TrialResult]] = []
        self.begun: dict[str, Role] = {}

    def started(self, archs: Iterable[str], role: Role) -> None:
        self.begun |= dict.fromkeys(archs, role)

    def update(self, results: Iterable[tuple[TrialSpec, TrialResult]]) -> None:
        self.results += results

    def propose(self, taken: Set[str]) -> str | None:
        return next((arch for arch in self.archs if arch not in taken), None)


def params_of(arch: str) -> int:
    return cost(parse(arch), dataset("digits")).params


TIMES = ticking(step_s=1)
"""Times of records: trainings of a simulation would have many in the same second."""


def new_state(
    path: Path, *, archs: list[str] = ARCHS, budget: TimeBudget | None = None, clock: Any = lambda: 0.0, **changes: Any
) -> tuple[RunState, ListProposer]:
    """A run's state in its driver, as it is after starting or resuming."""
    plan = settings(**changes)
    proposer = ListProposer(list(archs))
    sizes = [params_of(arch) for arch in archs]
    race = Race(plan.racing, smallest=min(sizes), largest=max(sizes)) if plan.racing else None
    control = ListProposer(list(reversed(archs))) if plan.control else None
    state = RunState(
        Ledger(path, clock=TIMES),
        lambda history: SearchAgenda(plan, proposer, history, race=race, control=control),
        budget=budget,
        reservations=Reservations(trial={"cpu": 1.0, "gpu": 0.0}, whole={"cpu": 4.0, "gpu": 0.0}),
        clock=clock,
    )
    return state, proposer


def error_pct(trial: TrialSpec, epoch: int) -> float:
    """A validation error that falls with size and with training, and is shaken by the seed."""
    digest = hashlib.sha256(f"error {trial.id} {epoch}".encode()).digest()
    return 110 - 20 * math.log10(params_of(trial.arch)) + 10 / epoch + digest[0] / 32


def fails(trial: TrialSpec) -> bool:
    """One architecture in eight fails."""
    return trial.arch.startswith("RKNet") and hashlib.sha256(trial.arch.encode()).digest()[1] % 8 == 0


def outcome(task: Task) -> dict[str, Any]:
    """What a worker would have returned."""
    if task.action == "test":
        error = error_pct(task.trial, task.trial.recipe.epochs)
        return {"result": {"test_error_pct": error + 0.5, "test_loss": 1.0, "test_images": 599}}
    if fails(task.trial):
        return {"result": to_plain(TrialResult(status="failed", failure="non_finite_loss", message="loss is nan"))}
    counted = cost(parse(task.trial.arch), dataset(task.trial.dataset))
    epochs = tuple(
        Epoch(
            epoch=n,
            lr=0.1,
            train_loss=1.0 / n,
            train_error_pct=50.0,
            val_loss=1.0,
            val_error_pct=error_pct(task.trial, n),
            train_time_s=1.0,
        )
        for n in range(1, task.epochs + 1)
    )
    status: Status = "complete" if len(epochs) == task.trial.recipe.epochs else "paused"
    return {"result": to_plain(TrialResult(status=status, epochs=epochs, **counted._asdict()))}


def work(state: RunState, slots: int = 2, stop_after: int | None = None) -> list[Task]:
    """Let `slots` workers do the run's tasks in order of arrival; stop dead after this number have ended."""
    handed: list[Task] = []
    queue: list[Task] = []
    ended = 0
    while stop_after is None or ended < stop_after:
        while len(queue) < slots and (task := state.next()):
            for each in task.each():
                state.on_start(each)
            queue.append(task)
            handed.append(task)
        if not queue:
            break
        for each in queue.pop(0).each():
            state.on_end(each, outcome(each))
        ended += 1
    return handed


def must(task: Task | None) -> Task:
    """The task, where there has to be one."""
    assert task is not None
    return task
