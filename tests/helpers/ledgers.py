"""Synthetic ledgers with plausible numbers, for tests of what reads them."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rksearch.arch import Period, RKNet
from rksearch.arch.cost import Witness
from rksearch.recipes.shipped import recipe
from rksearch.results.environment import Environment
from rksearch.results.events import Event, RunPlanned, SessionEnded, SessionStarted, TrialEnded
from rksearch.results.fronts import rk_front
from rksearch.results.ledger import FILE_NAME, Ledger
from rksearch.results.lines import written
from rksearch.results.plan import Plan
from rksearch.results.records import Epoch, ImageCounts, Role, TestResult, TrialResult, TrialSpec
from rksearch.results.stats import mean, sample_sd
from rksearch.results.summaries import ArchSummary, summarise
from rksearch.space.summary import BudgetSummary, MemberSummary, SpaceSummary

BASELINES = ("ResNet-8", "DenseNet-13-k8", "DenseNet-BC-22-k8", "DenseNet-BC-40-k6")
KNOWN = ("RKNet-BC-k8-m2_4_6-1x2_1x2_1x1",)
PARAMS = {"ResNet-8": 78_042, "DenseNet-13-k8": 26_000, "DenseNet-BC-22-k8": 31_500, "DenseNet-BC-40-k6": 52_000}


def summary(
    arch: str,
    params: int,
    errors_pct: Sequence[float],
    *,
    role: Role = "candidate",
    macs: int | None = None,
    family: str = "dense_bc",
) -> ArchSummary:
    """What would be known about an architecture whose trainings ended with these validation errors."""
    return ArchSummary(
        arch=arch,
        family=family,
        role=role,
        seeds=len(errors_pct),
        val_error_pct=mean(errors_pct),
        val_error_sd_pct=sample_sd(errors_pct),
        params=params,
        params_paper=params,
        macs=100 * params if macs is None else macs,
        fvcore_flops=params,
        test_error_pct=None,
        test_error_sd_pct=None,
        test_seeds=0,
        train_time_s=1.0,
        trial_ids=tuple(f"{arch}@{i}" for i in range(len(errors_pct))),
        val_errors_pct=tuple(errors_pct),
    )


def ticking(start_s: int = 0, step_s: int = 7) -> Callable[[], str]:
    """A clock that moves a fixed step at each reading."""
    now = [start_s]

    def clock() -> str:
        now[0] += step_s
        minutes, seconds = divmod(now[0], 60)
        hours, minutes = divmod(minutes, 60)
        return f"2026-01-{1 + hours // 24:02d}T{hours % 24:02d}:{minutes:02d}:{seconds:02d}Z"

    return clock


def trial(arch: str, replicate: int = 0, role: Role = "candidate", epochs: int = 8) -> TrialSpec:
    """A trial of a small CIFAR-10 run."""
    chosen = recipe("short", epochs=epochs)
    return TrialSpec(arch=arch, dataset="cifar10", recipe=chosen, train_images=10_000, replicate=replicate, role=role)


def complete(
    val_error_pct: float, *, params: int = 50_000, macs: int = 5_000_000, epochs: int = 8, seconds: float = 31.5
) -> TrialResult:
    """A complete result whose validation error falls to the given one."""
    curve = [val_error_pct + (90 - val_error_pct) * 0.5 * math.exp(-0.55 * e) for e in range(epochs)]
    curve[-1] = val_error_pct
    return TrialResult(
        status="complete",
        epochs=tuple(
            Epoch(
                epoch=e + 1,
                lr=0.1 * (1 - e / epochs),
                train_loss=error / 30 + 0.1,
                train_error_pct=min(100.0, error + 2),
                val_loss=error / 32 + 0.1,
                val_error_pct=error,
                train_time_s=seconds / epochs,
            )
            for e, error in enumerate(curve)
        ),
        params=params,
        params_paper=params - params // 30,
        macs=macs,
        fvcore_flops=macs + macs // 12,
        witness=Witness(params=params, fvcore_flops=macs + macs // 12, agree=True),
        device="cpu",
        precision="bf16",
        threads=1,
        images=ImageCounts(train=10_000, val=5_000),
        split="0f1e2d3c4b5a6978",
    )


def failed(
    failure: str = "non_finite_loss", message: str = "loss is nan in epoch 2, step 14, at lr 0.1"
) -> TrialResult:
    """A result of a training that could not go on."""
    return TrialResult(status="failed", failure=failure, message=message, params=61_234, macs=7_000_000)


def pruned(val_error_pct: float, *, params: int = 50_000, epochs: int = 2) -> TrialResult:
    """A result of a training that racing stopped after some epochs of eight."""
    whole = complete(val_error_pct, params=params)
    return replace(whole, status="pruned", epochs=whole.epochs[:epochs])


def space_record(**changes: Any) -> SpaceSummary:
    """Facts about a space of the run."""
    smallest = MemberSummary(name=KNOWN[0], params=10_034, macs=1_600_000)
    found = SpaceSummary(
        name="cifar10_small",
        description="Small Runge-Kutta networks on CIFAR-10",
        dataset="cifar10",
        yaml="description: Small Runge-Kutta networks on CIFAR-10\ndataset: cifar10\ngrowth_rate: [4, 6, 8]\n",
        sha256="ab" * 32,
        raw_size=124_416,
        canonical_size=98_304,
        feasible=40_511,
        rejected={"params_high": 3_000, "macs_high": 54_793},
        budgets=BudgetSummary(params=(10_000, 150_000), macs=(1_500_000, 12_000_000)),
        smallest=smallest,
        largest=MemberSummary(name=KNOWN[0], params=149_810, macs=11_900_000),
    )
    return replace(found, **changes)


def plan_record(**changes: Any) -> Plan:
    """The plan of the run."""
    found = Plan(
        dataset="cifar10",
        recipe=recipe("short", epochs=8),
        train_images=10_000,
        baselines=BASELINES,
        known=KNOWN,
        trials=24,
        search_seeds=1,
        final_seeds=3,
        objectives=("val_error_pct", "params"),
        sampler="tpe",
        sampler_seed=0,
    )
    return replace(found, **changes)


def environment_record() -> Environment:
    """The environment of the run's session."""
    return Environment(
        rksearch="0.1.0",
        commit="0123456789abcdef0123456789abcdef01234567",
        dirty=False,
        command=("rksearch", "run", "--space", "cifar10_small", "--data-dir", "data"),
        python="3.11.7",
        packages={
            "torch": "2.9.1",
            "torchvision": "0.24.1",
            "ray": "2.60.0",
            "optuna": "5.0.0",
            "fvcore": "0.1.5.post20221221",
            "numpy": "2.3.0",
        },
        os="Linux 6.1",
        cpu="Some CPU",
        cpu_count=2,
        memory_bytes=8 * 2**30,
    )


