"""The two tables that everything in a report is made from: one row per architecture, one row per training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rksearch.arch import Period, Steps, family_of, parse
from rksearch.results.choice_sample import ChoiceSample, choice_sample
from rksearch.results.class_errors import ClassErrorTable, class_error_tables
from rksearch.results.columns import Metric, arch_metrics, fresh
from rksearch.results.comparisons import BaselineRow, LadderStep, baseline_rows, ladder
from rksearch.results.control import ControlVerdict, control_verdict
from rksearch.results.dominance import Reference
from rksearch.results.fronts import FrontRow, HypervolumeBand, front_rows, hypervolume_band, smallest
from rksearch.results.history import History, TestReading
from rksearch.results.progress import RegretCurve, regret_curves
from rksearch.results.records import Epoch, TrialResult, TrialSpec
from rksearch.results.run_costs import ACTIVATION, RunCost, run_costs
from rksearch.results.short_long import ShortLong, short_and_long
from rksearch.results.stats import mean, sample_sd
from rksearch.results.summaries import ArchSummary, CostFunction, by_macs, by_params, mean_of, summarise, tested_by_both
from rksearch.space.plan import LATENCY, TOP1, ErrorMetric

if TYPE_CHECKING:
    from rksearch.results.calibration import Calibration
    from rksearch.results.contrasts import Effect
    from rksearch.results.importances import Importance
    from rksearch.results.uncertainty import ErrorDraws


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchRow:
    """An architecture as the report shows it: raw values; None where one does not apply.

    Attributes:
        arch, family, role: its name, its family, and the reason why it was trained.
        on_front, on_macs_front: whether it is on the front of parameters or of MACs and mean error.
        p_front, p_macs_front: the probability that it is on the front of true errors, among the networks trained and
            given their seeds; None for baselines, and where the spread between seeds is not known.
        smallest, fewest_macs: whether it is the one network of least cost that may stand on the front, so that its
            probability is 1 whatever its error.
        growth_rate: channels k that a layer adds.
        m, s, r, share: per period; empty where the family has none.
        method: Runge-Kutta method per period; None where all are learned.
        params, params_paper, macs, executed_macs, fvcore_flops: counts; see `ArchSummary`.
        latency_ms: median latency of one image; None where it was not measured.
        seeds, val_error_pct, val_error_sd_pct: see `ArchSummary`; likewise the test errors, and the balanced and the
            top-5 errors, which are None where a training has none. Where the run has test errors of both kinds of
            training, those of trainings made for the test stand in the fields that begin with `fresh_` instead.
        expected_error_pct: the median of the draws of its true error, which allow for luck; None where the spread is
            not known.
        train_time_s: mean of one training.
        beaten_by: baselines that dominate it in parameters and mean error; for those on the front alone.
        activation_bytes: activation memory of an image; None unless it was an objective of the run.
        on_latency_front, on_activation_front: whether it is on the front of that cost and mean error; None unless the
            cost was an objective of the run.
    """

    arch: str
    family: str
    role: str
    on_front: bool
    on_macs_front: bool
    p_front: float | None
    p_macs_front: float | None
    smallest: bool
    fewest_macs: bool
    growth_rate: int | None
    m: tuple[int, ...]
    s: tuple[int, ...]
    r: tuple[int, ...]
    share: tuple[str, ...]
    method: tuple[str, ...] | None
    params: int
    params_paper: int
    macs: int
    executed_macs: int | None
    latency_ms: float | None
    fvcore_flops: int
    seeds: int
    val_error_pct: float
    val_error_sd_pct: float | None
    expected_error_pct: float | None
    test_error_pct: float | None = None
    test_error_sd_pct: float | None = None
    fresh_test_error_pct: float | None = None
    fresh_test_error_sd_pct: float | None = None
    test_seeds: int
    train_time_s: float
    beaten_by: tuple[str, ...]
    balanced_val_error_pct: float | None = None
    balanced_val_error_sd_pct: float | None = None
    top5_val_error_pct: float | None = None
    top5_val_error_sd_pct: float | None = None
    balanced_test_error_pct: float | None = None
    balanced_test_error_sd_pct: float | None = None
    fresh_balanced_test_error_pct: float | None = None
    fresh_balanced_test_error_sd_pct: float | None = None
    top5_test_error_pct: float | None = None
    top5_test_error_sd_pct: float | None = None
    fresh_top5_test_error_pct: float | None = None
    fresh_top5_test_error_sd_pct: float | None = None
    activation_bytes: int | None = None
    on_latency_front: bool | None = None
    on_activation_front: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRow:
    """One training as `trials.csv` has it: the last epoch's values, raw; None where there is none."""

    trial: str
    arch: str
    family: str
    role: str
    replicate: int
    seed: int
    status: str
    failure: str | None
    message: str | None
    epochs: int
    val_error_pct: float | None
    val_loss: float | None
    train_error_pct: float | None
    train_loss: float | None
    test_error_pct: float | None
    test_loss: float | None
    params: int | None
    params_paper: int | None
    macs: int | None
    fvcore_flops: int | None
    witness_agrees: bool | None
    train_time_s: float
    wall_time_s: float
    device: str
    precision: str
    threads: int
    train_images: int | None
    val_images: int | None
    split: str
    balanced_val_error_pct: float | None = None
    top5_val_error_pct: float | None = None
    balanced_test_error_pct: float | None = None
    top5_test_error_pct: float | None = None
    latency_ms: float | None = None
    activation_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """Everything derived from one history.

    Attributes:
        items: summaries of all architectures with a complete training.
        archs: the same as rows, by parameters.
        trials: finished trainings, in the order in which they finished.
        front, macs_front: the two fronts, by rising cost.
        baselines, macs_baselines: the baselines against the fronts.
        ladder, macs_ladder: the size ladders, by parameters and by MACs.
        control: verdict on the control arm; None without one.
        hypervolume, macs_hypervolume: areas of the two fronts; None without a searched architecture.
        draws: joint draws of all true errors, behind every probability, interval and band.
        tested_draws: the same of the test errors, of the architectures for which the test set was read.
        choice_sample: the networks that effects and importances rest on.
        effects: effects of the design choices on the error.
        importances: of the design choices, beside chance.
        histories: regret to the final front of parameters as epochs are spent, per arm.
        curves: by architecture, the compared error after each epoch, mean over seeds.
        metric: the error by which the run compares networks.
        class_errors: of each network on either front, errors by class; none where no predictions were recorded.
        costs: the costs that the run has, parameters and MACs first.
        fronts: by field of a cost, the front of that cost and mean error, by rising cost.
        by_name: the rows of `archs` by architecture.
        calibration: what simulated runs of this shape say about its intervals; None unless it was asked for.
        short_long: short beside long trainings; None for a run that trains no other run's networks again.
        arch_metrics: the columns of architectures that this run has.
    """

    items: tuple[ArchSummary, ...]
    archs: tuple[ArchRow, ...]
    trials: tuple[TrialRow, ...]
    front: tuple[FrontRow, ...]
    macs_front: tuple[FrontRow, ...]
    baselines: tuple[BaselineRow, ...]
    macs_baselines: tuple[BaselineRow, ...]
    ladder: tuple[LadderStep, ...]
    macs_ladder: tuple[LadderStep, ...]
    control: ControlVerdict | None
    hypervolume: HypervolumeBand | None
    macs_hypervolume: HypervolumeBand | None
    draws: ErrorDraws
    tested_draws: ErrorDraws
    choice_sample: ChoiceSample
    effects: tuple[Effect, ...]
    importances: tuple[Importance, ...]
    histories: tuple[RegretCurve, ...]
    curves: dict[str, tuple[float, ...]]
    metric: ErrorMetric = TOP1
    class_errors: tuple[ClassErrorTable, ...] = ()
    costs: tuple[RunCost, ...] = ()
    fronts: Mapping[str, tuple[FrontRow, ...]] = field(default_factory=dict)
    by_name: Mapping[str, ArchRow] = field(default_factory=dict)
    calibration: Calibration | None = None
    short_long: ShortLong | None = None
    arch_metrics: tuple[Metric, ...] = ()

    def row(self, arch: str) -> ArchRow:
        """The row of this architecture."""
        return self.by_name[arch]

    @property
    def searched(self) -> tuple[ArchSummary, ...]:
        """The architectures that may stand on the front."""
        return tuple(item for item in self.items if item.is_searched)


