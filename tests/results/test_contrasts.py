from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest

from rksearch.arch import ArchSpec, Period, RKNet, parse
from rksearch.arch.cost import Cost, cost
from rksearch.data.facts import dataset
from rksearch.results.contrasts import Effect, effects, factors_of
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
