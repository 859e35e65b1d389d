"""Runs without Ray and without training: a proposer and outcomes that are functions of the architecture's name."""

import hashlib
from typing import Any

from rksearch.cost import cost
from rksearch.datasets import dataset
from rksearch.recipe import recipe
from rksearch.records import Epoch, TrialResult, TrialSpec
from rksearch.search.agenda import Task
from rksearch.search.run_state import RunState
from rksearch.search.settings import Settings
from rksearch.spec import parse

BASELINES = ("ResNet-8", "DenseNet-10-k4")
KNOWN = ("RKNet-k4-m1_2_2-1x1_1x2s_1x2s",)


def settings(**changes: Any) -> Settings:
    plan: dict[str, Any] = {
        "dataset": "digits",
        "recipe": recipe("short", epochs=2),
        "train_images": 100,
        "baselines": BASELINES,
        "known": KNOWN,
        "trials": 6,
        "search_seeds": 1,
        "final_seeds": 3,
    }
    return Settings(**{**plan, **changes})


class ListProposer:
    """Proposes from a list."""

    def __init__(self, archs: list[str]) -> None:
        self.archs = archs
        self.told: list[tuple[str, float | None]] = []

    def propose(self, taken: set[str]) -> str | None:
        return next((arch for arch in self.archs if arch not in taken), None)

    def tell(self, arch: str, val_error_pct: float | None) -> None:
        self.told.append((arch, val_error_pct))


def error_pct(trial: TrialSpec) -> float:
    """A validation error that falls with size and is shaken by the seed."""
    params = cost(parse(trial.arch), dataset(trial.dataset)).params
    digest = hashlib.sha256(f"error {trial.id}".encode()).digest()
    return 60 - 10 * len(str(params)) + digest[0] / 32


def fails(trial: TrialSpec) -> bool:
    """One architecture in eight fails."""
    return trial.arch.startswith("RKNet") and hashlib.sha256(trial.arch.encode()).digest()[1] % 8 == 0


def outcome(task: Task) -> dict[str, Any]:
    """What a worker would have returned."""
    if task.action == "test":
        return {"result": {"test_error_pct": error_pct(task.trial) + 0.5, "test_loss": 1.0, "test_images": 599}}
    if fails(task.trial):
        return {"result": TrialResult(status="failed", failure="non_finite_loss", message="loss is nan").to_json()}
    counted = cost(parse(task.trial.arch), dataset(task.trial.dataset))
    epochs = tuple(
        Epoch(
            epoch=n,
            lr=0.1,
            train_loss=1.0,
            train_error_pct=50.0,
            val_loss=1.0,
            val_error_pct=error_pct(task.trial),
            train_time_s=1.0,
        )
        for n in (1, 2)
    )
    return {"result": TrialResult(status="complete", epochs=epochs, **counted._asdict()).to_json()}


def work(state: RunState, slots: int = 2, stop_after: int | None = None) -> list[Task]:
    """Let `slots` workers do the run's tasks in order of arrival; stop dead after so many have ended."""
    handed: list[Task] = []
    queue: list[Task] = []
    ended = 0
    while stop_after is None or ended < stop_after:
        while len(queue) < slots and (task := state.next()):
            state.on_start(task)
            queue.append(task)
            handed.append(task)
        if not queue:
            break
        state.on_end(queue[0], outcome(queue.pop(0)))
        ended += 1
    return handed
