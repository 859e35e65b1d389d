"""Costs of the search itself: time of a proposal when many trials are finished, and growth of the driver's memory.

The driver's own code starts and ends trials that need no time; nothing is trained.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rksearch.arch import parse
from rksearch.arch.cost import cost
from rksearch.bench.replay.strategies import strategies
from rksearch.bench.scheduling import resident_kib
from rksearch.results.codec import to_plain
from rksearch.results.ledger import Ledger
from rksearch.results.plan import Plan, RacingRule
from rksearch.results.records import Epoch, Status, TrialResult, TrialSpec
from rksearch.search.assembly import search_agenda
from rksearch.search.planning import racing_rule
from rksearch.search.run_state import RunState
from rksearch.search.samplers.draws import IndexDraw, Shuffled
from rksearch.space import SearchPlan, Space, load_space

SPACE = "cifar10_dense"
EPOCHS = 30
"""Epochs of a full training."""

FINISHED = (500, 1000, 2000)
SAMPLE = 50
"""Proposals that are timed at each number of finished trials."""

RIVAL = "botorch"
"""The rival whose proposals are timed beside ours."""

RIVAL_SAMPLE = 5
"""Likewise, for a rival whose proposals take seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overhead:
    """The driver's costs at one point of a run.

    Attributes:
        finished: trials that ended before.
        proposal_ms: median time from a free worker to its next task, over `SAMPLE` tasks.
        worst_ms: the longest of them.
        record_ms: median time to write a result to the ledger durably.
        memory_mib: resident memory of the process.
    """

    finished: int
    proposal_ms: float
    worst_ms: float
    record_ms: float
    memory_mib: float


def measure_overhead(
    *, space_name: str = SPACE, finished: tuple[int, ...] = FINISHED, on_done: Callable[[int], None] = lambda _: None
) -> list[Overhead]:
    """Run trials of the default search that take no time, and measure on the way.

    Args:
        space_name: what is searched.
        finished: numbers of finished trials, rising, at which the next `SAMPLE` are timed.
        on_done: called with the number of finished trials after each.
    """
    space = load_space(space_name)
    trials = finished[-1] + SAMPLE
    with TemporaryDirectory() as directory:
        state = _state(space, trials, Path(directory))
        measured: list[Overhead] = []
        asked: list[float] = []
        recorded: list[float] = []
        rng = random.Random(0)
        done = 0
        while True:
            began = time.perf_counter()
            task = state.next()
            asked.append(time.perf_counter() - began)
            if task is None:
                return measured
            state.on_start(task)
            result = _result(task.trial, task.epochs, space, rng)
            began = time.perf_counter()
            state.on_end(task, {"result": result})
            recorded.append(time.perf_counter() - began)
            ended = len(state.history.trials) + len(state.history.paused)
            if ended > done:
                done = ended
                on_done(done)
            if len(measured) < len(finished) and done >= finished[len(measured)] + SAMPLE:
                measured.append(
                    Overhead(
                        finished=finished[len(measured)],
                        proposal_ms=1e3 * sorted(asked[-SAMPLE:])[SAMPLE // 2],
                        worst_ms=1e3 * max(asked[-SAMPLE:]),
                        record_ms=1e3 * sorted(recorded[-SAMPLE:])[SAMPLE // 2],
                        memory_mib=resident_kib() / 2**10,
                    )
                )
                if len(measured) == len(finished):
                    return measured


@dataclass(frozen=True, slots=True, kw_only=True)
class RivalProposal:
    """Time of a proposal by the strongest rival's model.

    Attributes:
        strategy: name of the rival.
        finished: number of trials that it had learnt from.
        proposal_ms: median over `RIVAL_SAMPLE` proposals.
        worst_ms: the longest of them.
    """

    strategy: str
    finished: int
    proposal_ms: float
    worst_ms: float


def measure_rival(*, space_name: str = SPACE, finished: tuple[int, ...] = FINISHED) -> list[RivalProposal]:
    """Let BoTorch's qLogNEHVI learn made-up results, and time its proposals; nothing where BoTorch is not installed."""
    if not strategies()[RIVAL].installed:
        return []
    from rksearch.bench.replay.qlognehvi import STARTING, QLogNehvi

    space = load_space(space_name)
    rival = QLogNehvi(space, trials=finished[-1] + RIVAL_SAMPLE, seed=0)
    strangers = IndexDraw(space, Shuffled(len(space), 0))
    rng = random.Random(0)
    learnt: set[str] = set()
    measured = []
    for number in finished:
        while len(learnt) < number and (arch := strangers.next(learnt)) is not None:
            learnt.add(arch)
            rival.learn(arch, _final_error(cost(parse(arch), space.definition.dataset).params, rng))
        times = []
        for _ in range(RIVAL_SAMPLE + STARTING):
            began = time.perf_counter()
            rival.propose([])
            times.append(1e3 * (time.perf_counter() - began))
        asked = sorted(times[-RIVAL_SAMPLE:])  # those before may come from the start, which models nothing
        measured.append(
            RivalProposal(
                strategy=RIVAL,
                finished=len(learnt),
                proposal_ms=asked[RIVAL_SAMPLE // 2],
                worst_ms=asked[-1],
            )
        )
    return measured


def overhead_text(found: list[Overhead], rivals: list[RivalProposal]) -> str:
    """The same for people."""
    lines = ["finished  proposal ms (worst)  record ms  memory MiB"]
    for item in found:
        proposal = f"{item.proposal_ms:.1f} ({item.worst_ms:.1f})"
        lines.append(f"{item.finished:8,}  {proposal:>19}  {item.record_ms:9.1f}  {item.memory_mib:10.0f}")
    for own in rivals:
        lines.append(f"{own.finished:8,}  {own.proposal_ms:.1f} ({own.worst_ms:.1f}) ms by {own.strategy}")
    return "\n".join(lines)


def _state(space: Space, trials: int, directory: Path) -> RunState:
    definition = space.definition
    recipe = replace(definition.recipe, epochs=EPOCHS)
    racing: RacingRule | None = racing_rule(definition.search.racing, EPOCHS) if definition.search.racing else None
    plan = Plan(
        dataset=definition.dataset.name,
        recipe=recipe,
        train_images=definition.train_images,
        baselines=(),
        known=(),
        trials=trials,
        search_seeds=1,
        final_seeds=1,
        objectives=SearchPlan().objectives,
        sampler_seed=0,
        sampler=SearchPlan().sampler,
        racing=racing,
    )
    return RunState(Ledger(directory), search_agenda(space, plan))


def _result(trial: TrialSpec, epochs: int, space: Space, rng: random.Random) -> dict[str, Any]:
    """A training whose error falls with size, epoch by epoch, with noise."""
    counts = cost(parse(trial.arch), space.definition.dataset)
    final = _final_error(counts.params, rng)
    full = trial.recipe.epochs
    curve = tuple(
        Epoch(
            epoch=t,
            lr=0.1 * (1 - t / full),
            train_loss=(final + 60 * math.exp(-5 * t / full)) / 30,
            train_error_pct=final,
            val_loss=final / 30,
            val_error_pct=min(90.0, final + 60 * math.exp(-5 * t / full)),
            train_time_s=1.0,
        )
        for t in range(1, epochs + 1)
    )
    status: Status = "complete" if epochs == full else "paused"
    return to_plain(TrialResult(status=status, epochs=curve, **counts._asdict()))


def _final_error(params: int, rng: random.Random) -> float:
    return 60 * params**-0.2 * math.exp(rng.gauss(0, 0.1))