def tables(
    history: History,
    activation_bytes: Mapping[str, int] | None = None,
    calibration: Calibration | None = None,
) -> Tables:
    """Everything that the report shows, derived from the history.

    Args:
        history: the history of the run.
        activation_bytes: memory of one image's activations in training, by architecture; None where the run had no such
            objective.
        calibration: what simulated runs of this shape say about its intervals.
    """
    from rksearch.results.contrasts import effects  # numpy: not needed to read a ledger
    from rksearch.results.importances import importances
    from rksearch.results.uncertainty import draw, draw_tested, front_shares

    items = summarise(history)
    draws, tested = draw(items), draw_tested(items)
    costs = (by_params, by_macs)
    shares = [front_shares(draws, items, cost) if draws.spread_known else {} for cost in costs]
    expected = dict(zip(draws.archs, draws.medians_pct, strict=True)) if draws.spread_known else {}
    cheapest = [smallest(items, cost=cost) for cost in costs]
    held = activation_bytes or {}
    known = run_costs(history, items, held)
    fronts = {own.field: tuple(front_rows(own.known(items), cost=own.of)) for own in known}
    on = {name: {row.item.arch: row for row in front} for name, front in fronts.items()}
    apart = tested_by_both(items)
    rows = sorted(
        (_arch_row(item, shares, expected, cheapest, known, on, apart=apart) for item in items),
        key=lambda row: (row.params, row.arch),
    )
    readings: dict[str, TestReading] = {}
    for test in history.tests:
        readings.setdefault(test.trial, test)
    against = [tuple(baseline_rows(items, draws, cost=cost, tested=tested)) for cost in costs]
    ladders = [tuple(ladder(found, items, cost=cost)) for cost, found in zip(costs, against, strict=True)]
    corners = [reference(history, items, cost) for cost in costs]
    sample = choice_sample(history, items)
    volumes = [hypervolume_band(items, draws, corner, cost=cost) for cost, corner in zip(costs, corners, strict=True)]
    on_params, on_macs = fronts["params"], fronts["macs"]
    on_front = {row.item.arch: row.item for row in (*on_params, *on_macs)}.values()
    return Tables(
        items=tuple(items),
        archs=tuple(rows),
        trials=tuple(
            _trial_row(spec, result, history, readings.get(spec.id), held) for spec, result in history.trials.values()
        ),
        front=on_params,
        macs_front=on_macs,
        baselines=against[0],
        macs_baselines=against[1],
        ladder=ladders[0],
        macs_ladder=ladders[1],
        control=control_verdict(history, items, draws, corners[0]),
        hypervolume=volumes[0],
        macs_hypervolume=volumes[1],
        draws=draws,
        tested_draws=tested,
        choice_sample=sample,
        effects=tuple(effects(sample.items)),
        importances=tuple(importances(sample.items)),
        histories=tuple(regret_curves(history, items, draws, corners[0], by_params)),
        curves={
            item.arch: _curve([history.trials[t][1].epochs for t in item.trial_ids], history.metric) for item in items
        },
        metric=history.metric,
        class_errors=tuple(class_error_tables(on_front, history)),
        costs=known,
        fronts=fronts,
        by_name={row.arch: row for row in rows},
        calibration=calibration,
        short_long=short_and_long(history),
        arch_metrics=arch_metrics(history.metric, rows),
    )


