from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from scipy import stats  # type: ignore[import-untyped]

from rksearch.arch import ArchSpec, Period, RKNet, parse
from rksearch.arch.cost import Cost, cost
from rksearch.data.facts import dataset
from rksearch.results.contrasts import Effect, effects, factors_of, ratio_interval
from rksearch.results.stats import StudentEstimate
from rksearch.results.summaries import ArchSummary
from rksearch.results.uncertainty import error_of
from tests.helpers.ledgers import summary


@cache
def counted(spec: RKNet) -> Cost:
    return cost(spec, dataset("digits"))


def nets() -> list[RKNet]:
    """All combinations of a small space."""
    steps = [(1, False), (2, False), (2, True)]
    return [
        RKNet(
            growth_rate=k,
            periods=(Period(m=m, s=s, r=r, share=share), Period(m=n, s=1, r=1)),
            bottleneck=False,
        )
        for k, m, n, s, (r, share) in itertools.product((4, 6, 8), (1, 2), (1, 2, 3), (1, 2), steps)
    ]


def trained(specs: list[RKNet], theta: Callable[[RKNet, float], float]) -> list[ArchSummary]:
    """Summaries whose log-odds are a function of the network and its log10 of parameters."""
    out = []
    for spec in specs:
        counts = counted(spec)
        error = float(error_of(np.array([theta(spec, math.log10(counts.params))]))[0])
        out.append(summary(spec.name, counts.params, [error], macs=counts.macs, family=spec.family))
    return out


def chosen(told: list[Effect], factor: str, design: str, period: int | None = 1) -> Effect:
    (effect,) = [e for e in told if (e.factor, e.design, e.period) == (factor, design, period) and e.before == "1"]
    return effect


def found(items: list[ArchSummary], factor: str, design: str, period: int | None = 1) -> Effect:
    return chosen(effects(items), factor, design, period)


def test_a_change_with_all_else_equal_is_found_exactly() -> None:
    items = trained(nets(), lambda spec, _: -1.0 - 0.3 * spec.periods[0].s + 0.2 * spec.growth_rate)
    effect = found(items, "stages s", "all else equal")
    assert effect.odds_ratio == pytest.approx(math.exp(-0.3), abs=1e-6)
    assert effect.pairs == effect.archs_before == effect.archs_after == len(items) // 2
    assert effect.params_ratio is not None
    assert effect.params_ratio > 1.2
    assert effect.answer == "fewer errors"


def test_all_else_equal_pairs_equal_a_search_over_all_pairs() -> None:
    rng = random.Random(1)
    items = trained(rng.sample(nets(), 60), lambda spec, size: -size / 4 + rng.gauss(0, 0.3))
    specs = {i.arch: parse(i.arch) for i in items}

    def only_the_multiple_differs(a: ArchSpec, b: ArchSpec) -> bool:
        assert isinstance(a, RKNet)
        assert isinstance(b, RKNet)
        first, second = a.periods[1], b.periods[1]
        return (a.growth_rate, a.periods[0]) == (b.growth_rate, b.periods[0]) and (first.m, second.m) == (1, 2)

    pairs = [(a, b) for a in items for b in items if only_the_multiple_differs(specs[a.arch], specs[b.arch])]
    effect = found(items, "multiple m", "all else equal", period=2)
    odds = [math.log((i.val_error_pct + 0.5) / (100.5 - i.val_error_pct)) for pair in pairs for i in pair]
    mean = (math.fsum(odds[1::2]) - math.fsum(odds[::2])) / len(pairs)
    assert effect.pairs == len(pairs) > 5
    assert effect.odds_ratio == pytest.approx(math.exp(mean))
    ratio = math.exp(math.fsum(math.log(b.params / a.params) for a, b in pairs) / len(pairs))
    assert effect.params_ratio == pytest.approx(ratio)


def test_at_equal_budget_size_alone_explains_nothing_away() -> None:
    """Where error is a function of parameters, no way to spend them is better than another."""
    rng = random.Random(2)
    items = trained(nets(), lambda _, size: 2 - 1.2 * size + rng.gauss(0, 0.05))
    for effect in effects(items):
        if effect.design == "equal parameters" and effect.low is not None:
            assert effect.odds_ratio == pytest.approx(1, abs=0.06), effect.change
        elif effect.design == "all else equal" and effect.params_ratio and effect.params_ratio > 1.2:
            assert effect.answer == "fewer errors", effect.change


