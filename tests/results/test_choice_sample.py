"""Choices are judged by networks that no result chose, wherever a run has any."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rksearch.arch import RKNet
from rksearch.recipes.shipped import recipe
from rksearch.report.content import report_content
from rksearch.report.sections import Paragraph
from rksearch.results.choice_sample import UNINFORMED_SAMPLERS, choice_sample
from rksearch.results.contrasts import Effect, effects
from rksearch.results.history import History
from rksearch.results.ledger import Ledger
from rksearch.results.plan import ShortResult, SourceRun
from rksearch.results.records import Role
from rksearch.results.summaries import summarise
from rksearch.results.tables import tables
from rksearch.search.samplers.plain import _Drawn
from rksearch.search.samplers.registry import make_sampler, samplers
from rksearch.space import load_space
from tests.helpers.ledgers import (
    BASELINES,
    KNOWN,
    candidates,
    complete,
    environment_record,
    failed,
    plan_record,
    pruned,
    space_record,
    ticking,
    trial,
)


def begun(path: Path, feasible: int = 40_511, **plan: Any) -> Ledger:
    ledger = Ledger(path, clock=ticking())
    ledger.write_run(name="run", space=space_record(feasible=feasible), plan=plan_record(**plan))
    ledger.write_session(environment=environment_record(), options={})
    return ledger


def joined(spec: RKNet) -> bool:
    """Whether a network has what does something and what does nothing, as a search would join them."""
    return spec.periods[0].s == 2 and spec.periods[1].m > 3


def two_arms(path: Path) -> History:
    """A run in which the multiple of period 2 decides, and the stages of period 1 do nothing.

    All networks cost the same. The search has both together in all of its networks; the control arm draws at random.
    """
    rng = random.Random(4)
    ledger = begun(path, control=True)

    def train(spec: RKNet, role: Role) -> None:
        error = 30 - 10 * (spec.periods[1].m > 3) + rng.gauss(0, 2)
        ledger.write_trial(trial(spec.name, 0, role), complete(round(error * 50) / 50), wall_time_s=1.0)

    drawn = candidates(100)
    for spec in drawn:
        train(spec, "control")
    for spec in (spec for spec in candidates(400, seed=8) if joined(spec)):
        train(spec, "candidate")
    # The search took one of the drawn networks too.
    train(next(spec for spec in drawn if joined(spec)), "candidate")
    return ledger.read()


def stages(found: tuple[Effect, ...] | list[Effect]) -> Effect:
    (effect,) = [
        e for e in found if (e.factor, e.period, e.design) == ("stages s", 1, "equal parameters") and e.before == "1"
    ]
    return effect


def test_a_search_that_joins_choices_does_not_credit_one_with_what_the_other_does(tmp_path: Path) -> None:
    history = two_arms(tmp_path)
    items = summarise(history)
    assert stages(effects(items)).answer == "fewer errors", "both arms together are misleading"
    found = tables(history)
    assert stages(found.effects).answer == "not distinguishable"
    assert any(e.factor == "multiple m" and e.period == 2 and e.is_announced for e in found.effects)
    assert {i.choice for i in found.importances if i.is_beyond_chance} == {"multiple m, period 2"}
    # By trials: the network that the search took too has the role of a candidate.
    assert {item.arch for item in found.choice_sample.items} == {spec.name for spec in candidates(100)}
    assert {item.role for item in found.choice_sample.items} == {"candidate", "control"}


def words(history: History) -> list[str]:
    section = report_content(history, tables(history)).section("choices")
    assert section is not None
    return [block.text for block in section.blocks if isinstance(block, Paragraph)]


def test_the_page_says_which_networks_the_choices_are_judged_by(tmp_path: Path) -> None:
    said = words(two_arms(tmp_path))
    assert "descriptive" not in " ".join(said).lower()
    assert said[1].startswith("Effects and importances rest on the 100 networks that the control arm drew")


def test_an_adaptive_search_without_a_control_arm_is_said_first_to_describe(tmp_path: Path) -> None:
    ledger = begun(tmp_path)
    rng = random.Random(3)
    for spec in candidates(40):
        ledger.write_trial(trial(spec.name), complete(round(rng.gauss(20, 2), 2)), wall_time_s=1.0)
    said = words(ledger.read())
    assert said[0].startswith("Effects and importances are descriptive here: they rest on the 40 networks")
    assert sum(text.startswith("Descriptive: results chose the networks.") for text in said) == 2, "at both tables"


def source() -> SourceRun:
    result = ShortResult(arch=KNOWN[0], errors_pct=(10.0,), on_front=True, is_baseline=False)
    return SourceRun(name="first", began="", recipe=recipe("short"), train_images=None, results=(result,))


NAMES = [spec.name for spec in candidates(7)]


@pytest.mark.parametrize(
    ("feasible", "plan", "origin", "expected"),
    [
        (100, {}, "results", [KNOWN[0], *NAMES[:5]]),
        (100, {"control": True}, "control arm", NAMES[3:5]),
        (100, {"sampler": "random"}, "control arm", NAMES[3:5]),
        (6, {}, "whole space", NAMES[:5]),
        (6, {"sampler": "random", "source": source()}, "results", [KNOWN[0], *NAMES[:5]]),
    ],
)
def test_the_rule(tmp_path: Path, feasible: int, plan: dict[str, Any], origin: str, expected: list[str]) -> None:
    ledger = begun(tmp_path, feasible, **plan)
    ledger.write_trial(trial(BASELINES[0], 0, "baseline"), complete(9.0), wall_time_s=1.0)
    ledger.write_trial(trial(KNOWN[0], 0, "known"), complete(10.0), wall_time_s=1.0)
    for name in NAMES[:4]:
        ledger.write_trial(trial(name), complete(11.0), wall_time_s=1.0)
    ledger.write_trial(trial(NAMES[5]), failed(), wall_time_s=1.0)
    ledger.write_trial(trial(NAMES[6]), pruned(50.0), wall_time_s=1.0)
    if origin == "results" and feasible == 100:
        ledger.write_trial(trial(NAMES[4]), complete(12.0), wall_time_s=1.0)
    else:
        for name in NAMES[3:5]:
            ledger.write_trial(trial(name, 0, "control"), complete(12.0), wall_time_s=1.0)
    history = ledger.read()
    found = choice_sample(history, summarise(history))
    assert found.origin == origin
    assert {item.arch for item in found.items} == set(expected)


def test_candidates_of_a_sampler_that_does_not_look_serve_but_for_those_that_somebody_named(tmp_path: Path) -> None:
    ledger = begun(tmp_path, sampler="stratified", start=(NAMES[0],))
    for name in NAMES:
        ledger.write_trial(trial(name), complete(11.0), wall_time_s=1.0)
    ledger.write_trial(trial(KNOWN[0], 0, "known"), complete(10.0), wall_time_s=1.0)
    history = ledger.read()
    found = choice_sample(history, summarise(history))
    assert found.origin == "sampler"
    assert {item.arch for item in found.items} == set(NAMES[1:])
    ledger.write_run(name="run", space=space_record(), plan=replace(plan_record(), sampler="frontier"))
    history = ledger.read()
    assert choice_sample(history, summarise(history)).is_descriptive, "a later session looked at results"


def test_the_samplers_named_are_those_that_learn_nothing() -> None:
    space = load_space("quickstart")
    made = {
        entry.name: make_sampler(entry.name, space, objectives=("val_error_pct", "params"), trials=4, seed=0)
        for entry in samplers
    }
    assert {name for name, sampler in made.items() if isinstance(sampler, _Drawn)} == set(UNINFORMED_SAMPLERS)
