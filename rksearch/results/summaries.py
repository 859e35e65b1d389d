"""Summaries of architectures over their complete trainings. Errors are in percent, top-1 where a name says no more."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from rksearch.arch import parse
from rksearch.results.confusion import Confusion
from rksearch.results.history import History
from rksearch.results.records import Role, TestResult, TrialResult, TrialSpec
from rksearch.results.stats import mean, sample_sd
from rksearch.space.plan import TOP1, ErrorMetric

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchSummary:
    """Summary of one architecture over all its complete trainings.

    Attributes:
        arch: canonical name.
        family: machine name of the family.
        role: the first of `baseline`, `known`, `candidate` and `control` that any of its trials has.
        seeds: complete trainings, those for the test set left out.
        val_error_pct: mean over seeds of the last epoch's validation error.
        val_error_sd_pct: sample standard deviation over seeds; None for one seed.
        params, params_paper, macs, fvcore_flops: closed-form counts.
        val_errors_pct: the last epoch's validation error of each complete training, by replicate.
        test_error_pct, test_error_sd_pct, test_seeds: the same on the test set, over the trainings it was read for; of
            several readings for one training the first counts. Trainings of role `final` saw more images; where
            there are any, they alone count.
        train_time_s: mean time of one training, validation left out.
        trial_ids: ids of the complete trials, by replicate.
        metric: the error by which the run compares networks: `error_pct`, `error_sd_pct`, `errors_pct`,
            `tested_error_pct` and `tested_error_sd_pct` are of it.
        balanced_val_errors_pct, top5_val_errors_pct: as `val_errors_pct`; empty where a training has none.
        balanced_test_errors_pct, top5_test_errors_pct: of the trainings behind `test_error_pct`; empty where one has
            none.
        val_confusions, test_confusions: predictions of these trainings; empty where one has none recorded.
        test_errors_pct: test error of each training behind `test_error_pct`.
        test_trial_ids: ids of these trainings.
        executed_macs: multiply-adds that its trainings execute for one image; None where they were not counted.
        latency_ms: median latency of one image, mean over the trainings that measured it; None without any.
        val_images, test_images: images behind each validation and each test error; None where trainings differ or do
            not say.
    """

    arch: str
    family: str
    role: Role
    seeds: int
    val_error_pct: float
    val_error_sd_pct: float | None
    params: int
    params_paper: int
    macs: int
    fvcore_flops: int
    test_error_pct: float | None
    test_error_sd_pct: float | None
    test_seeds: int
    train_time_s: float
    trial_ids: tuple[str, ...]
    val_errors_pct: tuple[float, ...]
    metric: ErrorMetric = TOP1
    balanced_val_errors_pct: tuple[float, ...] = ()
    top5_val_errors_pct: tuple[float, ...] = ()
    balanced_test_errors_pct: tuple[float, ...] = ()
    top5_test_errors_pct: tuple[float, ...] = ()
    val_confusions: tuple[Confusion, ...] = ()
    test_confusions: tuple[Confusion, ...] = ()
    test_errors_pct: tuple[float, ...] = ()
    test_trial_ids: tuple[str, ...] = ()
    executed_macs: int | None = None
    latency_ms: float | None = None
    val_images: int | None = None
    test_images: int | None = None

    @property
    def errors_pct(self) -> tuple[float, ...]:
        """The compared error of each complete training, on the validation split after its last epoch, by replicate."""
        return self.val_errors_pct if self.metric == TOP1 else self.balanced_val_errors_pct

    @property
    def error_pct(self) -> float:
        """Mean of the compared error over seeds."""
        return self.val_error_pct if self.metric == TOP1 else exact_mean(self.balanced_val_errors_pct)

    @property
    def error_sd_pct(self) -> float | None:
        """Sample standard deviation of the compared error; None for one seed."""
        return self.val_error_sd_pct if self.metric == TOP1 else sample_sd(self.balanced_val_errors_pct)

    @property
    def tested_error_pct(self) -> float | None:
        """Mean of the compared error on the test set; None where it was not read, or not measured."""
        known = self.tested_errors_pct
        return self.test_error_pct if self.metric == TOP1 else exact_mean(known) if known else None

    @property
    def tested_errors_pct(self) -> tuple[float, ...]:
        """The compared error of each training that the test set was read with; empty where one was not measured."""
        return self.test_errors_pct if self.metric == TOP1 else self.balanced_test_errors_pct

    @property
    def tested_error_sd_pct(self) -> float | None:
        """Sample standard deviation of the compared error on the test set; None for fewer than two trainings."""
        return self.test_error_sd_pct if self.metric == TOP1 else sample_sd(self.balanced_test_errors_pct)

    @property
    def tested_afresh(self) -> bool:
        """Whether the test set was read with trainings of role `final`, which saw the validation images as well."""
        return bool(self.test_trial_ids) and set(self.test_trial_ids).isdisjoint(self.trial_ids)

    @property
    def is_searched(self) -> bool:
        """Whether it may stand on the front: neither a baseline nor of the control arm alone."""
        return self.role in ("known", "candidate")

    @property
    def is_baseline(self) -> bool:
        """Whether it is a baseline."""
        return self.role == "baseline"


def tested_by_both(items: Iterable[ArchSummary]) -> bool:
    """Whether some test errors are of trainings of the search and others of trainings made for the test.

    The two kinds saw different images, so that they are not compared with each other.
    """
    return len({item.tested_afresh for item in items if item.test_seeds}) > 1


DIGITS = 9
"""Decimals of a percentage beyond which two mean errors count as the same."""


def exact_mean(errors_pct: Sequence[float], images: int | None = None) -> float:
    """Mean of errors in percent that is the same number for the same count of wrong images.

    31 and 31 wrong images have the mean of 30 and 32; as means of floats the two may differ in the last bit, and one
    network would dominate another that makes exactly as many errors. Where the number of images is known and the errors
    are whole counts, the mean is the quotient of two whole numbers, which is rounded once; else it is rounded to
    `DIGITS` decimals.

    Args:
        errors_pct: one for each training.
        images: images behind each; None where that is not known, or errors are no counts, as balanced ones.

    Raises:
        ValueError: there are no errors.
    """
    if images:
        counts = [round(error * images / 100) for error in errors_pct]
        if counts and all(
            abs(100 * count / images - error) < 10**-6 for count, error in zip(counts, errors_pct, strict=True)
        ):
            return 100 * sum(counts) / (images * len(counts))
    return round(mean(errors_pct), DIGITS)


CostFunction = Callable[[ArchSummary], float]
"""The cost of an architecture."""


def by_params(item: ArchSummary) -> float:
    """The cost of the main front: all parameters."""
    return item.params


def by_macs(item: ArchSummary) -> float:
    """The cost of the second front: multiply-adds of one image."""
    return item.macs


RANKED_ROLES: tuple[Role, ...] = ("baseline", "known", "candidate", "control")
"""Roles in order: an architecture of several roles has the first of them."""


def summarise(history: History) -> list[ArchSummary]:
    """One summary per architecture with at least one complete trial, in the order of first completion.

    A network of the control arm that the search has trained as well has the seeds of both.
    """
    groups: dict[str, list[tuple[TrialSpec, TrialResult]]] = {}
    for spec, result in history.trials.values():
        if result.status == "complete" and spec.role != "final":
            groups.setdefault(spec.arch, []).append((spec, result))
    readings: dict[str, TestResult] = {}
    for test in history.tests:
        readings.setdefault(test.trial, test.result)
    final: dict[str, list[str]] = {}
    for spec, _ in history.trials.values():
        if spec.role == "final" and spec.id in readings:
            final.setdefault(spec.arch, []).append(spec.id)
    metric = history.metric
    return [_summary(arch, pairs, readings, final.get(arch, []), metric) for arch, pairs in groups.items()]


def mean_of(values: Sequence[float]) -> float | None:
    """Arithmetic mean; None of no values."""
    return mean(values) if values else None


def _summary(
    arch: str,
    pairs: list[tuple[TrialSpec, TrialResult]],
    readings: dict[str, TestResult],
    final: list[str],
    metric: ErrorMetric,
) -> ArchSummary:
    pairs = sorted(pairs, key=lambda pair: pair[0].replicate)
    roles = {spec.role for spec, _ in pairs}
    first = pairs[0][1]
    last = [result.epochs[-1] for _, result in pairs]
    errors = [epoch.val_error_pct for epoch in last]
    images = shared_value(result.images.val for _, result in pairs)
    tested_ids = final or [spec.id for spec, _ in pairs if spec.id in readings]
    tested = [readings[trial_id] for trial_id in tested_ids]
    tests = [reading.test_error_pct for reading in tested]
    test_images = shared_value(reading.test_images for reading in tested)
    latencies = [value for _, result in pairs if (value := result.image_latency_ms) is not None]
    role = next(role for role in RANKED_ROLES if role in roles)
    return ArchSummary(
        arch=arch,
        family=parse(arch).family,
        role=role,
        seeds=len(pairs),
        val_error_pct=exact_mean(errors, images),
        val_error_sd_pct=sample_sd(errors),
        params=first.params or 0,
        params_paper=first.params_paper or 0,
        macs=first.macs or 0,
        fvcore_flops=first.fvcore_flops or 0,
        test_error_pct=exact_mean(tests, test_images) if tests else None,
        test_error_sd_pct=sample_sd(tests),
        test_seeds=len(tests),
        train_time_s=mean([math.fsum(e.train_time_s for e in result.epochs) for _, result in pairs]),
        trial_ids=tuple(spec.id for spec, _ in pairs),
        val_errors_pct=tuple(errors),
        metric=metric,
        balanced_val_errors_pct=_all_or_none([epoch.balanced_val_error_pct for epoch in last]),
        top5_val_errors_pct=_all_or_none([epoch.top5_val_error_pct for epoch in last]),
        balanced_test_errors_pct=_all_or_none([reading.balanced_test_error_pct for reading in tested]),
        top5_test_errors_pct=_all_or_none([reading.top5_test_error_pct for reading in tested]),
        val_confusions=_all_or_none([result.val_confusion for _, result in pairs]),
        test_confusions=_all_or_none([reading.test_confusion for reading in tested]),
        test_errors_pct=tuple(tests),
        test_trial_ids=tuple(tested_ids),
        executed_macs=shared_value(result.executed_macs for _, result in pairs),
        latency_ms=mean_of(latencies),
        val_images=images,
        test_images=test_images,
    )


def shared_value(values: Iterable[T | None]) -> T | None:
    """The value that all have; None where they differ or one has none."""
    found = set(values)
    return found.pop() if len(found) == 1 else None


def _all_or_none(values: Sequence[T | None]) -> tuple[T, ...]:
    """The values, or none of them where one is missing: a mean over some of the seeds would be another quantity."""
    known = tuple(value for value in values if value is not None)
    return known if len(known) == len(values) else ()


def size_band(params: int) -> tuple[int, int]:
    """The band [low, high) of sizes that holds `params`, with edges 1, 2, 5, 10, 20, 50, ...

    Raises:
        ValueError: `params` is below 1.
    """
    if params < 1:
        raise ValueError(f"params must be at least 1, but got {params}")
    decade = 10 ** (len(str(params)) - 1)
    low = max(step * decade for step in (1, 2, 5) if step * decade <= params)
    return low, low * 5 // 2 if str(low)[0] == "2" else low * 2


def best_per_band(items: Iterable[ArchSummary], *, baselines: bool = False) -> dict[tuple[int, int], ArchSummary]:
    """The searched architecture of least mean error in each size band that has one, by rising size; or the baseline."""
    best: dict[tuple[int, int], ArchSummary] = {}
    for item in items:
        if not (item.is_baseline if baselines else item.is_searched):
            continue
        band = size_band(max(1, item.params))
        if band not in best or item.error_pct < best[band].error_pct:
            best[band] = item
    return dict(sorted(best.items()))