def reference(history: History, items: Sequence[ArchSummary], cost: CostFunction) -> Reference:
    """The corner for hypervolumes: the costliest network of the space, and guessing.

    Runs of one space therefore have the same corner; where the space is not recorded, the costliest network trained.
    """
    space = history.space
    known = None
    if space and cost is by_params:
        known = space.largest and space.largest.params
    elif space:
        known = space.most_macs and space.most_macs.macs
    data = history.data if space else None
    return Reference(
        cost=float(known or max((cost(i) for i in items), default=1)),
        error_pct=100 * (1 - 1 / data.classes) if data else 100.0,
    )


def methods_of(periods: Sequence[Steps]) -> tuple[str, ...] | None:
    """The Runge-Kutta method of each period; None where all are learned, as in most runs."""
    return tuple(period.method_name for period in periods) if any(period.solver for period in periods) else None


def _arch_row(
    item: ArchSummary,
    shares: Sequence[dict[str, float]],
    expected: dict[str, float],
    cheapest: Sequence[str | None],
    known: Sequence[RunCost],
    fronts: Mapping[str, Mapping[str, FrontRow]],
    *,
    apart: bool,
) -> ArchRow:
    spec = parse(item.arch)
    family = family_of(spec)
    periods = family.periods(spec)
    costs = {own.field: value for own in known if not math.isnan(value := own.of(item))}
    on = {name: item.arch in front for name, front in fronts.items()}
    found = fronts["params"].get(item.arch)
    tested = {
        "test_error_pct": item.test_error_pct,
        "test_error_sd_pct": item.test_error_sd_pct,
        "balanced_test_error_pct": mean_of(item.balanced_test_errors_pct),
        "balanced_test_error_sd_pct": sample_sd(item.balanced_test_errors_pct),
        "top5_test_error_pct": mean_of(item.top5_test_errors_pct),
        "top5_test_error_sd_pct": sample_sd(item.top5_test_errors_pct),
    }
    if apart and item.tested_afresh:
        tested = {fresh(name): error for name, error in tested.items()}
    return ArchRow(
        arch=item.arch,
        family=item.family,
        role=item.role,
        on_front=found is not None,
        on_macs_front=on["macs"],
        p_front=shares[0].get(item.arch),
        p_macs_front=shares[1].get(item.arch),
        smallest=item.arch == cheapest[0],
        fewest_macs=item.arch == cheapest[1],
        growth_rate=family.growth_rate(spec),
        m=tuple(p.m for p in periods if isinstance(p, Period)),
        s=tuple(p.s for p in periods),
        r=tuple(p.r for p in periods),
        share=tuple("yes" if p.share else "no" for p in periods),
        method=methods_of(periods),
        params=item.params,
        params_paper=item.params_paper,
        macs=item.macs,
        executed_macs=item.executed_macs,
        latency_ms=item.latency_ms,
        fvcore_flops=item.fvcore_flops,
        seeds=item.seeds,
        val_error_pct=item.val_error_pct,
        val_error_sd_pct=item.val_error_sd_pct,
        expected_error_pct=expected.get(item.arch),
        test_seeds=item.test_seeds,
        train_time_s=item.train_time_s,
        beaten_by=found.beaten_by if found else (),
        balanced_val_error_pct=mean_of(item.balanced_val_errors_pct),
        balanced_val_error_sd_pct=sample_sd(item.balanced_val_errors_pct),
        top5_val_error_pct=mean_of(item.top5_val_errors_pct),
        top5_val_error_sd_pct=sample_sd(item.top5_val_errors_pct),
        activation_bytes=int(costs[ACTIVATION]) if ACTIVATION in costs else None,
        on_latency_front=on.get(LATENCY),
        on_activation_front=on.get(ACTIVATION),
        **tested,
    )


