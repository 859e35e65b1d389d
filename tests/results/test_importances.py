import math
import random

import pytest
from scipy import stats  # type: ignore[import-untyped]

from rksearch.arch import parse
from rksearch.results.contrasts import factors_of
from rksearch.results.importances import LEAST_ARCHS, importances
from rksearch.results.summaries import summarise
from tests.helpers.ledgers import begin, candidates, complete, summary, trial


def ledger_with(path, number, error_pct):
    ledger = begin(path)
    for spec in candidates(number):
        ledger.write_trial(trial(spec.name), complete(error_pct(spec)), wall_time_s=1.0)
    return ledger.read()


def test_what_alone_decides_has_nearly_all_the_importance(tmp_path):
    rng = random.Random(0)
    history = ledger_with(tmp_path, 30, lambda spec: 10.0 + 5 * spec.periods[0].s + rng.gauss(0, 0.05))
    found = importances(summarise(history))
    assert found[0].choice == "stages s, period 1"
    assert found[0].share > 0.95
    assert found[0].is_beyond_chance
    assert sum(i.is_beyond_chance for i in found) < len(found) / 2
    assert "growth rate k" in {i.choice for i in found}
    assert "bottleneck" not in {i.choice for i in found}, "all have one"
    assert len({i.by_chance for i in found}) == 1


def test_shares_are_those_of_a_one_way_analysis_of_variance(tmp_path):
    rng = random.Random(2)
    history = ledger_with(tmp_path, 40, lambda spec: 20.0 + spec.periods[1].m + rng.gauss(0, 2))
    items = summarise(history)
    z = [math.log((i.val_error_pct + 0.5) / (100.5 - i.val_error_pct)) for i in items]
    total = math.fsum((value - math.fsum(z) / len(z)) ** 2 for value in z) / (len(z) - 1)
    factors = [factors_of(parse(item.arch)) for item in items]
    for found in importances(summarise(history)):
        name, _, period = found.choice.partition(", period ")
        values = [f[name, int(period or 0)] for f in factors]
        groups = [[value for value, own in zip(z, values, strict=True) if own == kind] for kind in set(values)]
        within = math.fsum((v - math.fsum(g) / len(g)) ** 2 for g in groups for v in g) / (len(z) - len(groups))
        assert found.share == pytest.approx(max(0.0, 1 - within / total)), found.choice
        # The same as by the usual F.
        f = stats.f_oneway(*groups).statistic
        k = len(groups)
        share = 1 - (len(z) - 1) / (len(z) - k + (k - 1) * f)
        assert found.share == pytest.approx(max(0.0, share))


def test_where_nothing_matters_one_run_in_twenty_has_a_choice_beyond_chance():
    rng = random.Random(1)
    names = [spec.name for spec in candidates(40)]
    beyond, runs = 0, 60
    for _ in range(runs):
        items = [summary(name, 1_000, [rng.gauss(20, 2)]) for name in names]
        beyond += any(found.is_beyond_chance for found in importances(items))
    assert 0 < beyond / runs < 0.14


def test_few_architectures_say_nothing(tmp_path):
    assert importances(summarise(ledger_with(tmp_path, LEAST_ARCHS - 1, lambda _: 10.0))) == []


def test_equal_errors_have_no_variance_to_explain(tmp_path):
    assert importances(summarise(ledger_with(tmp_path, LEAST_ARCHS, lambda _: 10.0))) == []


def test_baselines_take_no_part(tmp_path):
    ledger = begin(tmp_path)
    for depth in range(1, LEAST_ARCHS + 2):
        name = f"ResNet-{6 * depth + 2}"
        assert parse(name).family == "resnet"
        ledger.write_trial(trial(name, 0, "baseline"), complete(10.0 + depth), wall_time_s=1.0)
    assert importances(summarise(ledger.read())) == []
