import math
import random

from rksearch.arch import parse
from rksearch.results.importances import LEAST_ARCHS, importances
from tests.helpers.ledgers import begin, candidates, complete, trial


def ledger_with(path, number, error_pct):
    ledger = begin(path)
    for spec in candidates(number):
        ledger.write_trial(trial(spec.name), complete(error_pct(spec)), wall_time_s=1.0)
    return ledger.read()


def test_what_alone_decides_has_nearly_all_the_importance(tmp_path):
    rng = random.Random(0)
    history = ledger_with(tmp_path, 30, lambda spec: 10.0 + 5 * spec.periods[0].s + rng.gauss(0, 0.05))
    found = importances(history)
    assert found[0].choice == "stages s, period 1"
    assert found[0].share > 0.8
    assert [i.choice for i in found if i.is_beyond_chance] == ["stages s, period 1"]
    assert 0.8 < math.fsum(i.share for i in found) <= 1.01
    assert "growth rate k" in {i.choice for i in found}
    assert "bottleneck" not in {i.choice for i in found}, "all have one"
    assert len({i.by_chance for i in found}) == 1


def test_where_nothing_matters_no_choice_is_beyond_chance(tmp_path):
    rng = random.Random(1)
    found = importances(ledger_with(tmp_path, 30, lambda spec: rng.gauss(20, 2)))
    assert found[0].share > 0.02, "chance alone gives shares"
    assert not any(i.is_beyond_chance for i in found)


def test_few_architectures_say_nothing(tmp_path):
    assert importances(ledger_with(tmp_path, LEAST_ARCHS - 1, lambda _: 10.0)) == []


def test_equal_errors_have_no_variance_to_explain(tmp_path):
    assert importances(ledger_with(tmp_path, LEAST_ARCHS, lambda _: 10.0)) == []


def test_baselines_take_no_part(tmp_path):
    ledger = begin(tmp_path)
    for depth in range(1, LEAST_ARCHS + 2):
        name = f"ResNet-{6 * depth + 2}"
        assert parse(name).family == "resnet"
        ledger.write_trial(trial(name, 0, "baseline"), complete(10.0 + depth), wall_time_s=1.0)
    assert importances(ledger.read()) == []