def begin(run_dir: Path, name: str = "cifar10_small_cpu", epochs: int = 8) -> Ledger:
    """A ledger with its run and first session recorded."""
    ledger = Ledger(run_dir, clock=ticking())
    ledger.write_run(name=name, space=space_record(), plan=plan_record(recipe=recipe("short", epochs=epochs)))
    ledger.write_session(environment=environment_record(), options={"space": "cifar10_small", "trials": 24})
    return ledger


def candidates(number: int, seed: int = 7) -> list[RKNet]:
    """Different small RKNets."""
    rng = random.Random(seed)
    found: dict[str, RKNet] = {}
    while len(found) < number:
        periods = []
        for _ in range(3):
            r = rng.choice((1, 2, 4))
            m, s = rng.choice((2, 3, 4, 6)), rng.choice((1, 2))
            periods.append(Period(m=m, s=s, r=r, share=r > 1 and rng.random() < 0.5))
        spec = RKNet(growth_rate=rng.choice((4, 6, 8)), periods=tuple(periods))
        if spec.name not in KNOWN:
            found[spec.name] = spec
    return list(found.values())


def plausible_error_pct(params: int, quality: float, rng: random.Random) -> float:
    """A validation error on the 5,000-image grid that falls with size."""
    error = 70 - 14 * math.log10(params / 5_000) * quality + rng.gauss(0, 0.6)
    return round(error * 50) / 50


