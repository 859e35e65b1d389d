"""How often the claims of a report hold in simulated runs of a run's shape; see `rksearch.bench.simulated_runs`.

The report's own functions make intervals, bands and probabilities from the simulated trainings; each is held against
the truth. Truths come from the model, from the model with a heavy-tailed spread between seeds, and from the run's own
networks and seeds without a model.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rksearch.arch.arrays import Floats
from rksearch.bench.simulated_runs import LEAST_TRAINED, SimulatedRun, run_shape, simulated_runs
from rksearch.errors import RunError
from rksearch.results.calibration import (
    BINS,
    Calibration,
    CalibrationCase,
    ClaimCount,
    Noise,
    Reliability,
    coverage,
    reliability,
)
from rksearch.results.comparisons import baseline_rows
from rksearch.results.contrasts import effects
from rksearch.results.dominance import hypervolume, on_front
from rksearch.results.fronts import BAND, front_band, hypervolume_band
from rksearch.results.history import History
from rksearch.results.stats import CONFIDENCE
from rksearch.results.summaries import ArchSummary, CostFunction, by_macs, by_params, summarise
from rksearch.results.uncertainty import ErrorDraws, draw, front_shares

COSTS: tuple[CostFunction, ...] = (by_params, by_macs)

NOISES: tuple[Noise, ...] = ("normal", "heavy-tailed", "resampled")


def calibrate(
    history: History, *, runs: int = 100, seed: int = 0, on_run: Callable[[], None] | None = None
) -> Calibration:
    """Simulate runs of the shape of a run.

    Args:
        history: of the run.
        runs: number of simulated runs for each source of truths and seeds.
        seed: decides every random number.
        on_run: called after each simulated run.

    Raises:
        RunError: the run has no plan, too few networks that were trained to the end, or none with two seeds that
            differ.
        ValueError: `runs` is below 1.
    """
    if runs < 1:
        raise ValueError(f"runs must be at least 1, but got {runs}")
    items = summarise(history)
    searched = [item for item in items if item.is_searched]
    plan = history.plan
    if plan is None or len(searched) < LEAST_TRAINED:
        raise RunError(
            f"a run can be simulated when its plan is known and at least {LEAST_TRAINED} of its searched networks are "
            f"trained to the end, but there are {len(searched)}; train more, or leave --calibrate out"
        )
    if not draw(items, resamples=1).spread_known:
        raise RunError(
            "a run can be simulated when some network has two seeds that differ, but none has; train with --seeds 2 or "
            "more, or leave --calibrate out"
        )
    shape = run_shape(history, plan, items)
    cases, trainings = [], 0
    for number, noise in enumerate(NOISES):
        generator = np.random.default_rng([seed, number])
        found = []
        for simulated in simulated_runs(shape, items, runs, noise, generator):
            found.append(_judged(simulated))
            trainings += found[-1].trainings
            if on_run is not None:
                on_run()
        cases.append(_case(noise, found))
    return Calibration(
        runs=runs,
        seed=seed,
        candidates=sum(network.role == "candidate" for network in shape.networks),
        baselines=sum(network.role == "baseline" for network in shape.networks),
        left_out=shape.left_out,
        raced=shape.race is not None,
        trainings=trainings / (runs * len(NOISES)),
        cases=tuple(cases),
    )


# -- claims against the truth


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """Tallies of one simulated run.

    Attributes:
        trainings: complete ones.
        claims: by claim, in the order of the report.
        members: probability of being on the front of each network, and whether it is on that of true errors.
    """

    trainings: int
    claims: dict[str, ClaimCount]
    members: tuple[tuple[float, bool], ...]


NOMINAL: dict[str, float | None] = {
    "The 95 % interval of a gap to a baseline holds the true gap": CONFIDENCE,
    "A win or a loss against a baseline is one": None,
    "The middle 90 % of the draws of a network's error holds its true error": BAND,
    "The 90 % band of the front holds the whole true front": BAND,
    "The 90 % band of the hypervolume holds that of the true front": BAND,
    "The 95 % interval of a choice that does nothing holds no effect": CONFIDENCE,
}
"""Claims, and the shares in which the report says that they hold; None where it says no number."""


def _judged(run: SimulatedRun) -> _Judged:
    items = summarise(run.history)
    draws = draw(items)
    searched = sorted((item for item in items if item.is_searched), key=lambda item: (item.params, item.arch))
    true = np.array([[run.true_pct[item.arch] for item in searched]])
    drawn = draws.of(searched)
    low, high = np.quantile(drawn, ((1 - BAND) / 2, (1 + BAND) / 2), axis=0)
    inside = (low <= true[0]) & (true[0] <= high)
    ends = [np.array(end) for end in front_band(drawn, BAND)]
    best = np.minimum.accumulate(true[0])
    within = (ends[0] <= best) & (best <= ends[1])
    tallies = [
        *_gaps(run, items, draws),
        ClaimCount(made=len(inside), held=float(inside.sum())),
        ClaimCount(made=1, held=float(within.all())),
        _areas(run, items, draws, searched, true),
        _choices(run, items),
    ]
    shares = front_shares(draws, items, by_params)
    on = on_front(true, [item.params for item in searched])[0]
    return _Judged(
        trainings=sum(result.status == "complete" for _, result in run.history.trials.values()),
        claims=dict(zip(NOMINAL, tallies, strict=True)),
        members=tuple((shares[item.arch], bool(own)) for item, own in zip(searched, on, strict=True)),
    )


def _gaps(run: SimulatedRun, items: Sequence[ArchSummary], draws: ErrorDraws) -> tuple[ClaimCount, ClaimCount]:
    """Intervals of gaps that hold the true gap, and directions that are right."""
    held = made = right = decided = 0
    for cost in COSTS:
        for row in baseline_rows(items, draws, cost=cost):
            if row.rival is None or row.comparison is None or row.comparison.interval_pct is None:
                continue
            gap = run.true_pct[row.rival.arch] - run.true_pct[row.item.arch]
            low, high = row.comparison.interval_pct
            made, held = made + 1, held + (low <= gap <= high)
            if row.outcome in ("win", "loss"):
                decided, right = decided + 1, right + ((gap < 0) == (row.outcome == "win"))
    return ClaimCount(made=made, held=held), ClaimCount(made=decided, held=right)


def _areas(
    run: SimulatedRun,
    items: Sequence[ArchSummary],
    draws: ErrorDraws,
    searched: Sequence[ArchSummary],
    true: Floats,
) -> ClaimCount:
    """Bands of hypervolumes that hold the true one."""
    held = made = 0
    for cost, corner in zip(COSTS, run.shape.corners, strict=True):
        found = hypervolume_band(items, draws, corner, cost=cost)
        if found is not None and found.band is not None:
            area = float(hypervolume(true, [cost(item) for item in searched], corner)[0])
            made, held = made + 1, held + (found.band[0] <= area <= found.band[1])
    return ClaimCount(made=made, held=held)


def _choices(run: SimulatedRun, items: Sequence[ArchSummary]) -> ClaimCount:
    """Intervals of effects at equal budget that hold what the trend of error over size makes of the same pairs."""
    flat = [_on_trend(run, item) for item in items]
    expected = {(effect.change, effect.design): effect.odds_ratio for effect in effects(flat)}
    held = made = 0
    for effect in effects(items):
        true = expected.get((effect.change, effect.design))
        if effect.low is not None and effect.high is not None and true and effect.design != "all else equal":
            made, held = made + 1, held + (effect.low <= true <= effect.high)
    return ClaimCount(made=made, held=held)


def _on_trend(run: SimulatedRun, item: ArchSummary) -> ArchSummary:
    """The network as it would be if its choices, its own deviation and its seeds did nothing."""
    error = run.trend_pct[item.arch]
    return replace(item, val_error_pct=error, val_errors_pct=(error,) * len(item.val_errors_pct))


def _case(noise: Noise, found: Sequence[_Judged]) -> CalibrationCase:
    return CalibrationCase(
        noise=noise,
        coverages=tuple(
            coverage(claim, share, [run.claims[claim] for run in found]) for claim, share in NOMINAL.items()
        ),
        reliabilities=tuple(_range(low, high, found) for low, high in itertools.pairwise(BINS)),
    )


def _range(low: float, high: float, found: Sequence[_Judged]) -> Reliability:
    """The networks whose probability lies in [low, high), or up to 1 in the last range."""
    own = [[(p, on) for p, on in run.members if low <= p < high or p == high == BINS[-1]] for run in found]
    tallies = [ClaimCount(made=len(members), held=sum(on for _, on in members)) for members in own]
    return reliability(low, high, [p for members in own for p, _ in members], tallies)