def test_intervals_cover_the_truth_although_architectures_are_used_again_and_again() -> None:
    rng = random.Random(3)
    specs = nets()
    covered = total = 0
    for _ in range(50):
        items = trained(specs, lambda spec, size: 2 - size + 0.2 * (spec.periods[0].s == 2) + rng.gauss(0, 0.3))
        told = effects(items)
        for design in ("equal parameters", "all else equal"):
            effect = chosen(told, "stages s", design)
            assert effect.low is not None
            assert effect.high is not None
            assert effect.pairs > 40
            # With all else equal, the stages also bring the parameters that they cost.
            truth = 0.2 - (math.log10(effect.params_ratio or 1) if design == "all else equal" else 0)
            covered += math.log(effect.low) <= truth <= math.log(effect.high)
            total += 1
    assert covered / total == pytest.approx(0.95, abs=0.05)


def bare(specs: list[RKNet], rng: random.Random, z: Callable[[RKNet], float] = lambda _: 0.0) -> list[ArchSummary]:
    """Networks whose log-odds are those of `z` and chance, whatever they cost."""
    return trained(specs, lambda spec, _: -1.0 + z(spec) + rng.gauss(0, 0.4))


def test_where_nothing_matters_intervals_cover_as_often_as_they_say_and_few_runs_announce() -> None:
    rng = random.Random(11)
    covered, announced, runs = [], 0, 70
    for _ in range(runs):
        told = [e for e in effects(bare(rng.sample(nets(), 60), rng)) if e.low is not None and e.high is not None]
        for design in ("equal parameters", "equal MACs", "all else equal"):
            covered += [e.low <= 1 <= e.high for e in told if e.design == design and e.low and e.high]
        announced += any(e.is_announced for e in told if e.design != "all else equal")
    assert len(covered) > 10 * runs
    assert np.mean(covered) == pytest.approx(0.95, abs=0.02)
    assert announced / runs <= 0.08


def test_an_effect_of_some_size_is_announced_and_those_beside_it_are_not() -> None:
    rng = random.Random(12)
    found, wrong = 0, 0
    for _ in range(20):
        told = effects(bare(rng.sample(nets(), 60), rng, lambda spec: 0.9 * (spec.periods[0].s == 2)))
        named = {e.factor for e in told if e.is_announced and e.design == "equal parameters"}
        found += "stages s" in named
        wrong += bool(named - {"stages s"})
    assert found >= 17
    assert wrong <= 3


@pytest.mark.parametrize("field", ["params", "macs"])
def test_pairs_at_equal_budget_equal_a_search_over_all_pairs(field: str) -> None:
    rng = random.Random(7)
    sample = rng.sample(nets(), 70)
    items = bare(sample, rng)
    design = {"params": "equal parameters", "macs": "equal MACs"}[field]
    specs = {spec.name: spec for spec in sample}
    one, two = ([i for i in items if specs[i.arch].periods[0].s == s] for s in (1, 2))
    pairs = [(a, b) for a in one for b in two if abs(math.log(getattr(b, field) / getattr(a, field))) <= math.log(1.1)]
    effect = found(items, "stages s", design)
    assert effect.pairs == len(pairs) > 20
    assert effect.archs_before == len({a.arch for a, _ in pairs})
    assert effect.archs_after == len({b.arch for _, b in pairs})
    # A parabola through all architectures over the logarithm of the cost is taken off first.
    x = np.log([getattr(i, field) for i in items])
    z = np.log([(i.val_error_pct + 0.5) / (100.5 - i.val_error_pct) for i in items])
    left = dict(zip([i.arch for i in items], z - np.polyval(np.polyfit(x - x.mean(), z, 2), x - x.mean()), strict=True))
    mean = float(np.mean([left[b.arch] - left[a.arch] for a, b in pairs]))
    assert effect.odds_ratio == pytest.approx(math.exp(mean))
    variance, degrees = sides_by_matrices(pairs, left)
    variance *= len(items) / (len(items) - 3)
    assert effect.low is not None
    assert effect.high is not None
    reach = (math.log(effect.high) - math.log(effect.low)) / 2
    assert reach == pytest.approx(stats.t.ppf(0.975, degrees) * math.sqrt(variance))
    assert effect.low_adjusted is not None
    assert effect.high_adjusted is not None
    family = sum(e.low is not None for e in effects(items) if e.design != "all else equal")
    assert family > 10
    wider = stats.t.ppf(1 - 0.05 / (2 * family), degrees) * math.sqrt(variance)
    assert math.log(effect.low_adjusted) == pytest.approx(mean - wider)
    assert math.log(effect.high_adjusted) == pytest.approx(mean + wider)
    assert effect.p_value == pytest.approx(2 * stats.t.sf(abs(mean) / math.sqrt(variance), degrees))