def full_run(run_dir: Path, number: int = 24) -> Ledger:
    """A finished run: baselines with three seeds, candidates with one, the front with three, two failures, tests."""
    rng = random.Random(11)
    ledger = begin(run_dir)
    quality: dict[str, tuple[int, int, float]] = {}
    for arch in BASELINES:
        quality[arch] = (PARAMS[arch], PARAMS[arch] * 90, rng.uniform(1.3, 1.7))
    for arch in (*KNOWN, *(spec.name for spec in candidates(number))):
        params = round(10 ** rng.uniform(4.05, 5.15))
        quality[arch] = (params, round(params * rng.uniform(50, 160)), rng.uniform(1.0, 1.9))

    def train(arch: str, replicate: int, role: Role) -> None:
        params, macs, q = quality[arch]
        spec = trial(arch, replicate, role)
        ledger.write_start(spec.id)
        error = plausible_error_pct(params, q, rng)
        seconds = macs / 150_000
        result = complete(error, params=params, macs=macs, seconds=seconds)
        ledger.write_trial(spec, result, wall_time_s=seconds + 4.2)

    for arch in BASELINES:
        for replicate in range(3):
            train(arch, replicate, "baseline")
    for arch in quality:
        if arch not in BASELINES:
            train(arch, 0, "known" if arch in KNOWN else "candidate")
    for spec in candidates(number + 2)[number:]:
        ledger.write_start(f"{spec.name}@0")
        ledger.write_trial(trial(spec.name), failed(), wall_time_s=12.5)
    front = [item.arch for item in rk_front(summarise(ledger.read()))]
    for arch in front:
        for replicate in (1, 2):
            train(arch, replicate, "known" if arch in KNOWN else "candidate")
    results = ledger.read().trials
    for arch in (*front, *BASELINES):
        for replicate in range(3):
            asked = trial(arch, replicate)
            if asked.id not in results:
                continue
            error = results[asked.id][1].epochs[-1].val_error_pct + rng.gauss(0.3, 0.4)
            outcome = TestResult(test_error_pct=round(error, 2), test_loss=error / 32, test_images=10_000)
            ledger.write_test(asked, outcome)
    ledger.write_end("finished")
    return ledger


def large_run(run_dir: Path, number: int, *, epochs: int = 30, control: int = 0, seed: int = 5) -> Path:
    """A finished run of this many first trainings of different networks, written at once, without waiting for a disk.

    The networks on the front have two further seeds; `control` of the trainings are those of a control arm.
    """
    rng = random.Random(seed)
    clock = ticking()
    plan = plan_record(recipe=recipe("short", epochs=epochs), trials=number - control, control=control > 0)
    events: list[Event] = [
        RunPlanned(name="large", space=space_record(), plan=plan),
        SessionStarted(environment=environment_record(), options={}),
    ]

    def train(arch: str, params: int, quality: float, replicate: int, role: Role) -> float:
        spec = trial(arch, replicate, role, epochs)
        error = plausible_error_pct(params, quality, rng)
        result = complete(error, params=params, macs=params * 90, epochs=epochs)
        events.append(TrialEnded(trial=spec.id, spec=spec, result=result, wall_time_s=40.0))
        return error

    for arch in BASELINES:
        for replicate in range(3):
            train(arch, PARAMS[arch], 1.5, replicate, "baseline")
    best: list[tuple[int, float, str, float]] = []
    for i, net in enumerate(candidates(number, seed)):
        params, quality = round(10 ** rng.uniform(4.05, 5.15)), rng.uniform(1.0, 1.9)
        role: Role = "control" if i >= number - control else "candidate"
        error = train(net.name, params, quality, 0, role)
        if role == "candidate":
            best.append((params, error, net.name, quality))
    least = math.inf
    for params, error, arch, quality in sorted(best):
        if error < least:
            least = error
            for replicate in (1, 2):
                train(arch, params, quality, replicate, "candidate")
    events.append(SessionEnded(state="finished"))
    run_dir.mkdir(parents=True, exist_ok=True)
    (run_dir / FILE_NAME).write_bytes(b"".join(written(event, clock()) for event in events))
    return run_dir