def _trial_row(
    spec: TrialSpec,
    result: TrialResult,
    history: History,
    reading: TestReading | None,
    activation: Mapping[str, int],
) -> TrialRow:
    last: Epoch | None = result.epochs[-1] if result.epochs else None
    test = reading.result if reading else None
    return TrialRow(
        trial=spec.id,
        arch=spec.arch,
        family=parse(spec.arch).family,
        role=spec.role,
        replicate=spec.replicate,
        seed=spec.seed,
        status=result.status,
        failure=result.failure,
        message=result.message,
        epochs=len(result.epochs),
        # A training on the validation images too has no validation error.
        val_error_pct=last.val_error_pct if last and spec.role != "final" else None,
        val_loss=last.val_loss if last and spec.role != "final" else None,
        train_error_pct=last.train_error_pct if last else None,
        train_loss=last.train_loss if last else None,
        test_error_pct=test.test_error_pct if test else None,
        test_loss=test.test_loss if test else None,
        params=result.params,
        params_paper=result.params_paper,
        macs=result.macs,
        fvcore_flops=result.fvcore_flops,
        witness_agrees=result.witness.agree,
        train_time_s=math.fsum(e.train_time_s for e in result.epochs),
        wall_time_s=history.wall_time_s[spec.id],
        device=result.device,
        precision=result.precision,
        threads=result.threads,
        train_images=result.images.train,
        val_images=result.images.val,
        split=result.split,
        balanced_val_error_pct=last.balanced_val_error_pct if last and spec.role != "final" else None,
        top5_val_error_pct=last.top5_val_error_pct if last and spec.role != "final" else None,
        balanced_test_error_pct=test.balanced_test_error_pct if test else None,
        top5_test_error_pct=test.top5_test_error_pct if test else None,
        latency_ms=result.image_latency_ms,
        activation_bytes=activation.get(spec.arch),
    )


def _curve(runs: Sequence[Sequence[Epoch]], metric: ErrorMetric) -> tuple[float, ...]:
    """Mean error after each epoch that every run has."""
    if len(runs) == 1:
        return tuple(epoch.error_pct(metric) for epoch in runs[0])
    return tuple(mean([e.error_pct(metric) for e in epochs]) for epochs in zip(*runs, strict=False))