def sides_by_matrices(pairs: list[tuple[ArchSummary, ArchSummary]], z: dict[str, float]) -> tuple[float, float]:
    """HC2 variance of a difference of weighted means, and its degrees of freedom, by the matrix of its form."""
    forms, values = [], []
    for side in (0, 1):
        names = sorted({pair[side].arch for pair in pairs})
        weights = np.array([sum(pair[side].arch == name for pair in pairs) for name in names]) / len(pairs)
        residual = np.eye(len(names)) - np.outer(np.ones(len(names)), weights)
        share = (residual**2).sum(axis=1)
        forms.append(residual.T @ np.diag(weights**2 / share) @ residual)
        values.append(np.array([z[name] for name in names]))
    variance = sum(float(v @ form @ v) for form, v in zip(forms, values, strict=True))
    first, second = sum(np.trace(f) for f in forms), sum(np.trace(f @ f) for f in forms)
    return variance, first**2 / second


def test_what_is_announced_has_a_corrected_interval_without_1_and_a_corrected_probability_below_5_percent() -> None:
    rng = random.Random(13)
    announced = alone = 0
    for size in np.linspace(0.2, 1.0, 8):
        moved = {spec: float(size) * (spec.periods[0].s == 2) for spec in nets()}
        told = effects(bare(rng.sample(nets(), 60), rng, moved.__getitem__))
        for family in (("equal parameters", "equal MACs"), ("all else equal",)):
            known = [e for e in told if e.design in family and e.low is not None]
            for e in known:
                assert e.low is not None
                assert e.high is not None
                assert e.low_adjusted is not None
                assert e.high_adjusted is not None
                assert e.p_value is not None
                assert e.p_adjusted == min(1.0, len(known) * e.p_value)
                assert e.low_adjusted < e.low < e.high < e.high_adjusted
                assert e.is_announced == (e.p_adjusted < 0.05) == (not e.low_adjusted <= 1 <= e.high_adjusted)
            announced += sum(e.is_announced for e in known)
            alone += sum(not e.low <= 1 <= e.high for e in known if e.low and e.high)
    assert 8 < announced < alone


def test_few_architectures_are_too_few_to_say() -> None:
    items = trained(nets()[:6], lambda spec, _: -1.0 - spec.periods[0].s)
    said = {e.answer for e in effects(items)}
    assert said == {"too few to say"}
    assert all(e.low is None and e.pairs > 0 for e in effects(items))
    assert effects([]) == []


def test_time_steps_with_own_and_with_shared_weights_are_two_questions() -> None:
    items = trained(nets(), lambda spec, _: -0.4 if spec.periods[0].share else 0.1 * spec.periods[0].r)
    own = found(items, "time-steps r, own weights", "all else equal")
    shared = found(items, "time-steps r, shared weights", "all else equal")
    assert own.odds_ratio == pytest.approx(math.exp(0.1), abs=1e-6)
    assert shared.odds_ratio == pytest.approx(math.exp(-0.5), abs=1e-6)
    (share,) = [e for e in effects(items) if e.factor == "sharing" and e.design == "all else equal"]
    assert (share.before, share.after) == ("no", "yes")
    assert share.odds_ratio == pytest.approx(math.exp(-0.6), abs=1e-6)


def test_baselines_take_no_part_and_order_does_not_matter() -> None:
    rng = random.Random(5)
    items = trained(nets(), lambda spec, size: -size / 3 + rng.gauss(0, 0.2))
    baseline = summary("ResNet-8", items[0].params, [1.0], role="baseline", family="resnet")
    expected = effects(items)
    rng.shuffle(items)
    assert effects([baseline, *items]) == expected


def test_factors_of_other_families() -> None:
    assert factors_of(parse("ResNet-20")) == {}
    residual = factors_of(parse("RKNet-Res-1x3s_1x2_1x1"))
    assert residual["family", 0] == "residual"
    assert residual["sharing", 1] == "yes"
    assert ("multiple m", 1) not in residual
    assert factors_of(parse("RKNet-BC-k8-m2_4-4x1@rk4_1x2"))["method", 1] == "rk4"


def test_limits_of_few_degrees_of_freedom_stay_within_what_errors_allow() -> None:
    """A corrected quantile of one degree of freedom is about a thousand; `exp` of that overflows."""
    low, high = ratio_interval(StudentEstimate(0.3, 2.0, 1.0), 1 - 0.05 / 100)
    assert (low, high) == pytest.approx(((0.5 / 100.5) ** 2, (100.5 / 0.5) ** 2))
    assert ratio_interval(StudentEstimate(-1.0, 0.0, 5.0), 0.95) == pytest.approx((math.exp(-1), math.exp(-1)))
